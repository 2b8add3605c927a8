# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that are slow, or fail, on command."""
from .proc import Process, need, until
from .qmp import Qmp


class SlowDisk(Process):
    """The image through FUSE, with as many requests a second as it is told."""

    def __init__(self, image, scratch):
        need("qemu-storage-daemon", "qemu-system-x86")
        self.path, qmp = scratch / "slow.img", scratch / "slow.qmp"
        self.path.touch()
        super().__init__(
            [
                "qemu-storage-daemon",
                "--object", "throttle-group,id=limit",
                "--blockdev", f"file,node-name=file,filename={image}",
                "--blockdev", "throttle,node-name=slow,file=file,throttle-group=limit",
                "--export", f"fuse,id=x,node-name=slow,mountpoint={self.path},writable=on,"
                "allow-other=on",
                "--chardev", f"socket,id=q,path={qmp},server=on,wait=off",
                "--monitor", "chardev=q",
            ],
            scratch / "slow.log",
        )  # fmt: skip
        until(lambda: self.path.stat().st_size == image.stat().st_size, 20, "the FUSE export")
        self.qmp = Qmp(qmp)

    def requests_per_second(self, number):
        """0 is no limit."""
        limits = {"iops-total": number, "iops-total-max": number}
        self.qmp.command("qom-set", path="/objects/limit", property="limits", value=limits)
