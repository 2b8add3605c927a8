#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_net_attach.py: ./dev campaign net-kills [KILLS]."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_net_attach  # noqa: E402
from guest.cache import progress  # noqa: E402
from lib.report import main  # noqa: E402

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 100


def tell(done):
    if done % 10 == 0:
        progress(f"{done} of {KILLS} kills")


main(lambda scratch: test_net_attach.test(scratch, KILLS, tell))
