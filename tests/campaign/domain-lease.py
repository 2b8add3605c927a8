#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_domain_lease.py: an iovd is killed at every step of a move by lease, ROUNDS
times.

    ./dev campaign domain-lease [ROUNDS]
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_domain_lease as lease  # noqa: E402
from lib.report import main  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1

main(lambda scratch: lease.test(scratch, lease.POINTS * ROUNDS))
