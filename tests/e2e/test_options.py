# SPDX-License-Identifier: GPL-2.0-or-later
"""What a disk may be: read-only, write-back or write-through, with or without the host's cache;
and what it does beyond reading and writing: flush, discard, write zeroes."""
from contextlib import ExitStack

from lib import disk, jobs, servers
from lib.clients import blkio_client
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what}: {got!r}, not {wanted!r}")


def read_only(guest, dev):
    expect("ro", guest.out(f"cat /sys/block/{dev}/ro"), "1")
    guest.run(f"mount -o ro /dev/{dev} /mnt && umount /mnt")
    if guest.run(f"dd if=/dev/zero of=/dev/{dev} bs=4k count=1", check=False).status == 0:
        raise Failed("a read-only disk took a write")


def caching(guest, dev):
    """The guest sees a cache, may turn it off (F_CONFIG_WCE) and on, and flushes work in both."""
    cache = f"/sys/block/{dev}/cache_type"
    for mode in "write back", "write through", "write back":
        guest.run(f"echo {mode} >{cache}")
        expect("cache", guest.out(f"cat {cache}"), mode)
        jobs.work(guest.run(jobs.verify(f"/dev/{dev}", 4, fdatasync=16), 120))


def discard(guest, dev, image):
    """Storage comes back when the guest gives up blocks."""
    guest.run(f"dd if=/dev/urandom of=/dev/{dev} bs=1M count=32 oflag=direct")
    if disk.allocated(image) < 32 << 20:
        raise Failed("the image does not hold what was written")
    guest.run(f"blkdiscard /dev/{dev}")
    if disk.allocated(image) > 1 << 20:
        raise Failed(f"{disk.allocated(image)} bytes still allocated after a discard of all")


def test(scratch):
    fixed = disk.ext4(scratch / "ro.img", 64)
    before = disk.checksum(fixed)
    back, direct = (disk.blank(scratch / f"{name}.img", 64) for name in ("back", "direct"))
    with ExitStack() as stack:
        socks = [
            stack.enter_context(servers.alone(image, scratch, image.stem, **options)).socket
            for image, options in (
                (fixed, {"read_only": True}),
                (back, {"cache": "writeback"}),
                (direct, {"cache": "none"}),
            )
        ]
        args = [word for sock in socks for word in blk_args(sock, sock.stem)]
        with Qemu(scratch, args) as guest:
            read_only(guest, "vda")
            for dev, image in (("vdb", back), ("vdc", direct)):
                caching(guest, dev)
                discard(guest, dev, image)
        # Write zeroes and discard as requests of their own, each read back.
        for sock in socks[1:]:
            blkio_client(sock)
    expect("the read-only image's content", disk.checksum(fixed), before)


main(test)
