# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# needs: history
# timeout: 480
"""A disk is gone in the middle of its I/O, and comes back, under another name as it may be.

An NVMe disk is taken from its bus, a SCSI disk from its host; all that was written is there when
they are back. Held requests are then done on the disk of the same identity; on no other.
"""
import pathlib
import re

import inside
from inside import PCI, Iovd, device, expect_equal, read, wait_for, write
from storage import attached, kill_any, modules, recover_amid_kills, told, zero

from lib.held import HOLD, is_busy, is_held
from lib.held import expect as expect_end

BLOCK = pathlib.Path("/sys/block")


def there_and_back(iovd, scratch, name, disk, vanish, come_back, recover):
    """One disk, of which come_back() tells the path that it has now."""
    zero(disk, 1 << 20)
    with attached(iovd, disk, name, scratch, *HOLD) as (one, history):
        is_busy(one)
        vanish()
        told(one, "recover it: ")
        kill_any(iovd, one)
        is_held(one)
        expect_end(10, iovd.ctl("recover", one.id, check=False), "NO-SUCH")
        is_held(one)
        now = come_back()
        print(f"{name}: {disk} was away, and is {now}")
        recover(iovd, one)
        is_busy(one)
        expect_equal(one.now()["device"], now.name, "the device that it has now")
        iovd.wait_restart(iovd.kill())
        expect_equal(one.now()["device"], now.name, "the device, after a restart")
        return history.end(120)


def namespace(bdf):
    """The disk of an NVMe controller, whatever its number; one path of it has the controller's, too."""
    names = lambda: [p.name for p in (PCI / bdf).glob("nvme/nvme*/nvme*n*")]  # noqa: E731
    name = wait_for(names, f"a disk of {bdf}", 60)[0]
    return pathlib.Path("/dev") / re.sub(r"c\d+n", "n", name)


def nvme(iovd, scratch):
    bdf = device("nvme")
    first = namespace(bdf)

    def come_back():
        write("/sys/bus/pci/rescan", 1)
        return namespace(bdf)

    checked = there_and_back(
        iovd, scratch, "nvme", first, lambda: write(PCI / bdf / "remove", 1), come_back,
        recover_amid_kills,
    )  # fmt: skip
    for _ in range(2):  # nobody holds on to the name that it had at first: the next topic finds it
        if namespace(bdf) != first:
            write(PCI / bdf / "remove", 1)
            come_back()
    expect_equal(namespace(bdf), first, "its name in the end")
    return checked


def scsi(iovd, scratch):
    """scsi_debug keeps in memory what is written, whatever becomes of the disk in front of it."""
    modules("sd_mod", "scsi_debug")
    disks = lambda: [p for p in BLOCK.glob("sd*") if read(p / "device/model") == "scsi_debug"]  # noqa: E731
    first = wait_for(disks, "a disk of scsi_debug")[0]
    host = (first / "device").resolve().parents[1]  # host/target/lun

    def come_back():
        write(pathlib.Path("/sys/class/scsi_host") / host.name / "scan", "- - -")
        return pathlib.Path("/dev") / wait_for(disks, "the disk to be back")[0].name

    def vanish():
        write(first / "device/delete", 1)
        wait_for(lambda: not disks(), "the disk to be gone")

    return there_and_back(
        iovd, scratch, "scsi", pathlib.Path("/dev") / first.name, vanish, come_back,
        lambda iovd, one: iovd.ok("recover", one.id),
    )  # fmt: skip


def test(scratch):
    notes = []
    with Iovd(scratch) as iovd:
        for scene in (nvme, scsi):
            notes.append(f"{scene.__name__}: {scene(iovd, scratch)}")
            print(notes[-1])
    return "; ".join(notes)


inside.main(test)
