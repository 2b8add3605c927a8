# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 30
"""Takes the whole host with it."""
import pathlib

pathlib.Path("/proc/sysrq-trigger").write_text("c")
