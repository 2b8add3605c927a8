# SPDX-License-Identifier: GPL-2.0-or-later
"""An image that grows under a guest: a worker alone is told by SIGHUP, one of iovd's by iovd, and
the guest sees and uses it. The second guest is started with the words that `iovctl attach` prints.
"""
from lib import disk, servers
from lib.daemon import Daemon
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main

MIB = disk.MIB
WAIT = "while [ $(cat /sys/block/vda/size) != {} ]; do usleep 10000; done"


def grow(guest, tell, image, mib):
    with open(image, "r+b") as file:
        file.truncate(mib * MIB)
    tell()
    guest.run(WAIT.format(mib * 2048), 20)


def alone(scratch):
    image = disk.blank(scratch / "disk.img", 64)
    with servers.Worker(image, scratch) as server, Qemu(scratch, blk_args(server.socket)) as guest:
        grow(guest, server.reread_size, image, 96)
        guest.run(
            f"echo the new end | dd of=/dev/vda bs=512 seek={96 * 2048 - 1} conv=sync oflag=direct"
        )
        grow(guest, server.reread_size, image, 128)
        guest.expect_no_complaints()
    with open(image, "rb") as file:
        file.seek(96 * MIB - 512)
        if not file.read(16).startswith(b"the new end"):
            raise Failed("what the guest wrote at the new end is not in the image")


def managed(scratch):
    image = disk.blank(scratch / "managed.img", 64)
    with Daemon(scratch) as daemon:
        disk0 = daemon.attach(image, "web1", "disk0")
        with Qemu(scratch, disk0.vmm_args, name="managed") as guest:
            grow(guest, lambda: None, image, 96)
            grow(guest, disk0.kill_worker, image, 128)
            guest.expect_no_complaints()


def test(scratch):
    alone(scratch)
    managed(scratch)


main(test)
