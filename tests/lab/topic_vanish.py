# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# needs: history
# timeout: 480
"""A disk is gone in the middle of its I/O, and comes back, under another name as it may be.

An NVMe disk is taken from its bus, and found there again. Held requests are then done on the disk of
the same identity; on no other.
"""
import pathlib
import re

import inside
from inside import PCI, Iovd, device, expect_equal, wait_for, write
from storage import attached, kill_any, recover_amid_kills, told, zero

from lib.held import HOLD, is_busy, is_held
from lib.held import expect as expect_end


def there_and_back(iovd, scratch, name, disk, vanish, come_back):
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
        recover_amid_kills(iovd, one)
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
        iovd, scratch, "nvme", first, lambda: write(PCI / bdf / "remove", 1), come_back
    )
    for _ in range(2):  # nobody holds on to the name that it had at first: the next topic finds it
        if namespace(bdf) != first:
            write(PCI / bdf / "remove", 1)
            come_back()
    expect_equal(namespace(bdf), first, "its name in the end")
    return checked


def test(scratch):
    with Iovd(scratch) as iovd:
        return nvme(iovd, scratch)


inside.main(test)
