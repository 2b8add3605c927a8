# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that stops answering must not freeze the VMM, and nothing may be lost by that.

QEMU waits for the answer to GET_VRING_BASE without limit. When the requests that it would wait for
do not end in time the worker closes the connection, the one deliberate drop; QEMU comes back, gives
the in-flight region back, and what was open is done then.
"""
import time

from lib import disk, jobs, servers
from lib.guest import Qemu, blk_args
from lib.proc import Failed, Process, need, until
from lib.qmp import Qmp
from lib.report import main

DRAIN_MS = 1000
PATIENCE_S = 10  # ten times the drain's deadline


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


def test(scratch):
    image = disk.ext4(scratch / "disk.img", 128)
    with SlowDisk(image, scratch) as slow:
        server = servers.Worker(slow.path, scratch, drain_timeout_ms=DRAIN_MS)
        reconnecting = blk_args(f"{server.socket},reconnect-ms=200")
        with server, Qemu(scratch, reconnecting) as guest:
            guest.run("mount /dev/vda /mnt")
            job = guest.start(jobs.verify("/mnt/work", 32))
            guest.pump(1)
            slow.requests_per_second(1)
            guest.pump(0.5)
            begin = time.monotonic()
            guest.qmp.command("stop", seconds=PATIENCE_S)
            frozen = time.monotonic() - begin
            guest.qmp.command("query-status", seconds=PATIENCE_S)
            slow.requests_per_second(0)
            guest.qmp.command("cont", seconds=PATIENCE_S)
            work = jobs.work(guest.result(job, 240))
            guest.run("umount /mnt")
            guest.expect_no_complaints()
            if "do not end within" not in (scratch / "worker.log").read_text():
                raise Failed("the drain ended in time: the disk was not stuck")
    disk.fsck(image)
    return f"QEMU was held for {frozen:.1f} s; {work.verified} bytes verified afterwards"


main(test)
