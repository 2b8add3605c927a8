# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 600
"""kill -9 of a VMM whose device writes in a loop: no page outside changes, and it is usable anew."""
import time

import inside
from inside import Iovd, MemoryCanary, bus_master, device, expect, expect_equal, group_of, read
from vmms import Events, SmallVmm, attach, shown, wait_state

ROUNDS = 6
VMM_MIB, CANARY_MIB = 64, 256
SECONDS_TO_READY = 30  # ten times what is promised: the lab's processors are emulated, and shared


def group_type(bdf):
    """None: virtio-iommu and SMMUv3 give a device its group when a driver has probed it."""
    return read(f"/sys/kernel/iommu_groups/{group_of(bdf)}/type")


def kill_one(iovd, events, bdf, name, canary):
    """One VMM, killed while its device writes; how long until the device was ready again."""
    with SmallVmm(bdf, VMM_MIB) as vmm:
        events.wait(name, "active")
        expect_equal(shown(iovd, name)["vmm_pid"], vmm.pid, "the VMM's process")
        expect(bus_master(bdf), "it writes, and is no bus master")
        begin = time.time()
        vmm.kill()
    # The memory that the VMM had is free again about now: whoever gets it must keep it.
    heirs = MemoryCanary(VMM_MIB)
    took = events.wait(name, "ready") - begin
    expect(not bus_master(bdf), "the VMM is dead, and its device still a bus master")
    canary.check()
    heirs.check("memory that may have been the VMM's")
    return took


def check_daemon_away(iovd, bdf, name):
    """A VMM is found again by the next daemon; one that ended meanwhile is as good as seen to."""
    with SmallVmm(bdf, 1) as vmm:
        before = wait_state(iovd, name, "active")
        iovd.wait_restart(iovd.kill())
        adopted = wait_state(iovd, name, "active")
        expect_equal(adopted, before, "the attachment, to the next daemon")
        expect_equal(adopted["vmm_pid"], vmm.pid, "the VMM's process")
        iovd.refused("BUSY", "detach", name)
        iovd.stop()
        vmm.kill()
        iovd.start()
        wait_state(iovd, name, "ready")
    expect(not bus_master(bdf), "the VMM is dead, and its device still a bus master")


def test(scratch):
    bdf = device("edu_a")
    type_before = group_type(bdf)
    canary = MemoryCanary(CANARY_MIB)
    with Iovd(scratch) as iovd:
        name = attach(iovd, bdf, "vm1")["id"]
        expect(group_type(bdf).startswith("DMA"), f"type in the gap: {group_type(bdf)}")
        with Events(iovd) as events:
            took = [kill_one(iovd, events, bdf, name, canary) for _ in range(ROUNDS)]
        print("ready again after", *(f"{seconds:.2f} s" for seconds in took))
        expect(max(took) < SECONDS_TO_READY, f"not ready within {SECONDS_TO_READY} s: {took}")
        check_daemon_away(iovd, bdf, name)
        with SmallVmm(bdf, 1) as vmm:
            wait_state(iovd, name, "active")
            vmm.kill()
        iovd.ok("detach", name)  # though it is being renewed just now
    if type_before:
        expect_equal(group_type(bdf), type_before, "type of the group, afterwards")
    canary.check()
    if "pt" in inside.VARIANTS:
        expect_equal(type_before, "identity", "type of the group under iommu=pt")
    middle = sorted(took)[ROUNDS // 2]
    return f"{ROUNDS} kills, group type {type_before}, ready after {middle:.2f} s, {max(took):.2f} s at most"


inside.main(test)
