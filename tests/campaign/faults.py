#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flood of the kernel's log costs: ./dev campaign faults [SECONDS [HOST...]], by default 30 s, and
no lab host.

First the log of a made-up host, a FIFO: faults of one device, which all have to be counted. Then, in each lab
host that is named (vtd, ...), the kernel's own /dev/kmsg; its processor is an emulated one, many times slower
than this machine's: of both it is said how often they go round a loop.
"""
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "e2e")]

import test_faults  # noqa: E402
from guest.cache import progress  # noqa: E402
from lab import lab  # noqa: E402
from lib import proc  # noqa: E402
from lib.inventory import Looker  # noqa: E402
from lib.report import main  # noqa: E402

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
HOSTS = sys.argv[2:]
PART = 0.05  # of a core, at most
RATE = 10000


def speed():
    begin, turns = time.process_time(), 0
    while time.process_time() - begin < 0.5:
        turns += 1
    return 2 * turns


def campaign(scratch):
    tree, log = test_faults.tree_with_log(scratch, "tree")
    with Looker(scratch, "run", tree) as looker:
        rate, part = test_faults.flood(looker, log, SECONDS, RATE)
    said = f"FIFO: {rate:.0f} a second for {SECONDS} s cost {part * 100:.1f} % of a core"
    progress(f"{said}; it goes {speed()} times round")
    if part > PART:
        raise proc.Failed(f"{said}: more than {PART * 100:.0f} %")
    verdicts = lab.run(HOSTS, ["flood"]) if HOSTS else []
    lab.tell(verdicts)
    if any(v.result == lab.FAILED for v in verdicts):
        raise proc.Failed("a lab host failed")
    return said


main(campaign)
