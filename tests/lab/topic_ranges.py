# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 120
"""The holes in the addresses that can be mapped: what the kernel says is what we honour."""
import inside
from inside import device, expect, expect_equal
from owner import Owner, give_back, take

# What QEMU's IOMMUs have: how many ranges at least, and whether these end below 64 bits.
KNOWN = {"vtd": (2, True), "amdvi": (3, False), "virtio": (2, True), "smmuv3": (2, True)}


def reserved(bdf):
    """The reserved regions of the device's group: first, last, type. Only "direct-relaxable" ones
    may be mapped."""
    text = inside.read(inside.PCI / bdf / "iommu_group" / "reserved_regions")
    rows = (line.split() for line in text.splitlines())
    return [(int(a, 16), int(b, 16)) for a, b, kind in rows if kind != "direct-relaxable"]


def holes(ranges):
    return [(a[1] + 1, b[0] - 1) for a, b in zip(ranges, ranges[1:])]


def check_ranges(ranges, regions):
    expect(all(a <= b for a, b in ranges), f"ranges: {ranges}")
    expect(all(gap <= end for gap, end in holes(ranges)), f"ranges that touch: {ranges}")
    for first, last in ranges:
        for begin, end in regions:
            expect(end < first or begin > last, f"reserved {begin:#x} lies in {first:#x}-{last:#x}")


def must_map(owner, edu, iova, page):
    """Maps a page there, and the device finds it."""
    owner.do("map", 0, iova)
    owner.do("fetch", edu, iova, 64)
    owner.do("unmap-at", iova, page)


def test(_):
    edu = device("edu_a")
    take(edu)
    with Owner() as owner:
        owner.open_master(edu)
        granule, _, left, ranges = owner.limits()
        print(f"pages of {granule}, {left} mappings,", *(f"{a:#x}-{b:#x}" for a, b in ranges))
        expect_equal(granule % inside.PAGE, 0, "granule beyond whole pages")
        check_ranges(ranges, reserved(edu))
        least, ends = KNOWN[inside.IOMMU]
        expect(len(ranges) >= least, f"{len(ranges)} ranges, QEMU has {least}")
        end = ranges[-1][1] + 1
        expect_equal(end <= 1 << 63, ends, "there is an upper limit")
        owner.buffer(0, granule)
        for first, last in ranges:
            must_map(owner, edu, max(first, granule), granule)
            must_map(owner, edu, last + 1 - granule, granule)
        for first, last in holes(ranges):
            owner.refused("IOVA-RANGE", "map", 0, first)
            owner.refused("IOVA-RANGE", "map", 0, last + 1 - granule)
        if end < 1 << 64:  # type1 could not unmap the very last page
            owner.refused("IOVA-RANGE", "map", 0, end)
        owner.refused("IOVA-RANGE", "map", 0, granule // 2)
        # Twice at one place is refused, by whoever it was taken.
        owner.do("map", 0, ranges[0][0] + 16 * granule)
        owner.refused("IOVA-BUSY", "map", 0, ranges[0][0] + 16 * granule)
    give_back(edu)
    return f"{len(ranges)} ranges, both ends of each mapped, {len(holes(ranges))} holes refused"


inside.main(test)
