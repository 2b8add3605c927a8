# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""One image through iov-worker alone, with three clients that know nothing of each other.

QEMU's front end, User-Mode Linux's driver and libblkio each write, and each sees what the others
wrote; after each of them the file system is whole and the image is what the client saw.
"""
from lib import disk, jobs, servers
from lib.clients import blkio_client
from lib.guest import Qemu, Uml, blk_args
from lib.proc import Failed
from lib.report import main

WRITE = """
mount /dev/vda /mnt && cd /mnt && dd if=/dev/urandom of={0} bs=1M count=8 && sha256sum {0} >>sums
"""
CHECK = "mount /dev/vda /mnt && cd /mnt && sha256sum -c sums && cd / && umount /mnt"


def file_system(guest, image, name, seen):
    """The guest checks what is there, adds a file, works on another, and leaves."""
    if seen:
        guest.run(CHECK)
    guest.run(WRITE.format(name))
    jobs.work(guest.run(jobs.verify("/mnt/work", 16), 120))
    guest.run("umount /mnt")
    guest.expect_no_complaints()
    disk.fsck(image)


def whole_disk(guest, image):
    """The guest reads the bytes that are in the image."""
    if guest.out("sha256sum /dev/vda").split()[0] != disk.checksum(image):
        raise Failed(f"{type(guest).__name__} reads other bytes than the image has")


def dump(sock, image, scratch):
    blkio_client(sock, job="dump", out=scratch / "dump", bs=65536)
    if disk.checksum(scratch / "dump") != disk.checksum(image):
        raise Failed("libblkio reads other bytes than the image has")


def test(scratch):
    image = disk.ext4(scratch / "ext4.img", 128)
    with servers.alone(image, scratch) as server:
        with Qemu(scratch, blk_args(server.socket)) as guest:
            file_system(guest, image, "from-qemu", seen=False)
        dump(server.socket, image, scratch)
        with Uml(scratch, server.socket) as guest:
            file_system(guest, image, "from-uml", seen=True)
        dump(server.socket, image, scratch)
        with Qemu(scratch, blk_args(server.socket), name="again") as guest:
            guest.run(CHECK)

    raw = disk.blank(scratch / "raw.img", 64)
    with servers.alone(raw, scratch, "raw") as server:
        for wait in "block", "loop", "poll":
            blkio_client(server.socket, wait=wait)
        blkio_client(server.socket, keep=1)
        with Qemu(scratch, blk_args(server.socket), name="raw") as guest:
            whole_disk(guest, raw)
        with Uml(scratch, server.socket, name="raw-uml") as guest:
            whole_disk(guest, raw)
        blkio_client(server.socket, readonly=1)
    return "QEMU, User-Mode Linux and libblkio agree"


main(test)
