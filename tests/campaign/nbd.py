#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_nbd.py: ./dev campaign nbd [KILLS]."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_nbd  # noqa: E402
from lib.report import main  # noqa: E402

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 100

main(lambda scratch: test_nbd.test(scratch, KILLS))
