# SPDX-License-Identifier: GPL-2.0-or-later
"""Block devices of the kernel that fail on command, below an iovd in a lab host."""
import contextlib
import os
import pathlib
import random
import subprocess

import inside
from inside import Failed, Skipped, device, expect, program, wait_for

from lib import proc
from lib.held import is_held
from lib.history import History

SECTOR = 512
MIB = 1 << 20


def modules(*names):
    """Loads them; skips where this kernel has none."""
    for name in names:
        if proc.run(["modprobe", name], check=False).returncode:
            raise Skipped(f"this kernel has no {name}")


def zero(path, size, start=0):
    """What was written there is forgotten."""
    with open(path, "r+b", buffering=0) as file:
        file.seek(start)
        for _ in range(size // MIB):
            file.write(bytes(MIB))
        os.fsync(file.fileno())


class Base:
    """A real disk, of which every scene has a piece."""

    def __init__(self):
        self._disk, self._next = inside.disk(device("nvme")), 0

    def piece(self, mib=8):
        """A table line's end: length, a word for the target, disk and where on it. It is blank,
        whatever other topics have done with the disk."""
        first, self._next = self._next, self._next + mib * MIB // SECTOR
        zero(self._disk, mib * MIB, first * SECTOR)
        return Piece(self._disk, first, mib * MIB // SECTOR)


class Piece:
    """A part of a disk, as device-mapper's targets name it."""

    def __init__(self, disk, first, sectors):
        self._disk, self._first, self.sectors = disk, first, sectors

    def line(self, target, *options, start=0, sectors=None):
        """A line of a table: this part of the piece is what the target makes of it."""
        where = () if target == "error" else (self._disk, self._first + start)
        words = (start, sectors or self.sectors - start, target, *where, *options)
        return " ".join(map(str, words))


class Dm:
    """A device of device-mapper, whose table may be changed under it; a context manager."""

    def __init__(self, name, *table):
        self._name = name
        self._run("create", name, "--noudevsync", text=table)
        names = pathlib.Path("/sys/block").glob("dm-*/dm/name")
        found = [p.parents[1].name for p in names if p.read_text().strip() == name]
        expect(len(found) == 1, f"no device for {name}: {found}")
        self.path = pathlib.Path("/dev") / found[0]

    @staticmethod
    def _run(*words, text=()):
        done = subprocess.run(
            ["dmsetup", *words], input="\n".join(text), capture_output=True, text=True, timeout=120
        )
        expect(not done.returncode, f"dmsetup {' '.join(words)}: {done.stderr}")

    def become(self, *table):
        """Another table, from now on. What is under way ends with the one before."""
        self._run("load", self._name, text=table)
        self._run("resume", self._name, "--noudevsync")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._run("remove", "--force", "--retry", "--noudevsync", self._name)


@contextlib.contextmanager
def attached(iovd, path, name, scratch, *words, **options):
    """A disk given to a VM of that name, and a client at work on it."""
    one = iovd.attach(path, name, name, *words)
    try:
        with History(one.socket, scratch, name, **{"depth": 16} | options) as history:
            wait_for(lambda: one.now()["state"] != "ready", f"{name} to be in use")
            yield one, history
    finally:
        iovd.iovctl("detach", one.id)


def kill_any(iovd, one):
    """kill -9 of worker, daemon, or both."""
    what = random.choice(("worker", "iovd", "both"))
    worker = one.worker() if what != "iovd" else 0
    old = iovd.kill() if what != "worker" else 0
    if worker:
        one.kill_worker(worker)
    if old:
        iovd.wait_restart(old)
    return what


def recover_amid_kills(iovd, one, kills=1):
    """Recovers; meanwhile something is killed, so that it may have to be said again."""
    words = [program("iovctl"), "-s", iovd.socket, "recover", one.id]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(kills):
            kill_any(iovd, one)
        process.wait()
    wait_for(lambda: is_recovered(iovd, one), f"{one.name} to go on", 120)


def is_recovered(iovd, one):
    """Whether it is active; if it is held (again), it is told to recover once more."""
    state = one.now()["state"]
    if state == "held":
        iovd.iovctl("recover", one.id)
    elif state not in ("active", "recovering"):
        raise Failed(f"{one.name} is {one.now()}")
    return state == "active"


def told(one, reason):
    """It is held, and says why."""
    is_held(one)
    action = one.now()["pending_action"]
    expect(reason in action, f"the reason is not told: {action}")
