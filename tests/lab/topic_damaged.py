# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 600
"""A damaged store forgets who has what: such a device is nobody's until somebody says so."""
import pathlib

import inside
from inside import Iovd, device, driver_of, expect, expect_equal
from vmms import SmallVmm, attach, wait_state

CODE = "DEV-UNKNOWN"
ALLOW = ("--allow", CODE)


def state_of(iovd, *bdfs):
    states = {d["id"]: d["state"] for d in iovd.ok("list", "devices")["devices"]}
    return {states[bdf] for bdf in bdfs}


def damage(scratch, iovd):
    """As a failing disk does it, while no daemon is there; the VMM goes on."""
    iovd.stop()
    with open(scratch / "state/iovd.db", "r+b") as store:
        store.write(b"\xa5" * 4096)
    iovd.start()
    expect(".damaged-" in iovd.log(), "the damage is not seen")


def check_unknown(iovd, used, idle, vmm):
    """In no state in which somebody could take it for free, and the reason with its evidence."""
    expect_equal(state_of(iovd, used, *idle), {"unknown"}, "states")
    for words in (("attach", used, "vm1"), ("attach", idle[0], "vm2", "--dry-run"),
                  ("attach", idle[1], "vm2"), ("bind", idle[0], "vfio")):
        answer = iovd.refused(CODE, *words)
        expect(".damaged-" in answer.text, f"the damaged store is not named: {answer.text}")
        who = f"(pid {vmm.pid})" if words[1] == used else "nobody has it open"
        expect(who in answer.text, f"'{who}' is not said: {answer.text}")
    expect_equal({driver_of(bdf) for bdf in (used, *idle)}, {"vfio-pci"}, "drivers")
    for words in (("release", used), ("attach", used, "vm1", *ALLOW)):
        answer = iovd.refused("HOST-USE", *words)
        expect(f"(pid {vmm.pid})" in answer.text, f"who has it open is not said: {answer.text}")


def check_release(iovd, bdf, driver):
    """One way out: it is the host's again, as the kernel would have it."""
    plan = iovd.ok("release", bdf, "--dry-run")["plan"]
    expect_equal(state_of(iovd, bdf), {"unknown"}, f"state after {plan}")
    iovd.ok("release", bdf)
    expect_equal((driver_of(bdf), state_of(iovd, bdf)), (driver, {"free"}), f"{bdf}, released")
    expect_equal(inside.read(inside.PCI / bdf / "driver_override"), "(null)", "override")


def check_attach(iovd, bdf):
    """The other: a machine's, by an attachment that says so. What that gives back is unknown again."""
    name = attach(iovd, bdf, "vm1", *ALLOW)["id"]
    with SmallVmm(bdf, 1):
        wait_state(iovd, name, "active")
        expect_equal(state_of(iovd, bdf), {"attached"}, "state while it is attached")
    wait_state(iovd, name, "ready")
    iovd.ok("detach", name)
    expect_equal(state_of(iovd, bdf), {"unknown"}, "state after the detach")


def test(scratch):
    used, bound, igb = device("edu_a"), device("edu_b"), device("igb")
    with Iovd(scratch) as iovd:
        name = attach(iovd, used, "vm1")["id"]
        iovd.ok("bind", bound, "vfio")
        iovd.ok("bind", igb, "vfio")
        with SmallVmm(used, 1) as vmm:
            wait_state(iovd, name, "active")
            damage(scratch, iovd)
            for start in ("first", "second"):
                print(start, "start since")
                check_unknown(iovd, used, (bound, igb), vmm)
                iovd.stop()
                iovd.start()
            expect(pathlib.Path(f"/proc/{vmm.pid}").exists(), "the VMM has ended")
        check_release(iovd, bound, None)
        check_release(iovd, igb, "igb")
        iovd.ok("detach", attach(iovd, bound, "vm2")["id"])
        check_attach(iovd, used)
        check_release(iovd, used, None)
        iovd.stop()
        iovd.start()
        expect_equal(state_of(iovd, used, bound, igb), {"free"}, "states after another start")
    return "unknown after the damage; released, and attached anew"


inside.main(test)
