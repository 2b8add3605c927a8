#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is carried when there is little time: ./dev campaign carry [MS [TIMES]], by default 200 ms, once.

tests/e2e/test_carry_fenced.py and test_nbd_fence.py, and test_save_carried.py, whose requests are then done by
another iovd. A quiesce that has this much time must be over, with all of them carried, 300 ms after it.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_carry_fenced  # noqa: E402
import test_nbd_fence  # noqa: E402
import test_save_carried  # noqa: E402
from lib.report import main  # noqa: E402

TIMEOUT_MS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 1


def campaign(scratch):
    notes = []
    for n in range(TIMES):
        here = scratch / str(n)
        (here / "fenced").mkdir(parents=True)
        (here / "nbd").mkdir()
        (here / "saved").mkdir()
        notes.append(test_carry_fenced.test(here / "fenced", TIMEOUT_MS))
        notes.append(test_nbd_fence.test(here / "nbd", TIMEOUT_MS))
        notes.append(test_save_carried.test(here / "saved", TIMEOUT_MS, TIMEOUT_MS + 300))
    return "\n".join(notes)


main(campaign)
