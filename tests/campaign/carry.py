#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/e2e/test_carry_fenced.py with little time: ./dev campaign carry [MS], by default 200."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_carry_fenced  # noqa: E402
from lib.report import main  # noqa: E402

TIMEOUT_MS = int(sys.argv[1]) if len(sys.argv) > 1 else 200

main(lambda scratch: test_carry_fenced.test(scratch, TIMEOUT_MS))
