# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 180
"""A group that goes past the IOMMU translates for as long as its device is attached, or the attach is
refused: where the kernel does not let it be switched, nothing has changed."""
import inside
from inside import Iovd, PCI, device, driver_of, expect, expect_equal, read
from owner import Owner, give_back, take
from vmms import attach


def group_type(bdf):
    return read(PCI / bdf / "iommu_group" / "type")


def check_refused(iovd, bdf):
    """Somebody keeps a descriptor of the device, so that the kernel keeps its group as it is; nothing
    in /proc tells who, so that it is the kernel that refuses."""
    with Owner("keeper of a descriptor") as keeper:
        keeper.open(bdf)
        keeper.do("hold", bdf)
        answer = iovd.refused("GRP-IDENTITY", "attach", bdf, "vm1")
        expect_equal(answer.status, 5, f"exit status: {answer.text}")
        expect(f"write DMA to /sys/kernel/iommu_groups/{inside.group_of(bdf)}/type: " in answer.text,
               f"no evidence: {answer.text}")
    print(answer.text)
    expect_equal(iovd.ok("list", "attachments")["attachments"], [], "attachments, after a refusal")
    expect_equal((group_type(bdf), driver_of(bdf)), ("identity", "vfio-pci"), "type and driver")


def check_switched(iovd, bdf):
    name = attach(iovd, bdf, "vm1")["id"]
    expect(group_type(bdf).startswith("DMA"), f"type while it is attached: {group_type(bdf)}")
    iovd.ok("detach", name)
    expect_equal((group_type(bdf), driver_of(bdf)), ("identity", "vfio-pci"), "type and driver")


def test(scratch):
    bdf = device("edu_a")
    inside.probe(bdf)
    before = group_type(bdf)
    with Iovd(scratch) as iovd:
        iovd.ok("group", bdf, "--type", "identity")
        take(bdf)
        check_refused(iovd, bdf)
        check_switched(iovd, bdf)
        give_back(bdf)
        if before != "identity":
            iovd.ok("group", bdf, "--type", "translate")
    expect_equal(group_type(bdf), before, "type in the end")
    return "refused while the kernel refuses, switched there and back else"


inside.main(test)
