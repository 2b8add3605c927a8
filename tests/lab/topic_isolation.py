# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 300
"""Two devices of two owners reach neither the memory of the other nor that of the host."""
import inside
from inside import KernelLog, MemoryCanary, device, expect_equal
from owner import MEBI, Owner, give_back, stopped, take

SHARED = 0x40000000  # an IOVA that both use, each for memory of its own


def own_place(owner, edu, text):
    """A buffer of the owner, at the address that both use; its device reaches it there."""
    owner.buffer(0, MEBI)
    owner.do("map", 0, SHARED)
    owner.do("poke", 0, 0, text)
    owner.do("fetch", edu, SHARED, len(text))
    owner.do("store", edu, SHARED + MEBI - len(text), len(text))
    expect_equal(owner.peek(0, MEBI - len(text), len(text)), text, f"what {owner.name} gets")
    owner.fill(0, text)


def writes(owner, edu, other, canary, log):
    """All ways to the memory of the other and of the host, tried."""
    targets = {
        "other's memory, physical": other.physical(0),
        "its last byte": other.physical(0, MEBI - 4),
        "the host's memory, physical": canary.physical(32 * MEBI),
        "behind the shared address": SHARED + MEBI,
    }
    for what, address in targets.items():
        stopped(owner, edu, address, log, what)


def untouched(owner, text):
    expect_equal(owner.differ(0, text), 0, f"changed bytes of {owner.name}")


def shared_address(left, right, edus):
    """A write of the left one's device to the address that both use is seen by the left one only."""
    left.fill(0, "L")
    left.do("fetch", edus[0], SHARED, 64)
    left.fill(0, "left")
    left.do("store", edus[0], SHARED, 64)
    expect_equal(left.peek(0, 0, 68), "L" * 64 + "left", "what left has written")
    untouched(right, "right")


def held(edu, canary, log):
    """The descriptor alone keeps a device blocked, when address space and all else is closed."""
    with Owner("keeper") as keeper:
        keeper.open(edu)
        keeper.do("hold", edu)
        with Owner("second") as second:
            second.refused("DEV-TAKEN", "open", edu)
        keeper.do("adopt", edu)
        keeper.do("master", edu, "on")
        stopped(keeper, edu, canary.physical(8 * MEBI), log, "held by its descriptor")
        keeper.do("reset", edu)
        keeper.do("check", edu)


def test(_):
    edus = device("edu_a"), device("edu_b")
    take(*edus)
    log, canary = KernelLog(), MemoryCanary(64)
    with Owner("left") as left, Owner("right") as right:
        left.open_master(edus[0])
        right.open_master(edus[1])
        left.refused("DEV-TAKEN", "open", edus[1])
        own_place(left, edus[0], "left")
        # The right one is blocked yet: nothing is mapped for it.
        stopped(right, edus[1], SHARED, log, "blocked, an address that left uses")
        stopped(right, edus[1], left.physical(0), log, "blocked, left's memory")
        untouched(left, "left")

        own_place(right, edus[1], "right")
        writes(left, edus[0], right, canary, log)
        writes(right, edus[1], left, canary, log)
        untouched(left, "left")
        untouched(right, "right")
        shared_address(left, right, edus)
        canary.check()
    held(edus[0], canary, log)
    canary.check()
    give_back(*edus)
    return "each owner's device reaches its own memory only"


inside.main(test)
