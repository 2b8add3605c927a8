#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine on one NBD store moves between two lab hosts with kernels of their own:
./dev campaign lab-move [MOVES]."""
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("e2e", ".")]

from lab import two_hosts  # noqa: E402
from lib.report import main  # noqa: E402

MOVES = int(sys.argv[1]) if len(sys.argv) > 1 else 3

main(lambda scratch: two_hosts.test(scratch, MOVES))
