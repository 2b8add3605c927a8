# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that stops answering must not freeze the VMM, and nothing may be lost by that.

QEMU waits for the answer to GET_VRING_BASE without limit. When the requests that it would wait for
do not end in time the worker closes the connection, the one deliberate drop; QEMU comes back, gives
the in-flight region back, and what was open is done then.
"""
import time

from lib import disk, jobs, servers
from lib.guest import Qemu, blk_args
from lib.proc import until
from lib.report import main
from lib.slow import SlowDisk

DRAIN_MS = 1000
PATIENCE_S = 10  # ten times the drain's deadline


def freeze(guest, slow, log, frozen):
    """Stops the guest with a disk that hardly moves: whether the drain was given up. (It is not when
    the guest happened to have no more than a request or two out.)"""
    guest.pump(0.5)
    slow.requests_per_second(1)
    guest.pump(0.5)
    begin = time.monotonic()
    guest.qmp.command("stop", seconds=PATIENCE_S)
    frozen.append(time.monotonic() - begin)
    guest.qmp.command("query-status", seconds=PATIENCE_S)
    slow.requests_per_second(0)
    guest.qmp.command("cont", seconds=PATIENCE_S)
    return "do not end within" in log.read_text()


def test(scratch):
    image, log, frozen = disk.ext4(scratch / "disk.img", 128), scratch / "worker.log", []
    with SlowDisk(image, scratch) as slow:
        server = servers.Worker(slow.path, scratch, drain_timeout_ms=DRAIN_MS)
        reconnecting = blk_args(f"{server.socket},reconnect-ms=200")
        with server, Qemu(scratch, reconnecting) as guest:
            guest.run("mount /dev/vda /mnt")
            job = guest.start(jobs.verify("/mnt/work", 32))
            until(lambda: freeze(guest, slow, log, frozen), 60, "a drain that does not end")
            work = jobs.work(guest.result(job, 240))
            guest.run("umount /mnt")
            guest.expect_no_complaints()
    disk.fsck(image)
    return f"QEMU was held for {max(frozen):.1f} s; {work.verified} bytes verified afterwards"


main(test)
