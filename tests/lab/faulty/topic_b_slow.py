# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 2
"""Does not end, not even when asked to."""
import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    signal.pause()
