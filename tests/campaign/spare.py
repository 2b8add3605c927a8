#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_spare.py: ./dev campaign spare [FAILURES]."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_spare  # noqa: E402
from guest.cache import progress  # noqa: E402
from lib.report import main  # noqa: E402

FAILURES = int(sys.argv[1]) if len(sys.argv) > 1 else 200


def tell(done):
    if done % 10 == 0:
        progress(f"{done} of {FAILURES} failures")


main(lambda scratch: test_spare.test(scratch, FAILURES, tell))
