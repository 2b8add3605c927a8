#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_domain_move_crashes.py: whatever can die, at every stage, ROUNDS times.

    ./dev campaign domain-move-crashes [ROUNDS]
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_domain_move_crashes as crashes  # noqa: E402
from lib.report import main  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
WHATS = (crashes.iovd, crashes.worker, crashes.libvirtd, crashes.qemu, crashes.link)
SCENES = [
    (what, side, stage) for what in WHATS for side in ("here", "there") for stage in crashes.STAGES
]

main(lambda scratch: crashes.test(scratch, SCENES * ROUNDS))
