#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_domain_crashes.py, at every point: ./dev campaign domain-crashes"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_domain_crashes  # noqa: E402
from lib.report import main  # noqa: E402

main(lambda scratch: test_domain_crashes.test(scratch, every=1))
