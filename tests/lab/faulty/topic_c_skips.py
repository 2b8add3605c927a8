# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 30
"""Cannot run."""
import sys

print("no such device")
sys.exit(77)
