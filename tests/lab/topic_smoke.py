# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 120
"""The lab host is what topics take it for; and iovd runs in it."""
import pathlib

import inside
from inside import (
    Edu,
    Iovd,
    KernelLog,
    MemoryCanary,
    bind,
    bus_master,
    device,
    devices,
    disk,
    driver_of,
    expect,
    expect_equal,
    group_members,
    group_of,
    netdev,
    unbind,
)

ALONE = ("nvme", "igb", "root", "uplink", "edu_a", "edu_b", "edu28")
TOGETHER = sorted({"functions", inside.UNSPLIT})
EDUS = ("edu_a", "edu_b", "edu28", "noacs", *TOGETHER)


def check_devices():
    for role, driver in (("nvme", "nvme"), ("root", "nvme"), ("igb", "igb"), ("uplink", "igb")):
        expect_equal(driver_of(device(role)), driver, f"driver of {role}")
    disk(device("nvme"))


def check_groups():
    """A device may have no group until a driver has probed it."""
    edus = [bdf for role in EDUS for bdf in devices(role)]
    for bdf in edus:
        bind(bdf, "vfio-pci")
    for role in (*ALONE, *TOGETHER, "noacs"):
        print(role, *(f"{bdf} group {group_of(bdf)}" for bdf in devices(role)))
    for role in ALONE:
        expect_equal(group_members(device(role)), [device(role)], f"group of {role}")
    for role in TOGETHER:
        first, second = devices(role)
        expect_equal(group_of(first), group_of(second), f"groups of {role}")
    expect(len(group_members(device("noacs"))) > 1, "noacs is isolated")
    for bdf in edus:
        unbind(bdf)


def check_standing():
    route = pathlib.Path("/proc/net/route").read_text().splitlines()[1].split()
    expect_equal(route[:2], [netdev(device("uplink")), "00000000"], "default route")
    mounts = pathlib.Path("/proc/self/mountinfo").read_text()
    expect(f" {disk(device('root'))} " in mounts, f"no disk beneath /:\n{mounts}")


def check_canary():
    """The canary must see what it is there to see."""
    bind(device("edu_b"), "vfio-pci")
    edu, canary = Edu(device("edu_b")), MemoryCanary(64)
    expect(edu.alive(), "edu does not answer")
    canary.check()
    log = KernelLog()
    bus_master(edu.bdf, True)
    edu.store(canary.physical(8 << 20), 16)
    bus_master(edu.bdf, False)
    unbind(edu.bdf)
    # Nothing is mapped: in a translating domain it must fault, in an identity domain arrive.
    if "pt" in inside.VARIANTS:
        expect_equal(canary.changed(), [8 << 20], "changed pages")
    else:
        canary.check()
        print(log.wait_fault(edu.bdf, canary.physical(8 << 20)))


def test(scratch):
    check_devices()
    check_groups()
    check_standing()
    check_canary()
    with Iovd(scratch) as iovd:
        listed = {d["id"]: d for d in iovd.ok("list", "devices")["devices"]}
        expect(device("edu_a") in listed, "iovd does not list edu_a")
        for role in ("root", "uplink"):
            expect(listed[device(role)]["in_use_by"], f"{role} is not in use, says iovd")


inside.main(test)
