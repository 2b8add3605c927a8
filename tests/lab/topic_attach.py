# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 600
# needs: guest
"""An NVMe disk goes to a nested guest and comes back: driver, node and data. Where the lab host cannot
have guests, a process takes the part of the VMM, and only the guest's own writes are not there."""
import hashlib
import os
import pathlib

import inside
from inside import IOMMU, Iovd, bus_master, device, disk, driver_of, expect, expect_equal, group_of
from owner import Owner
from vmms import attach, nested_guest, shown, wait_state

MIB = 1 << 20
NOBODY = 65534


def digest(path, offset, count):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(offset)
        return hashlib.sha256(file.read(count)).hexdigest()


def fill(path, count):
    """Writes random bytes at the start of a disk; their digest."""
    data = os.urandom(count)
    with open(path, "r+b", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def use_in_guest(machine, wanted):
    """What the host wrote is there; what is written is read back; the digest of what is left."""
    is_there = lambda: machine.out("ls /dev/nvme0n1 2>&1") == "/dev/nvme0n1"  # noqa: E731
    inside.wait_for(is_there, "the guest's disk", 60)
    seen = machine.out("dd if=/dev/nvme0n1 bs=1M count=1 2>/dev/null | sha256sum")
    expect_equal(seen.split()[0], wanted, "the host's bytes, read by the guest")
    machine.run(
        "fio --name=v --filename=/dev/nvme0n1 --offset=8M --size=4M --rw=randwrite --bs=16k "
        "--direct=1 --ioengine=psync --verify=crc32c --do_verify=1", 120)
    machine.run("dd if=/dev/urandom of=/tmp/bytes bs=1M count=2 2>/dev/null && "
                "dd if=/tmp/bytes of=/dev/nvme0n1 bs=1M seek=2 conv=fsync 2>/dev/null")
    machine.expect_no_complaints()
    return machine.out("sha256sum </tmp/bytes").split()[0]


def check_ready(iovd, bdf, attachment):
    """What a device is like in the gap."""
    node = pathlib.Path(f"/dev/vfio/{group_of(bdf)}").stat()
    expect_equal((node.st_uid, node.st_mode & 0o777), (NOBODY, 0o600), "owner and mode of the node")
    expect_equal(driver_of(bdf), "vfio-pci", "driver")
    expect(not bus_master(bdf), "it is a bus master, and nobody has it")
    expect_equal(attachment["devices"], [bdf], "devices")
    listed = iovd.ok("show", bdf)["device"]
    expect_equal(listed["state"], "attached", "state of the device")


def check_active(iovd, pid, bdf, name):
    """What is refused while the guest has it."""
    active = wait_state(iovd, name, "active")
    expect_equal(active["vmm_pid"], pid, "the VMM's process")
    expect(bus_master(bdf), "the guest drives it, and it is no bus master")
    answer = iovd.refused("BUSY", "detach", name)
    expect(str(pid) in answer.text, f"no evidence: {answer.text}")
    iovd.refused("DEV-TAKEN", "attach", bdf, "vm2")


def in_guest(iovd, scratch, bdf, attachment, wanted):
    """The digest of what the guest leaves on the disk."""
    with nested_guest(scratch, attachment["vmm_args"]) as machine:
        check_active(iovd, machine.pid, bdf, attachment["id"])
        return use_in_guest(machine, wanted)


def in_process(iovd, bdf, attachment):
    with Owner("vmm") as vmm:
        vmm.open_master(bdf)
        check_active(iovd, vmm.pid, bdf, attachment["id"])


def test(scratch):
    bdf = device("nvme")
    before = fill(disk(bdf), MIB)
    with Iovd(scratch) as iovd:
        plan = iovd.ok("attach", bdf, "vm1", "--dry-run")["plan"]
        print("plan:", *plan, sep="\n  ")
        expect_equal(driver_of(bdf), "nvme", "driver after --dry-run")
        attachment = attach(iovd, bdf, "vm1", "--owner", "nobody")
        name = attachment["id"]
        check_ready(iovd, bdf, attachment)
        expect(iovd.ok("attach", bdf, "vm1")["already"], "attached again is not the same")
        iovd.refused("DEV-STAYS", "migrate", "vm1", "unix:///nowhere/iovd.sock", "--check")
        written = None
        if IOMMU == "smmuv3":  # its processor is emulated without virtualization
            in_process(iovd, bdf, attachment)
        else:
            written = in_guest(iovd, scratch, bdf, attachment, before)
        attachment = wait_state(iovd, name, "ready")
        expect_equal(attachment["vmm_pid"], None, "the VMM's process, after its end")
        check_ready(iovd, bdf, shown(iovd, name))
        iovd.ok("detach", name)
        expect_equal(driver_of(bdf), "nvme", "driver after detach")
        expect_equal(iovd.ok("show", bdf)["device"]["state"], "free", "state after detach")
        path = disk(bdf)
        expect_equal(digest(path, 0, MIB), before, "the host's bytes, after the guest")
        if written:
            expect_equal(digest(path, 2 * MIB, 2 * MIB), written, "the guest's bytes")
    using = "verified I/O in a nested guest" if written else "opened by a process"
    return f"{using}, and back to nvme with the data intact"


inside.main(test)
