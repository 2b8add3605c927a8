# SPDX-License-Identifier: GPL-2.0-or-later
"""An image that grows under a guest: SIGHUP tells the worker, the guest sees and uses it."""
from lib import disk, servers
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main

MIB = disk.MIB
WAIT = "while [ $(cat /sys/block/vda/size) != {} ]; do usleep 10000; done"


def grow(guest, server, image, mib):
    with open(image, "r+b") as file:
        file.truncate(mib * MIB)
    server.reread_size()
    guest.run(WAIT.format(mib * 2048), 20)


def test(scratch):
    image = disk.blank(scratch / "disk.img", 64)
    with servers.Worker(image, scratch) as server, Qemu(scratch, blk_args(server.socket)) as guest:
        grow(guest, server, image, 96)
        guest.run(
            f"echo the new end | dd of=/dev/vda bs=512 seek={96 * 2048 - 1} conv=sync oflag=direct"
        )
        grow(guest, server, image, 128)
        guest.expect_no_complaints()
    with open(image, "rb") as file:
        file.seek(96 * MIB - 512)
        if not file.read(16).startswith(b"the new end"):
            raise Failed("what the guest wrote at the new end is not in the image")


main(test)
