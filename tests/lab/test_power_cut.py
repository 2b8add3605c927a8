#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""The power of a host is cut while guests' disks and the store are written to; once here, more often
by ./dev campaign power-cut [CUTS]."""
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("e2e", ".")]

from lab import power_cut  # noqa: E402
from lib.report import main  # noqa: E402

main(lambda scratch: power_cut.run(1))
