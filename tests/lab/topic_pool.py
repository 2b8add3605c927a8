# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# timeout: 300
"""Virtual functions by rule: set before they are given, as they were afterwards, with their link."""
import contextlib
import os

import inside
from inside import Iovd, device, driver_of, expect, expect_equal, group_of, netdev, vfs

from lib import proc
from vmms import shown, wait_state

MAC, OTHER = "52:54:00:aa:bb:01", "52:54:00:99:99:99"
SET = f"mac={MAC},vlan=10,qos=2,spoofchk=off,trust=on"
PRODUCT = "vf:product=8086:10ca"


def ip(*words):
    return proc.run(["ip", *words]).stdout


def state_of(interface, index):
    """What the kernel shows of a VF."""
    lines = ip("-d", "link", "show", interface).splitlines()
    return next(" ".join(line.split()) for line in lines if line.strip().startswith(f"vf {index} "))


def given(iovd, rule, *words):
    return iovd.ok("attach", rule, "vm1", *words)["attachment"]


def check_choice(iovd, igb):
    interface = netdev(igb)
    before = state_of(interface, 0)
    iovd.ok("vf", "set", vfs(igb)[2], "vlan=30")
    iovd.refused("VF-POOL", "attach", f"vf:{interface},vlan=31", "vm1")
    by_vlan = given(iovd, f"vf:{interface},vlan=30")
    expect_equal(by_vlan["device"], vfs(igb)[2], "the VF of the VLAN")
    lan = given(iovd, PRODUCT, "--as", "lan", "--set", SET)
    expect_equal(lan["device"], vfs(igb)[0], "the first of the product")
    expect_equal(lan["vf"]["pool"], PRODUCT, "its rule")
    again = iovd.ok("attach", PRODUCT, "vm1", "--as", "lan", "--set", SET)
    expect(again["already"] and again["attachment"]["id"] == lan["id"], f"not the same: {again}")
    iovd.refused("DEV-TAKEN", "attach", PRODUCT, "vm1", "--as", "lan", "--set", "vlan=11")
    last = given(iovd, f"vf:{igb},{PRODUCT[3:]}")
    answer = iovd.refused("VF-POOL", "attach", f"vf:{igb}", "vm1")
    expect("3 are attached" in answer.text, f"no evidence: {answer.text}")
    for one in (by_vlan, last):
        iovd.ok("detach", one["id"])
    expect("vlan 30" in state_of(interface, 2), f"lost: {state_of(interface, 2)}")
    return lan["id"], before


def check_set(iovd, igb, lan, before):
    """A VM that runs, twice: what it changed is undone in between, and at the end."""
    interface = netdev(igb)
    wanted = state_of(interface, 0)
    for word in (MAC, "vlan 10, qos 2", "spoof checking off", "trust on"):
        expect(word in wanted, f"{word} is not set: {wanted}")
    vf = vfs(igb)[0]
    with contextlib.closing(os.fdopen(os.open(f"/dev/vfio/{group_of(vf)}", os.O_RDWR), "wb")):
        wait_state(iovd, lan, "active")
        ip("link", "set", interface, "vf", "0", "mac", OTHER, "vlan", "99")
    wait_state(iovd, lan, "ready")
    expect_equal(state_of(interface, 0), wanted, "set after a VM's end")
    ip("link", "set", interface, "vf", "0", "mac", OTHER, "spoofchk", "on")
    iovd.ok("vf", "set", vf, "vlan=40")  # is to be kept
    iovd.ok("detach", lan)
    after = state_of(interface, 0)
    print("before:", before, "\ngiven: ", wanted, "\nafter: ", after)
    expect_equal(after.replace(", vlan 40", ""), before, "set after it was taken back")
    expect("vlan 40" in after, f"vf set is forgotten: {after}")
    expect_equal(driver_of(vf), None, "its driver")


def check_daemon_ends(iovd, igb):
    """What it was set to is remembered by the next daemon."""
    interface = netdev(igb)
    before = state_of(interface, 1)
    lan = given(iovd, PRODUCT, "--set", SET, "--as", "lan1")["id"]
    index = vfs(igb).index(shown(iovd, lan)["device"])
    iovd.stop()
    ip("link", "set", interface, "vf", str(index), "mac", OTHER)
    iovd.start()
    wait_state(iovd, lan, "ready")
    expect(MAC in state_of(interface, index), f"{state_of(interface, index)}")
    iovd.ok("detach", lan)
    expect_equal(state_of(interface, 1), before, "the other VF")
    expect(MAC not in state_of(interface, index), f"{state_of(interface, index)}")


def check_link(iovd, igb):
    interface = netdev(igb)
    ip("link", "set", interface, "up")
    lan = given(iovd, f"vf:{interface}")["id"]
    for state in ("up", "down", "up"):
        ip("link", "set", interface, state)
        inside.wait_for(lambda: shown(iovd, lan)["vf"]["link"] == state, f"the link to be {state}", 60)
    iovd.ok("detach", lan)
    ip("link", "set", interface, "down")


def check_refusals(iovd):
    expect_equal(iovd.refused("VF-RULE", "attach", "vf:speed=1", "vm1").status, 2, "status")
    iovd.refused("VF-NONE", "attach", device("edu_a"), "vm1", "--set", "vlan=1")


def test(scratch):
    igb = device("igb")
    with Iovd(scratch) as iovd:
        iovd.ok("vf", "create", igb, 3, seconds=180)
        lan, before = check_choice(iovd, igb)
        check_set(iovd, igb, lan, before)
        check_daemon_ends(iovd, igb)
        check_link(iovd, igb)
        check_refusals(iovd)
        iovd.ok("vf", "create", igb, 0, seconds=180)
    return "chosen by product, PF and VLAN; set, and as before"


inside.main(test)
