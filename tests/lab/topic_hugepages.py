# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 120
"""Huge pages stay huge: buffer, I/O virtual addresses and physical memory aligned alike."""
import inside
from inside import device, expect, expect_equal
from owner import Owner, give_back, take

HUGE = inside.PAGE * inside.PAGE // 8


def test(_):
    edu = device("edu_a")
    take(edu)
    pool = inside.pathlib.Path(f"/sys/kernel/mm/hugepages/hugepages-{HUGE >> 10}kB/nr_hugepages")
    if not pool.exists():
        raise inside.Skipped(f"this kernel has no huge pages of {HUGE >> 10} KiB")
    inside.write(pool, 2)
    ready = int(inside.read(pool))
    if ready < 2:
        raise inside.Skipped(f"the host has memory for {ready} of 2 huge pages only")
    with Owner() as owner:
        owner.open_master(edu)
        where = owner.buffer(0, 2 * HUGE, 64, "huge")
        expect_equal(where % HUGE, 0, "offset of the IOVA in a huge page")
        for offset in (0, HUGE):
            expect_equal(owner.physical(0, offset) % HUGE, 0, "offset of the memory in a huge page")
        fragments = int(owner.do("fragments", 0)[0])
        expect(fragments <= 2, f"2 huge pages in {fragments} pieces")
        # Across the seam of the two.
        owner.do("poke", 0, HUGE - 4, "seamless")
        owner.do("fetch", edu, where + HUGE - 4, 8)
        owner.do("store", edu, where + 2 * HUGE - 8, 8)
        expect_equal(owner.peek(0, 2 * HUGE - 8, 8), "seamless", "what went across the seam")
        sizes = owner.limits()[1]
    inside.write(pool, 0)
    give_back(edu)
    return f"2 pages of {HUGE >> 10} KiB at {where:#x}; the IOMMU's page sizes: {sizes:#x}"


inside.main(test)
