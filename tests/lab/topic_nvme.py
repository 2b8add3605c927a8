# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio
# timeout: 400
# needs: guest
"""An NVMe disk in a nested guest does verified I/O, and comes back to the host's driver intact."""
import hashlib
import os

import inside
from inside import Iovd, device, disk, driver_of, expect_equal, wait_for
from vmms import attach, nested_guest, wait_state

MIB = 1 << 20
HOST_AT, FIO_AT, GUEST_AT = 0, 8, 48  # MiB: who writes where
FIO = (
    f"fio --name=verified --filename=/dev/nvme0n1 --offset={FIO_AT}m --size=4m --rw=randwrite "
    "--bsrange=4k-64k --ioengine=psync --direct=1 --verify=crc32c --verify_fatal=1"
)


def sum_of(path, at):
    """SHA-256 of a MiB of the host's disk, past its page cache."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(at * MIB)
        return hashlib.sha256(file.read(MIB)).hexdigest()


def put(path, at):
    """A MiB of noise on the host's disk; its SHA-256."""
    with open(path, "r+b", buffering=0) as file:
        file.seek(at * MIB)
        file.write(os.urandom(MIB))
        os.fsync(file.fileno())
    return sum_of(path, at)


def in_guest(guest, host_sum):
    """Reads what the host wrote, writes and verifies, leaves a MiB; its SHA-256."""
    wait_for(lambda: guest.out("ls /dev/nvme0n1 2>&1") == "/dev/nvme0n1", "the guest's disk", 60)
    read = f"dd if=/dev/nvme0n1 bs=1M count=1 skip={HOST_AT} 2>/dev/null | sha256sum"
    expect_equal(guest.out(read).split()[0], host_sum, "what the guest reads of the host's")
    print("the guest reads what the host wrote")
    guest.run(FIO, 120)
    print("fio in the guest has verified what it wrote")
    guest.run(f"dd if=/dev/urandom of=/tmp/noise bs=1M count=1 && "
              f"dd if=/tmp/noise of=/dev/nvme0n1 bs=1M seek={GUEST_AT} && sync")
    guest.expect_no_complaints()
    return guest.out("sha256sum </tmp/noise").split()[0]


def test(scratch):
    bdf = device("nvme")
    host_sum = put(disk(bdf), HOST_AT)
    with Iovd(scratch) as iovd:
        given = attach(iovd, bdf, "vm1")
        with nested_guest(scratch, given["vmm_args"]) as guest:
            wait_state(iovd, given["id"], "active")
            guest_sum = in_guest(guest, host_sum)
        wait_state(iovd, given["id"], "ready")
        iovd.ok("detach", given["id"])
        expect_equal(driver_of(bdf), "nvme", "its driver afterwards")
    expect_equal(sum_of(disk(bdf), HOST_AT), host_sum, "what the host wrote")
    expect_equal(sum_of(disk(bdf), GUEST_AT), guest_sum, "what the guest wrote")


inside.main(test)
