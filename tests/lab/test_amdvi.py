#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""AMD-Vi, that it is there and that iovd runs on it."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.lab import main  # noqa: E402

sys.exit(main(["amdvi", "smoke"]))
