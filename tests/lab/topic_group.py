# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 180
"""IOMMU groups: why they are as they are, by which IDs the IOMMU knows them, and their types, each
seen in what a device's DMA does."""
import pathlib

import inside
from inside import (
    IOMMU,
    Edu,
    Iovd,
    MemoryCanary,
    PCI,
    bus_master,
    device,
    devices,
    disk,
    driver_of,
    expect,
    expect_equal,
    group_members,
    group_of,
    modprobe,
    read,
    wait_for,
    write,
)

GROUPS = pathlib.Path("/sys/kernel/iommu_groups")
CONTEXTS = {"DMA": "translate", "DMA-FQ": "translate", "identity": "bypass"}


def requester(bdf):
    _, bus, rest = bdf.split(":")
    slot, function = rest.split(".")
    return int(bus, 16) << 8 | int(slot, 16) << 3 | int(function)


def reasons(group):
    return {(reason["kind"], reason["device"]): reason["what"] for reason in group["why"]}


def probe(bdf):
    """Gives it to a driver for a moment: only then do some IOMMUs' drivers make it a group."""
    write(PCI / bdf / "driver_override", "vfio-pci")
    try:
        write("/sys/bus/pci/drivers_probe", bdf)
    except OSError as error:
        print(f"{bdf}: vfio-pci: {error.strerror}")
    if driver_of(bdf):
        write(PCI / bdf / "driver" / "unbind", bdf)
    write(PCI / bdf / "driver_override", "\n")


def check_no_group(iovd):
    """Devices that no driver has probed may have no group, and iovd says so."""
    modprobe("vfio-pci")
    without = [bdf for role in ("edu_a", "edu_b", "noacs", "pair", "functions")
               for bdf in devices(role) if group_of(bdf) is None]
    for bdf in without:
        answer = iovd.refused("GRP-NONE", "group", bdf)
        expect("only when a driver probes it" in answer.text, f"{bdf}: {answer.text}")
        (why,) = iovd.ok("show", bdf)["device"]["facts"]["why"]
        expect_equal(why["kind"], "no_group", f"why {bdf} has no group")
        probe(bdf)
    return f"{len(without)} had no group before a driver"


def check_list(iovd):
    """What is listed is what the kernel has."""
    groups = {group["id"]: group for group in iovd.ok("list", "groups")["groups"]}
    expect_equal(sorted(groups), sorted(int(path.name) for path in GROUPS.iterdir()), "groups")
    for number, group in groups.items():
        folder = GROUPS / str(number)
        expect_equal(group["type"], read(folder / "type"), f"type of {number}")
        expect_equal(group["devices"], sorted(p.name for p in (folder / "devices").iterdir()),
                     f"members of {number}")
        regions = [[f"{int(start, 16):#x}", f"{int(end, 16):#x}", kind] for start, end, kind in
                   (line.split() for line in (read(folder / "reserved_regions") or "").splitlines())]
        expect_equal([[r["start"], r["end"], r["type"]] for r in group["reserved_regions"]], regions,
                     f"regions of {number}")
        expect(any("msi" in r["type"] for r in group["reserved_regions"]), f"no MSI region: {group}")
    return len(groups)


def check_why(iovd):
    """The configuration spaces explain the groups that the kernel made."""
    alone = iovd.ok("group", device("edu_a"))["group"]
    expect_equal(list(reasons(alone)), [("alone", device("edu_a"))], "why edu is alone")
    functions = devices("functions")
    why = reasons(iovd.ok("group", functions[1])["group"])
    expect(functions[1] in why.get(("functions", functions[0]), ""), f"functions: {why}")
    why = reasons(iovd.ok("group", device("noacs"))["group"])
    above = (PCI / device("noacs")).resolve().parent.name
    said = why.get(("no_acs", above), "")
    expect(" port without ACS (no Source Validation" in said, f"noacs: {why}")
    expect(f"it and {device('noacs')} cannot be told apart" in said, f"noacs: {why}")


def check_pair(iovd):
    """Two behind a bridge: one group, named with the bridge, and one requester ID."""
    first, second = devices("pair")
    bridge = pathlib.Path(PCI / first).resolve().parent.name
    streams = {}
    for bdf in first, second:
        shown = iovd.ok("show", bdf)["device"]["facts"]
        own, alias = shown["streams"]
        expect_equal(int(own["requester_id"], 16), requester(bdf), f"requester ID of {bdf}")
        expect_equal(alias["via"], bridge, f"alias of {bdf}")
        expect_equal(int(alias["requester_id"], 16), requester(bdf) & 0xff00, f"alias of {bdf}")
        streams[bdf] = alias["requester_id"]
    expect_equal(streams[first], streams[second], "the ID that both have")
    if group_of(second) is None:  # one StreamID has no room for two devices
        answer = iovd.refused("GRP-NONE", "group", second)
        return f"{second} without a group ({answer.status})"
    why = reasons(iovd.ok("group", second)["group"])
    said = why.get(("bridge", bridge), "")
    expect(first in said and second in said and "cannot be told apart" in said, f"pair: {why}")
    expect(set(group_members(first)) >= {bridge, first, second}, "the group of the pair")
    return f"{bridge} keeps {first} and {second} together"


def check_streams(iovd):
    (stream,) = iovd.ok("group", device("edu_b"))["group"]["streams"]
    expect_equal(int(stream["requester_id"], 16), requester(device("edu_b")), "requester ID")
    if IOMMU == "smmuv3":  # QEMU gives each requester ID to the SMMU as it is
        expect_equal(stream["stream_id"], f"{requester(device('edu_b')):#x}", "StreamID")
        expect(stream["evidence"] in ("IORT", "iommu-map"), f"StreamID: {stream}")
    else:
        expect_equal(stream["stream_id"], None, "StreamID")
    return stream


def dma_arrives(edu):
    """Whether a DMA to the physical address of memory of this host changes it."""
    canary = MemoryCanary(16)
    edu.store(canary.physical(8 << 20), 16)
    changed = canary.changed()
    expect(changed in ([], [8 << 20]), f"a DMA changed {changed}")
    return bool(changed)


def set_type(iovd, bdf, kind):
    answer = iovd.ok("group", bdf, "--type", kind)
    now = read(PCI / bdf / "iommu_group" / "type")
    expect_equal(answer["group"]["type"], now, f"type of the group of {bdf}")
    expect_equal(answer["group"]["streams"][0]["context"], CONTEXTS[now], f"context of {bdf}")
    listed = {g["id"]: g["type"] for g in iovd.ok("list", "groups")["groups"]}
    expect_equal(listed[group_of(bdf)], now, "type in the list")
    return now, answer["already"]


def check_types(iovd):
    """A group without drivers: past the IOMMU and back, and what that means for DMA."""
    bdf = device("edu_a")
    before = read(PCI / bdf / "iommu_group" / "type")
    edu = Edu(bdf)
    expect(edu.alive(), "edu does not answer")
    bus_master(bdf, True)
    if CONTEXTS[before] == "translate":
        expect(not dma_arrives(edu), "a DMA to what is not mapped arrives")
    expect_equal(set_type(iovd, bdf, "identity"), ("identity", before == "identity"), "identity")
    expect(dma_arrives(edu), "under identity no DMA arrives")
    now, already = set_type(iovd, bdf, "translate")
    expect(CONTEXTS[now] == "translate" and not already, f"translate: {now}")
    if before != "identity":
        expect_equal(now, before, "translate is what it was")
    expect(not dma_arrives(edu), "back to translate, a DMA still arrives")
    expect_equal(set_type(iovd, bdf, "translate"), (now, True), "translate again")
    set_type(iovd, bdf, "identity" if before == "identity" else "translate")
    bus_master(bdf, False)
    answer = iovd.refused("GRP-TYPE", "group", bdf, "--type", "blocked")
    expect("nothing mapped" in answer.text, f"blocked: {answer.text}")
    return f"{before}, identity, {now}"


def check_refused(iovd):
    """Groups whose members work for the host stay as they are."""
    for role, code in ("root", "HOST-USE"), ("uplink", "HOST-USE"), ("nvme", "GRP-VIABLE"):
        bdf = device(role)
        before = read(PCI / bdf / "iommu_group" / "type")
        kind = "translate" if before == "identity" else "identity"
        answer = iovd.refused(code, "group", bdf, "--type", kind)
        expect_equal(answer.status, 4, f"{role}: {answer.text}")
        expect_equal(read(PCI / bdf / "iommu_group" / "type"), before, f"type of {role}")
    expect_equal(iovd.ok("group", disk(device("nvme")))["group"]["id"], group_of(device("nvme")),
                 "the group of a disk")


def check_viable(iovd):
    """A driver that goes and comes is seen in the list, which is not read anew each time."""
    bdf = device("nvme")

    def viable():
        groups = {g["id"]: g for g in iovd.ok("list", "groups")["groups"]}
        return groups[group_of(bdf)]["viable"]
    expect(not viable(), "nvme is not in the host's hands")
    write(PCI / bdf / "driver" / "unbind", bdf)
    wait_for(viable, "the group to be viable")
    write("/sys/bus/pci/drivers_probe", bdf)
    wait_for(lambda: not viable(), "the group to be in the host's hands again")
    expect_equal(driver_of(bdf), "nvme", "driver of nvme")


def test(scratch):
    with Iovd(scratch) as iovd:
        before = check_no_group(iovd)
        count = check_list(iovd)
        check_why(iovd)
        pair = check_pair(iovd)
        check_streams(iovd)
        check_refused(iovd)
        types = check_types(iovd)
        check_viable(iovd)
    return f"{before}; {count} groups; {pair}; {types}"


inside.main(test)
