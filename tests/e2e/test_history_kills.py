# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""Worker, iovd and both are killed at random moments; every read is held against the history.

Four queues, one disk past the page cache and one through it, one in memory; the images are read
past iovd in the end. The short form: KILLS of each.
"""
import random
import time

from lib import disk, proc
from lib.daemon import Daemon
from lib.history import History
from lib.report import main

KILLS = 6


def kill_both(daemon, one):
    worker = one.worker()
    old = daemon.kill()
    one.kill_worker(worker)
    daemon.wait_restart(old)


def storm(daemon, disks, kills):
    """Kills of everything in turn, at most a fifth of a second apart."""
    for n in range(kills):
        for one in disks:
            time.sleep(random.uniform(0, 0.2))  # the moment is to be any
            one.kill_worker()
        daemon.wait_restart(daemon.kill())
        kill_both(daemon, disks[n % len(disks)])
    return kills * (len(disks) + 2)


def test(scratch, kills=KILLS):
    with proc.scratch(proc.tmpfs()) as memory, Daemon(scratch) as daemon:
        images = [
            disk.blank(folder / f"{n}.img", 8) for n, folder in enumerate([scratch] * 2 + [memory])
        ]
        disks = [
            daemon.attach(image, "vm1", f"disk{n}", "--queues", "4", "--cache", cache)
            for n, (image, cache) in enumerate(zip(images, ("none", "writeback", "none")))
        ]
        histories = [
            History(one.socket, scratch, f"h{n}", image=images[n], seed=n, queues=4, depth=16)
            for n, one in enumerate(disks)
        ]
        for one in disks:
            one.wait("active")
        killed = storm(daemon, disks, kills)
        checked = [history.end() for history in histories]
    requests = sum(c.requests for c in checked)
    reads = sum(c.reads_checked for c in checked)
    longest = max(c.longest_ms for c in checked)
    return f"{killed} kills; {requests} requests, {reads} reads checked; longest {longest:.0f} ms"


if __name__ == "__main__":
    main(test)
