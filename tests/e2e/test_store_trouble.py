# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""The store's file system is full, or broken; its file is cut off, or garbage.

What needs the store then fails with a sentence and changes nothing; guests' I/O goes on, through
the death of worker and iovd too; and when the trouble is over, everything works.
"""
import contextlib
import os
import random

from lib import disk, mounts
from lib.daemon import Daemon
from lib.held import is_busy
from lib.history import History
from lib.proc import Failed, until
from lib.report import main

IMAGE_MIB = 1


class Host:
    """An iovd whose store is in trouble, with a disk that is in use all the time, and a free one."""

    def __init__(self, scratch, stack):
        self.scratch, self.state = scratch, scratch / "state"
        self.daemon = stack.enter_context(Daemon(scratch))
        image = disk.blank(scratch / "used.img", IMAGE_MIB)
        self.free = disk.blank(scratch / "free.img", IMAGE_MIB)
        self.one = self.daemon.attach(image, "vm1", "used")
        self.history = stack.enter_context(
            History(self.one.socket, scratch, image=image, depth=8)
        )
        is_busy(self.one)

    def changes(self):
        """One of each operation that writes to the store: (words, how it is undone)."""
        yield ("attach", self.free, "vm2", "--as", "free"), ("detach", "vm2/free")
        yield ("quiesce", self.one.id), ("resume", self.one.id)

    def try_all(self):
        """What each operation came to: 0, or the words that it failed with. One that failed has
        changed nothing; one that did not is undone."""
        ends = {}
        for words, undo in self.changes():
            before = self.daemon.settled()
            done = self.daemon.ctl(*words, check=False)
            ends[words[0]] = said = done.returncode and (done.stdout + done.stderr)
            if said and self.daemon.settled() != before:
                raise Failed(f"{words[0]} failed, and changed something: {said}")
            if not said and self.daemon.ctl(*undo, check=False).returncode:
                ends[undo[0]] = "not undone"
                return ends
        return ends

    def refuses(self, *codes):
        """Until each operation fails, with one of these codes and a way out."""
        def refused():
            ends = self.try_all()
            for said in filter(None, ends.values()):
                if said != "not undone" and not any(code in said for code in codes):
                    raise Failed(f"no {codes}: {said}")
            return all(ends.values())

        until(refused, 60, f"every operation to be refused with {codes}")
        self.unharmed()

    def works(self):
        """Every operation works, and again after a restart."""
        until(lambda: not any(self.try_all().values()), 60, f"all to work: {self.try_all()}")
        self.unharmed()

    def unharmed(self):
        """The guest's disk works, and so does its worker's successor."""
        is_busy(self.one)
        self.one.kill_worker()
        is_busy(self.one)
        self.history.check()

    def restart(self):
        """Worker and daemon die."""
        self.one.kill_worker()
        self.daemon.wait_restart(self.daemon.kill())


def full(host, _):
    """No room for a single byte more."""
    ballast = mounts.fill(host.state / "ballast")
    host.refuses("STORE-FULL", "STORE-IO")
    host.restart()
    host.refuses("STORE-FULL", "STORE-IO")
    ballast.unlink()


def broken(host, file_system):
    """It can only be read; a repair needs it unmounted, and so iovd stopped for a while."""
    file_system.breaks()
    host.refuses("STORE-IO")
    host.restart()
    host.refuses("STORE-IO")
    host.daemon.stop()
    file_system.repair()
    host.daemon.start()


def cut_off(path):
    os.truncate(path, 0)


def garbage(path):
    with open(path, "r+b") as file:
        file.write(random.randbytes(path.stat().st_size))


def damaged(host, _):
    """What iovd does not read it cannot notice; then the next one does."""
    for name in ("iovd.db", "iovd.db-wal"):
        for spoil in (cut_off, garbage):
            before, old = host.daemon.settled(), host.daemon.pid()
            spoil(host.state / name)
            for said in filter(None, host.try_all().values()):
                if "STORE" not in said:
                    raise Failed(f"{spoil.__name__} of {name}: {said}")
            if host.daemon.pid() != old:
                raise Failed(f"{spoil.__name__} of {name} killed iovd")
            host.unharmed()
            host.restart()
            now = host.daemon.settled()
            if [one["id"] for one in before] != [one["id"] for one in now]:
                raise Failed(f"{spoil.__name__} of {name}: {now}")
            host.works()


def test(scratch):
    notes = []
    for name, scene, file_system in (
        ("full", full, lambda folder: mounts.memory(folder, 1024)),
        ("broken", broken, mounts.Ext4),
        ("damaged", damaged, contextlib.nullcontext),
    ):
        folder = scratch / name
        folder.mkdir()
        with contextlib.ExitStack() as stack:
            mounted = stack.enter_context(file_system(folder / "state"))
            host = Host(folder, stack)
            scene(host, mounted)
            host.works()
            host.restart()
            host.works()
            notes.append(f"{name}: {host.history.end()}")
    return "; ".join(notes)


if __name__ == "__main__":
    main(test)
