#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a client waits when what serves it is killed: ./dev campaign pauses [KILLS], by default 300.

The client (the history checker) is a process of this host, at depth 32 over four queues: an emulated guest
waits longer for its processors than for its disk. A pause is the longest request from one kill to the next,
about a second later. First nothing is killed: the machine's own pauses.
"""
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import disk, proc  # noqa: E402
from lib.daemon import Daemon  # noqa: E402
from lib.history import History  # noqa: E402
from lib.report import main  # noqa: E402
from test_kill_queues import GAP, quantile  # noqa: E402

from guest.cache import progress  # noqa: E402  (lib says where it is)

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 300


def kill_nothing(daemon, one):
    """What the machine does by itself."""


def kill_worker(daemon, one):
    one.kill_worker()


def kill_both(daemon, one):
    worker, old = one.worker(), daemon.kill()
    one.kill_worker(worker)
    daemon.wait_restart(old)


def windows(daemon, one, history, kill, count):
    """The longest request of each."""
    longest = []
    for _ in range(count):
        seen = len(history.slow())
        kill(daemon, one)
        time.sleep(random.uniform(*GAP))  # the moment of the next one is to be any
        history.check()
        longest.append(max(history.slow()[seen:], default=0))
    return longest


def summary(what, pauses):
    figures = ", ".join(f"p{q * 100:g} {quantile(pauses, q):.0f}" for q in (0.5, 0.9, 0.99))
    return f"{what}: {len(pauses)} times, ms: {figures}, most {max(pauses):.0f}"


def campaign(scratch):
    said = []
    with proc.scratch(proc.tmpfs()) as memory, Daemon(scratch) as daemon:
        image = disk.blank(memory / "disk.img", 16)
        one = daemon.attach(image, "vm1", "disk0", "--queues", "4")
        history = History(one.socket, scratch, image=image, queues=4, depth=32, slow=1)
        one.wait("active")
        for what, kill in (("nothing", kill_nothing), ("worker", kill_worker), ("iovd and worker", kill_both)):
            count = KILLS // 5 if kill is kill_nothing else KILLS
            said.append(summary(what, windows(daemon, one, history, kill, count)))
            progress(said[-1])
        said.append(str(history.end()))
    return "\n".join(said)


main(campaign)
