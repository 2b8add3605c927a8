# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 600
# needs: asking
"""DMA where nothing is mapped: what iovd lists of it, at once, is what QEMU's own trace says."""
import datetime
import time

import inside
from inside import IOMMU, Iovd, Monitor, bus_master, device, expect, expect_equal, wait_for
from owner import Owner
from vmms import attach, shown, wait_state

HOLE = 0x2000000
SECONDS_TO_TELL = 10  # ten times what is promised: the lab's processors are emulated, and shared

# QEMU's trace event of a fault: its name, requester and address in its line as far as it has them, and the
# base of the requester.
TRACES = {
    "vtd": ("vtd_dmar_fault", r"vtd_dmar_fault sid 0x(\w+) fault \d+ addr 0x(\w+)", 16),
    "amdvi": ("amdvi_page_fault", r"amdvi_page_fault .*?0x(\w+)()", 16),
    "virtio": (
        "virtio_iommu_report_fault",
        r"virtio_iommu_report_fault .*?endpoint=(\d+) address=0x(\w+)",
        10,
    ),
    "smmuv3": ("smmuv3_record_event", r"smmuv3_record_event F_TRANSLATION sid=0x(\w+)()", 16),
}


def requester(bdf):
    bus, slot, function = (int(word, 16) for word in bdf[5:].replace(".", ":").split(":"))
    return bus << 8 | slot << 3 | function


def seconds(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def listed(iovd, since):
    return iovd.ask("ListFaults", since=since)["faults"]


def provoke(iovd, owner, bdf, iova, since):
    """DMA of 4 bytes until a fault is listed: of many that come fast the kernel says few. The fault, and
    how long after the first one it was noted."""
    begin = time.time()

    def seen():
        owner.do("store", bdf, iova, 4)
        return [f for f in listed(iovd, since) if f["source"] == IOMMU]

    fault = wait_for(seen, f"a fault of {bdf} at {iova:#x} to be listed", 60)[-1]
    return fault, seconds(fault["time"]) - begin


def check_trace(monitor, bdf, iova):
    """QEMU says the same of it, as far as its line goes; that line."""
    name, pattern, base = TRACES[IOMMU]
    traced = wait_for(lambda: monitor.traced(pattern), f"a trace of {name}")
    seen = {(int(who, base), int(where or "0", 16)) for who, where in traced}
    wanted = (requester(bdf), 0 if IOMMU == "smmuv3" else iova)
    expect(IOMMU == "amdvi" or wanted in seen, f"QEMU traced {traced[-3:]}, wanted {wanted}")
    return f"{name} {' '.join(traced[-1])}"


def check_fault(fault, bdf, attachment, iova):
    wanted = {"device": bdf, "vm": "vm1", "attachment": attachment, "code": "FAULT-UNMAPPED",
              "iova": hex(iova), "class": "unmapped"}
    if IOMMU == "amdvi":  # QEMU's record has neither bus nor address
        wanted = {"source": "amdvi"}
    if IOMMU in ("vtd", "smmuv3"):
        wanted["access"] = "write"
    expect_equal({key: fault[key] for key in wanted}, wanted, "the fault")
    expect(fault["raw"] or IOMMU == "amdvi", "no raw words")


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


def check_storms(iovd, owner, bdf, attachment):
    """Twice it is reset and comes back; the third time it is given up."""
    buffer = owner.buffer(0, inside.PAGE)
    counts = []
    for end in ("FAULT-BLOCKED", "FAULT-BLOCKED", "FAULT-GIVEN-UP"):
        since = listed(iovd, 0)[-1]["seq"]
        found, count = storm(iovd, owner, bdf, since)
        counts.append(count)
        expect_equal([f["code"] for f in found], ["FAULT-STORM", end], "what was done")
        expect_equal({f["device"] for f in found}, {bdf}, "to whom")
        expect(not bus_master(bdf), "it was blocked, and is a bus master")
        expect_equal(shown(iovd, attachment)["state"], "active", "state of the attachment")
        owner.fill(0, "-")
        owner.do("store", bdf, buffer, 4)
        expect_equal(owner.differ(0, "-"), 0, "bytes written by a blocked device")
        owner.do("master", bdf, "on")  # as its driver would begin anew
        owner.do("store", bdf, buffer, 4)
        expect_equal(owner.differ(0, "-"), 4, "bytes written by the device that is back")
    state = iovd.ok("show", bdf)["device"]["state"]
    expect_equal(state, "quarantined", "state of the device")
    expect("given up" in shown(iovd, attachment)["pending_action"], "what is to be done")
    return counts


def check_block(iovd, bdf):
    """A flood ends in a blocked, reset device; its machine's end makes it as new."""
    attachment = attach(iovd, bdf, "vm1", "--on-fault", "block")["id"]
    with Owner("vmm") as vmm:
        vmm.open_master(bdf)
        wait_state(iovd, attachment, "active")
        counts = check_storms(iovd, vmm, bdf, attachment)
        # What is given up stays blocked: a fault shows that it is on again.
        vmm.do("store", bdf, HOLE, 4)

        def is_off():
            vmm.do("store", bdf, HOLE, 4)
            return not bus_master(bdf)

        wait_for(is_off, "the device that was given up to be blocked again", 60)
    wait_state(iovd, attachment, "ready")
    expect_equal(iovd.ok("show", bdf)["device"]["state"], "attached", "state of the device, as new")
    iovd.ok("detach", attachment)
    return counts


def test(scratch):
    bdf = device("edu_a")
    with Iovd(scratch) as iovd, Monitor() as monitor:
        monitor.trace(TRACES[IOMMU][0])
        attachment = attach(iovd, bdf, "vm1")["id"]
        since = max((f["seq"] for f in listed(iovd, 0)), default=0)
        with Owner("vmm") as vmm:
            vmm.open_master(bdf)
            wait_state(iovd, attachment, "active")
            fault, took = provoke(iovd, vmm, bdf, HOLE, since)
            check_fault(fault, bdf, attachment, HOLE)
            traced = check_trace(monitor, bdf, HOLE)
        wait_state(iovd, attachment, "ready")
        facts = iovd.ok("show", bdf)["device"]["facts"]
        expect("faults" in facts or IOMMU == "amdvi", "show does not mention its faults")
        iovd.ok("detach", attachment)
        counts = check_block(iovd, bdf) if IOMMU != "amdvi" else "none"
    expect(took < SECONDS_TO_TELL, f"noted after {took:.1f} s")
    return (
        f"{fault['source']} {fault['device']} {fault['iova']} {fault['class']}: noted after "
        f"{took * 1000:.0f} ms; QEMU: {traced}; DMAs until blocked: {counts}"
    )


inside.main(test)
