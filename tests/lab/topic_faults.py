# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 600
# needs: asking
"""DMA where nothing is mapped: what iovd lists of it, at once, is what QEMU's own trace says. A device that
does so without end is blocked and reset."""
import inside
from faulting import HOLE, check_back, check_blocked, check_storm, provoke
from inside import IOMMU, PAGE, Iovd, Monitor, config, device, expect, expect_equal, wait_for
from owner import Owner
from vmms import attached, wait_state

SECONDS_TO_TELL = 10  # ten times what is promised: the lab's processors are emulated, and shared

# QEMU's trace event of a fault: its name, requester and address in its line as far as it has them, and the
# base of the requester.
TRACES = {
    "vtd": ("vtd_dmar_fault", r"vtd_dmar_fault sid 0x(\w+) fault \d+ addr 0x(\w+)", 16),
    "amdvi": ("amdvi_page_fault", r"amdvi_page_fault .*?0x(\w+)()", 16),
    "virtio": (
        "virtio_iommu_report_fault",
        r"virtio_iommu_report_fault .*?endpoint=(\d+) address ?=0x(\w+)",
        10,
    ),
    "smmuv3": ("smmuv3_record_event", r"smmuv3_record_event \w*F_TRANSLATION sid=0x(\w+)()", 16),
}


def requester(bdf):
    bus, slot, function = (int(word, 16) for word in bdf[5:].replace(".", ":").split(":"))
    return bus << 8 | slot << 3 | function


def check_trace(monitor, bdf, iova):
    """QEMU says the same of it, as far as its line goes; that line."""
    name, pattern, base = TRACES[IOMMU]
    traced = wait_for(lambda: monitor.traced(pattern), f"a trace of {name}")
    seen = {(int(who, base), int(where or "0", 16)) for who, where in traced}
    # Of two the line has one number only: who, or where.
    wanted = {"smmuv3": (requester(bdf), 0), "amdvi": (iova, 0)}.get(IOMMU, (requester(bdf), iova))
    expect(wanted in seen, f"QEMU traced {traced[-3:]}, wanted {wanted}")
    return f"{name} {' '.join(traced[-1])}"


def check_fault(fault, bdf, attachment, iova, kind):
    wanted = {"device": bdf, "vm": "vm1", "attachment": attachment, "code": "FAULT-UNMAPPED",
              "iova": hex(iova), "class": kind}
    if IOMMU == "amdvi":  # QEMU's record has neither bus nor address
        wanted = {"source": "amdvi"}
    if IOMMU in ("vtd", "smmuv3"):
        wanted["access"] = "write"
    expect_equal({key: fault[key] for key in wanted}, wanted, "the fault")
    expect(fault["raw"] or IOMMU == "amdvi", "no raw words")


def bar(role):
    """An address of a device's registers, which nobody may reach by DMA."""
    return config(device(role), 0x10, 4) & ~0xF


def check_classes(iovd, owner, bdf, attachment):
    """Addresses that are something, and not the machine's memory."""
    where = {"bar": bar("edu_b")}
    if IOMMU == "smmuv3":  # on x86 it is where interrupts go, and no memory for the IOMMU either
        where["reserved"] = 0x8000000
    for kind, iova in where.items():
        check_fault(provoke(iovd, owner, bdf, iova)[0], bdf, attachment, iova, kind)
    return ", ".join(where)


def check_reported(iovd, monitor, bdf):
    """One DMA is reported, at once, as what it is; QEMU says the same."""
    with attached(iovd, bdf, "vm1") as attachment:
        with Owner("vmm") as vmm:
            vmm.open_master(bdf)
            wait_state(iovd, attachment, "active")
            fault, took = provoke(iovd, vmm, bdf, HOLE)
            expect(took < SECONDS_TO_TELL, f"listed after {took:.1f} s")
            check_fault(fault, bdf, attachment, HOLE, "unmapped")
            traced = check_trace(monitor, bdf, HOLE)
            classes = check_classes(iovd, vmm, bdf, attachment) if IOMMU != "amdvi" else "none"
        wait_state(iovd, attachment, "ready", 60)
        facts = iovd.ok("show", bdf)["device"]["facts"]
        expect("faults" in facts or IOMMU == "amdvi", "show does not mention its faults")
    return f"{fault['source']} {fault['device']} {fault['iova']} {fault['class']}: listed after " \
           f"{took * 1000:.0f} ms; QEMU: {traced}; told from it: {classes}"


def check_block(iovd, bdf):
    with attached(iovd, bdf, "vm1", "--on-fault", "block") as attachment:
        with Owner("vmm") as vmm:
            vmm.open_master(bdf)
            wait_state(iovd, attachment, "active")
            buffer = vmm.buffer(0, PAGE)
            count = check_storm(iovd, vmm, bdf, attachment)
            check_blocked(vmm, bdf, buffer)
            check_back(vmm, bdf, buffer)
        wait_state(iovd, attachment, "ready", 60)
    return count


def test(scratch):
    bdf = device("edu_a")
    with Iovd(scratch) as iovd, Monitor() as monitor:
        monitor.trace(TRACES[IOMMU][0])
        told = check_reported(iovd, monitor, bdf)
        count = check_block(iovd, bdf) if IOMMU != "amdvi" else "none"
    return f"{told}; DMAs until it was blocked: {count}"


inside.main(test)
