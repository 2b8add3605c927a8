# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 30
"""Passes, but for what it leaves running."""
import subprocess

subprocess.Popen(["sleep", "1234"], start_new_session=True)
