#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""Arm SMMUv3: who can reach whose memory."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.lab import main  # noqa: E402

sys.exit(main(["smmuv3", "dma", "isolation"]))
