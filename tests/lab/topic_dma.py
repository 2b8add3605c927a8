# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 240
"""DMA of a device in user space: what is mapped is reached, and nothing else."""
import inside
from inside import KernelLog, MemoryCanary, device, expect_equal
from owner import Owner, give_back, stopped, take

TEXT = "the-quick-brown-fox-jumps-over-the-lazy-dog"
SIZE = 4 * inside.PAGE


def round_trip(owner, edu):
    """From memory into the device, and from there to another place in memory: where that is."""
    source, target = owner.buffer(0, SIZE), owner.buffer(1, SIZE)
    owner.do("poke", 0, 100, TEXT)
    owner.fill(1, ".")
    owner.do("fetch", edu, source + 100, len(TEXT))
    owner.do("store", edu, target + SIZE - len(TEXT), len(TEXT))
    expect_equal(owner.peek(1, SIZE - len(TEXT), len(TEXT)), TEXT, "what arrived")
    expect_equal(owner.peek(1, SIZE - len(TEXT) - 1, 1), ".", "what is before it")
    return target


def only_read(owner, edu, target, log):
    """Memory that the device may read is not written."""
    readable = owner.buffer(2, inside.PAGE, 64, "any", "read")
    owner.fill(2, TEXT)
    # Written to first: QEMU reports no fault for what it has in its cache of translations.
    stopped(owner, edu, readable, log, "may only be read")
    owner.do("fetch", edu, readable, len(TEXT))
    owner.do("store", edu, target, len(TEXT))
    expect_equal(owner.peek(1, 0, len(TEXT)), TEXT, "what was read")
    owner.do("store", edu, readable + 1, len(TEXT))
    expect_equal(owner.differ(2, TEXT), 0, "bytes written where reading is allowed")


def after_unmap(owner, edu, target, log):
    """A mapping that was is none; the memory behind it is still there to be looked at."""
    owner.do("unmap", 1)
    owner.fill(1, "-")
    stopped(owner, edu, target, log, "unmapped")
    expect_equal(owner.differ(1, "-"), 0, "bytes written after the mapping ended")


def no_master(owner, edu):
    owner.fill(2, "-")
    owner.do("master", edu, "off")
    target = owner.buffer(3, inside.PAGE)
    owner.fill(3, "-")
    owner.do("store", edu, target, 4)
    expect_equal(owner.differ(3, "-"), 0, "bytes written by a device that is no bus master")


def test(_):
    edu = device("edu_a")
    take(edu)
    log, canary = KernelLog(), MemoryCanary(64)
    with Owner() as owner:
        owner.open_master(edu)
        stopped(owner, edu, canary.physical(16 << 20), log, "blocked")
        target = round_trip(owner, edu)
        owner.fill(1, ".")
        stopped(owner, edu, canary.physical(), log, "a physical address")
        stopped(owner, edu, 2 * target, log, "not mapped")
        expect_equal(owner.differ(1, "."), 0, "bytes changed by the attempts")
        only_read(owner, edu, target, log)
        after_unmap(owner, edu, target, log)
        no_master(owner, edu)
        canary.check()
    give_back(edu)
    return "mapped memory is reached, nothing else"


inside.main(test)
