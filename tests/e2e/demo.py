#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest, its disk, and its worker killed under it: what ./dev demo shows.

Takes what the tests take, but tells what it does. The longest pause is measured where it would
hurt: it is the longest time that the guest's own fio saw one request take.
"""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
os.environ.setdefault("IOVD_BUILD", str(pathlib.Path(__file__).resolve().parents[2] / "build"))

from lib import disk, proc  # noqa: E402
from lib.daemon import Daemon  # noqa: E402
from lib.guest import Qemu, accelerator, blk_args  # noqa: E402
from lib.storm import storm  # noqa: E402
from guest import image  # noqa: E402

KILLS = 25


class Steps:
    """Says what goes on, with the time since the start."""

    def __init__(self):
        self._begin = time.monotonic()

    def say(self, text):
        print(f"[{time.monotonic() - self._begin:5.1f} s] {text}", flush=True)


def table(rows):
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
    print()


def demo(scratch, say):
    say("guest: a Debian kernel, busybox and fio (fetched and built the first time)")
    image.qemu()
    path = disk.ext4(scratch / "disk.img", 256)
    with Daemon(scratch) as daemon:
        say("iovd runs; iovctl attach disk.img demo --as disk0")
        disk0 = daemon.attach(path, "demo", "disk0")
        say(f"boot a guest in QEMU ({accelerator()[0].split(',')[0]}), with no reconnect option")
        with Qemu(scratch, blk_args(disk0.socket)) as guest:
            kernel = guest.out("uname -sr")
            guest.run("mount /dev/vda /mnt")
            say(f"{kernel} has mounted ext4; it writes and verifies while its worker is killed")

            def tell(kills):
                if kills % 5 == 0:
                    say(f"killed {kills} times; now worker {disk0.worker()}")

            done = storm(guest, "/mnt/work", KILLS, disk0.kill_worker, progress=tell)
            guest.run("umount /mnt")
            complaints = guest.complaints()
            state = disk0.now()
    disk.fsck(path)
    say("the file system is without fault")
    table(
        [
            ("guest booted", kernel),
            ("bytes written in the guest", f"{done.written:,}"),
            ("bytes verified in the guest", f"{done.verified:,}"),
            ("worker killed", f"{done.kills} times ({state['restarts']} restarts)"),
            ("errors seen by the guest", len(complaints)),
            ("longest pause", f"{done.longest_ms:.0f} ms"),
        ]
    )
    for line in complaints:
        print(f"  the guest's kernel: {line}")
    return 1 if complaints else 0


def main():
    steps = Steps()
    proc.end_on_sigterm()
    try:
        with proc.scratch() as scratch:
            return demo(scratch, steps.say)
    except (proc.Failed, proc.Skipped) as reason:
        steps.say(f"the demo failed: {reason}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
