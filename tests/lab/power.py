# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in a lab host whose power is cut again and again (power_cut.py): iovd with its state folder and
two images, one past the page cache and one through it, on an ext4 that outlives the host; clients
whose journals are outside; and commands that write to the store, without end.

boot.json in the results says which boot this is, whether it is the last one, and what it works with.
"""
import contextlib
import json
import pathlib

import inside
from inside import Iovd, device, expect, expect_equal, wait_for

from lib import disk, proc
from lib.history import History

RESULTS = pathlib.Path("/run/lab/results")
DISK = pathlib.Path("/run/power")  # the same at each boot: iovd has kept paths below it
BOOT = json.loads((RESULTS / "boot.json").read_text())
DISKS = BOOT["disks"]
THIRD = "vm3/third"


@contextlib.contextmanager
def mounted(first):
    """What outlives the host, except for what a host has in memory."""
    node = inside.disk(device("nvme"))
    if first:
        proc.run(["mke2fs", "-q", "-t", "ext4", node])
    DISK.mkdir()
    proc.run(["mount", node, DISK])
    for folder in ("state", "run"):
        (DISK / folder).mkdir(mode=0o711, exist_ok=True)
    proc.run(["mount", "-t", "tmpfs", "-o", "mode=711", "run", DISK / "run"])
    yield
    proc.run(["umount", DISK / "run"])
    proc.run(["umount", DISK])


def begin(iovd):
    for name, cache in DISKS.items():
        image = disk.blank(DISK / f"{name}.img", 1)
        iovd.ok("attach", image, "vm1", "--as", name, "--cache", cache)


def states(iovd):
    """Of all attachments; None while one is on its way."""
    found = {f"{a['vm']}/{a['name']}": a["state"] for a in iovd.attachments()}
    return found if set(found.values()) <= {"ready", "quiesced"} else None


def find_again(iovd):
    """After a cut: all that was attached is, without anybody's doing; nothing is half done."""
    damaged = list((DISK / "state").glob("*damaged*"))
    expect(not damaged, f"the store was damaged: {damaged}")
    there = set(wait_for(lambda: states(iovd), "all to be ready again", 60))
    expect_equal(there - {THIRD}, {f"vm1/{name}" for name in DISKS}, "attachments")
    iovd.ok("resume", "vm1")
    if THIRD in there:
        iovd.ok("detach", THIRD)


def churn(iovd, image):
    """A round of commands, whether all went well (a look at the image may last too long on a busy
    machine): whatever is going on when the power goes, is in the store's journal."""
    rounds = (
        ("attach", image, "vm3", "--as", "third"),
        ("quiesce", "vm1"),
        ("resume", "vm1"),
        ("detach", THIRD),
    )
    return not any([iovd.iovctl(*words).status for words in rounds])


def client(name, logs):
    sock, journal = DISK / "run" / "vm" / "vm1" / f"{name}.sock", RESULTS / f"{name}.journal"
    options = {"journal": journal, "first": BOOT["number"] << 32, "blocks": BOOT["blocks"]}
    return History(sock, logs, name, depth=8, **options)


def looked_back(history):
    history.check()
    return "looked back" in history.log.read_text()


def test(logs):
    with mounted(BOOT["number"] == 0), Iovd(DISK) as iovd:
        (find_again if BOOT["number"] else begin)(iovd)
        histories = [client(name, logs) for name in DISKS]
        for history in histories:
            wait_for(lambda: looked_back(history), "what is there to be seen", 60)  # noqa: B023
        image = disk.blank(DISK / "third.img", 1)
        if not BOOT["last"]:
            print(BOOT["ready"])
        while not BOOT["last"]:
            churn(iovd, image)
        wait_for(lambda: churn(iovd, image), "a round of commands that go well", 60)
        return "; ".join(f"{name}: {history.end(120)}" for name, history in zip(DISKS, histories))


inside.main(test)
