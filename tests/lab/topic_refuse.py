# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 180
"""What is never given away, by whatever name; and what is only if it is said in so many words."""
import os

import inside
from inside import Iovd, device, devices, disk, driver_of, expect, expect_equal, netdev
from vmms import SmallVmm, attach, wait_state

ALLOW = ("--allow", "GRP-SPLIT,DEV-NO-RESET")


def names_of(bdf):
    """The names that people paste for a PCI function."""
    return (bdf, bdf.removeprefix("0000:"), "pci_" + bdf.replace(":", "_").replace(".", "_"),
            f"/sys/bus/pci/devices/{bdf}")


def check_host(iovd):
    """The disk beneath /, the interface of the default route: no name and no option help."""
    root, uplink = device("root"), device("uplink")
    drivers = {bdf: driver_of(bdf) for bdf in (root, uplink)}
    path = disk(root)
    tries = [*names_of(root), *names_of(uplink), path.name, path, netdev(uplink),
             f"/sys/class/net/{netdev(uplink)}"]
    refused = 0
    for name in tries:
        for words in ((), ("--path", "passthrough"), ("--path", "passthrough", *ALLOW)):
            iovd.refused("HOST-USE", "attach", name, "vm1", *words)
            iovd.refused("HOST-USE", "attach", name, "vm1", "--dry-run", *words)
            refused += 2
    expect_equal({bdf: driver_of(bdf) for bdf in drivers}, drivers, "drivers")
    return refused


def check_bridge(iovd):
    for role in ("nvme", "noacs"):
        iovd.refused("HOST-USE", "attach", inside.port(role), "vm1", *ALLOW)


def check_claimed(iovd):
    """What no table shows, as a pool of ZFS would do it: that is seen by opening the disk."""
    path = disk(device("nvme"))
    claim = os.open(path, os.O_RDONLY | os.O_EXCL)
    try:
        for words in ((), ("--readonly",), ("--dry-run",)):
            answer = iovd.refused("HOST-USE", "attach", path, "vm1", *words)
            expect("O_EXCL" in answer.text, f"refused for another reason: {answer.text}")
    finally:
        os.close(claim)
    iovd.ok("detach", iovd.ok("attach", path, "vm1")["attachment"]["id"])


def check_split(iovd):
    """A group that cannot be split is refused by each of its members, then given whole."""
    for role in {"functions", inside.UNSPLIT}:
        first, second = devices(role)
        inside.probe(first)
        inside.probe(second)
        for bdf in (first, second):
            answer = iovd.refused("GRP-SPLIT", "attach", bdf, "vm1", "--allow", "DEV-NO-RESET")
            other = second if bdf == first else first
            expect(other in answer.text, f"the companion is not named: {answer.text}")
        given = attach(iovd, first, "vm1", *ALLOW)
        expect_equal(given["devices"], [first, second], f"what was attached of {role}")
        for bdf in (first, second):
            expect_equal(driver_of(bdf), "vfio-pci", f"driver of {bdf}")
            expect_equal(iovd.ok("show", bdf)["device"]["state"], "attached", f"state of {bdf}")
        expect(iovd.ok("attach", second, "vm1")["already"], "the companion is not there already")
        iovd.refused("DEV-TAKEN", "attach", second, "vm2", *ALLOW)
        print(f"{role}: {given['vmm_args']}")


        iovd.ok("detach", given["id"])
        expect_equal([driver_of(bdf) for bdf in (first, second)], [None, None], "drivers after it")


def check_no_reset(iovd):
    """What cannot be reset stays with its VM, for every VMM of that one."""
    bdf = device("bare")
    iovd.refused("DEV-NO-RESET", "attach", bdf, "vm1")
    expect_equal(driver_of(bdf), None, f"driver of {bdf}")
    name = attach(iovd, bdf, "vm1", "--allow", "DEV-NO-RESET")["id"]
    expect_equal(iovd.refused("DEV-NO-RESET", "detach", name).status, 4, "exit status of detach")
    with SmallVmm(bdf, 1):
        wait_state(iovd, name, "active")
    wait_state(iovd, name, "ready")
    iovd.refused("DEV-NO-RESET", "detach", name)
    iovd.refused("DEV-TAKEN", "attach", bdf, "vm2", *ALLOW)


def check_usage(iovd):
    bdf = device("edu_b")
    iovd.refused("ALLOW", "attach", bdf, "vm1", "--allow", "HOST-USE")
    iovd.refused("PATH-OPTION", "attach", bdf, "vm1", "--readonly")
    iovd.refused("PATH", "attach", bdf, "vm1", "--path", "paravirt")
    expect_equal(iovd.ok("list", "attachments")["attachments"], [], "attachments")
    expect_equal(driver_of(bdf), None, "driver of edu_b")


def test(scratch):
    with Iovd(scratch) as iovd:
        refused = check_host(iovd)
        check_bridge(iovd)
        check_claimed(iovd)
        check_usage(iovd)
        check_split(iovd)
        check_no_reset(iovd)
    inside.unbind(device("bare"))  # as the reboot would, that it needs
    return f"what the host stands on: {refused} tries refused"


inside.main(test)
