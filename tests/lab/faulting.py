# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that fault, what iovd lists of it, and what it does about a storm of it."""
import contextlib
import time

import inside
from inside import IOMMU, Failed, bus_master, expect, expect_equal, wait_for
from vmms import shown

HOLE = 0x2000000


def listed(iovd, since):
    return iovd.ask("ListFaults", since=since)["faults"]


def latest(iovd):
    return max((f["seq"] for f in listed(iovd, 0)), default=0)


def provoke(iovd, owner, bdf, iova):
    """DMA of 4 bytes until a fault is listed: of many that come fast the kernel says few. The fault, and
    how long after the first DMA it was listed."""
    ours = lambda: [f for f in listed(iovd, 0) if f["source"] == IOMMU]  # noqa: E731
    count = lambda: sum(f["count"] for f in ours())  # noqa: E731  (one like an earlier one is counted there)
    before, began = count(), time.monotonic()

    def again():
        owner.do("store", bdf, iova, 4)
        with contextlib.suppress(Failed):
            return wait_for(lambda: count() > before, "a fault to be listed", 1)

    wait_for(again, f"a fault of {bdf} at {iova:#x} to be listed", 60)
    took = time.monotonic() - began
    return max(ours(), key=lambda f: f["latest"]), took


def storm(iovd, owner, bdf, since):
    """DMA without end, until what is done about it is listed: its entries, and how many DMAs that took."""
    count, found = 0, []
    ends = ("FAULT-BLOCKED", "FAULT-GIVEN-UP")

    def is_over():
        nonlocal count, found
        for _ in range(10):
            owner.do("store", bdf, HOLE, 4)
        count += 10
        found = [f for f in listed(iovd, since) if f["source"] == "iovd"]
        return found and found[-1]["code"] in ends

    wait_for(is_over, f"the storm of {bdf} to be ended", 120)
    return found, count


def check_storm(iovd, owner, bdf, attachment, end="FAULT-BLOCKED"):
    """A flood ends in a device that is blocked and reset; how many DMAs that took."""
    since = latest(iovd)
    found, count = storm(iovd, owner, bdf, since)
    expect_equal([f["code"] for f in found], ["FAULT-STORM", end], "what was done")
    expect_equal({f["device"] for f in found}, {bdf}, "to whom")
    expect(not bus_master(bdf), "it was blocked, and is a bus master")
    expect_equal(shown(iovd, attachment)["state"], "active", "state of the attachment")
    # The kernel told of few: of the others it is said that nobody saw them.
    told = sum(f["count"] for f in listed(iovd, since) if f["source"] == IOMMU)
    suppressed = iovd.ask("ListFaults")["log"]["suppressed"]
    expect(told < count and suppressed, f"{count} DMAs, {told} faults told, {suppressed} suppressed")
    return count


def check_blocked(owner, bdf, buffer):
    """Its DMA reaches nothing."""
    owner.fill(0, "-")
    owner.do("store", bdf, buffer, 4)
    expect_equal(owner.differ(0, "-"), 0, "bytes written by a blocked device")


def check_back(owner, bdf, buffer):
    """Its driver begins anew, and it works."""
    owner.do("master", bdf, "on")
    owner.fill(0, "back")  # whoever had it before may have left anything in its own buffer
    owner.do("fetch", bdf, buffer, 4)
    owner.fill(0, "-")
    owner.do("store", bdf, buffer, 4)
    expect_equal(owner.peek(0, 0, 4), "back", "what the device that is back wrote")
