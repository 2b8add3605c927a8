# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that are slow, or fail, on command."""
from .proc import Process, need, run, until
from .qmp import Qmp


class SlowDisk(Process):
    """The image through FUSE, with as many requests a second as it is told."""

    def __init__(self, image, scratch, name="slow", locking="auto"):
        need("qemu-storage-daemon", "qemu-system-x86")
        self.path, qmp = scratch / f"{name}.img", scratch / f"{name}.qmp"
        self.path.touch()
        super().__init__(
            [
                "qemu-storage-daemon",
                "--object", "throttle-group,id=limit",
                "--blockdev", f"file,node-name=file,filename={image},locking={locking}",
                "--blockdev", "blkdebug,node-name=bad,image=file,"
                "inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,"
                "inject-error.1.event=none,inject-error.1.iotype=write,inject-error.1.errno=5",
                "--blockdev", "throttle,node-name=slow,file=file,throttle-group=limit",
                "--export", f"fuse,id=x,node-name=slow,mountpoint={self.path},writable=on,"
                "allow-other=on",
                "--chardev", f"socket,id=q,path={qmp},server=on,wait=off",
                "--monitor", "chardev=q",
            ],
            scratch / f"{name}.log",
        )  # fmt: skip
        until(lambda: self.path.stat().st_size == image.stat().st_size, 20, "the FUSE export")
        self.qmp = Qmp(qmp)

    def stop(self, seconds=10):
        """One that was killed has left its mount."""
        super().stop(seconds)
        run(["umount", "-q", "-l", self.path], check=False)

    def vanish(self):
        """Its server dies, and nothing is mounted any more."""
        self.kill()
        self.wait()
        run(["umount", "-l", self.path])

    def requests_per_second(self, number):
        """0 is no limit."""
        self._limit("iops-total", number)

    def bytes_per_second(self, number):
        """0 is no limit; 1 lets one more request pass, and then none for as long as anybody waits."""
        self._limit("bps-total", number)

    def _limit(self, what, number):
        limits = {what: number, f"{what}-max": number}
        self.qmp.command("qom-set", path="/objects/limit", property="limits", value=limits)

    def fails(self, fails):
        """From now on every read and write fails with EIO, or none does."""
        node = "bad" if fails else "file"
        options = {"driver": "throttle", "node-name": "slow", "throttle-group": "limit", "file": node}
        self.qmp.command("blockdev-reopen", options=[options])
