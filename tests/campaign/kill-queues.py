#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_kill_queues.py: ./dev campaign kill-queues [KILLS [WHAT]].

WHAT is "worker" or "iovd and worker"; without it first the one, then the other.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_kill_queues  # noqa: E402
from guest.cache import progress  # noqa: E402
from lib.report import main  # noqa: E402

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
ONLY = sys.argv[2] if len(sys.argv) > 2 else None

main(lambda scratch: test_kill_queues.test(scratch, KILLS, progress, ONLY))
