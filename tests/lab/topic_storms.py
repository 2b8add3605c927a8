# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd virtio smmuv3
# timeout: 600
# needs: asking
"""A device that faults without end is reset, and again, and given up: whatever its machine or iovd do
then, it stays blocked, until its machine has ended."""
import inside
from faulting import check_back, check_blocked, check_storm, listed
from inside import PAGE, Iovd, bus_master, device, expect, expect_equal, wait_for
from owner import Owner
from vmms import attached, shown, wait_state


def check_given_up(iovd, vmm, bdf, attachment):
    expect_equal(iovd.ok("show", bdf)["device"]["state"], "quarantined", "state of the device")
    expect("given up" in shown(iovd, attachment)["pending_action"], "what is to be done")
    vmm.do("master", bdf, "on")
    wait_for(lambda: not bus_master(bdf), "what was given up to be blocked again", 60)
    iovd.stop()
    vmm.do("master", bdf, "on")
    iovd.start()
    wait_for(lambda: not bus_master(bdf), "the next daemon to block it again", 60)


def test(scratch):
    bdf, counts = device("edu_a"), []
    with Iovd(scratch) as iovd, attached(iovd, bdf, "vm1", "--on-fault", "block") as attachment:
        with Owner("vmm") as vmm:
            vmm.open_master(bdf)
            wait_state(iovd, attachment, "active")
            buffer = vmm.buffer(0, PAGE)
            for end in ("FAULT-BLOCKED", "FAULT-BLOCKED", "FAULT-GIVEN-UP"):
                counts.append(check_storm(iovd, vmm, bdf, attachment, end))
                check_blocked(vmm, bdf, buffer)
                if end == "FAULT-BLOCKED":
                    check_back(vmm, bdf, buffer)
            check_given_up(iovd, vmm, bdf, attachment)
        wait_state(iovd, attachment, "ready", 60)
        state = iovd.ok("show", bdf)["device"]["state"]
        expect_equal(state, "attached", "state of the device, as new")
        expect_equal(listed(iovd, 0)[-1]["code"], "FAULT-OVER", "what is listed last")
    return f"DMAs until it was blocked: {counts}"


inside.main(test)
