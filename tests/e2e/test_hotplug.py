# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Memory plugged in under I/O, past the eight regions vhost-user once had, and used for I/O."""
from lib import disk, jobs, servers
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main

DIMMS = 10
MIB_EACH = 128
MIB = "awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo"
# More than the guest was started with: most of it has to lie in the plugged memory.
FILL = """
mkdir -p /ram && mount -t tmpfs -o size=900m ram /ram
dd if=/dev/vdb of=/ram/copy bs=1M iflag=direct && sha256sum </ram/copy
dd if=/ram/copy of=/dev/vdb bs=1M oflag=direct && sync
"""


def plug(guest, number):
    guest.qmp.command(
        "object-add",
        **{
            "qom-type": "memory-backend-memfd",
            "id": f"m{number}",
            "size": MIB_EACH << 20,
            "share": True,
        },
    )
    guest.qmp.command("device_add", driver="pc-dimm", id=f"dimm{number}", memdev=f"m{number}")


# The guest takes new memory in by itself, some time after it was plugged.
UNTIL = "until [ $(" + MIB + ") -ge %d ]; do usleep 50000; done"


def test(scratch):
    work, big = disk.blank(scratch / "work.img", 64), disk.blank(scratch / "big.img", 512)
    with open(big, "r+b") as file:
        for offset in range(0, 512, 16):
            file.seek(offset * disk.MIB)
            file.write(scratch.name.encode() * 1000 + bytes([offset % 251]) * 65536)
    before = disk.checksum(big)
    with servers.alone(work, scratch, "work") as one, servers.alone(big, scratch, "big") as two:
        args = blk_args(one.socket, "a") + blk_args(two.socket, "b")
        with Qemu(scratch, args, slots=DIMMS + 2) as guest:
            small = int(guest.out(MIB))
            job = guest.start(jobs.verify("/dev/vda", 64, loops=3))
            for number in range(DIMMS):
                plug(guest, number)
            guest.run(UNTIL % (small + DIMMS * MIB_EACH * 9 // 10), 60)
            sum_in_guest = guest.out(FILL, 240).split()
            jobs.work(guest.result(job, 240))
            guest.expect_no_complaints()
            large = int(guest.out(MIB))
    if before not in sum_in_guest or disk.checksum(big) != before:
        raise Failed("data went wrong on its way through the plugged memory")
    return f"{small} MiB and {DIMMS} regions more: {large} MiB"


main(test)
