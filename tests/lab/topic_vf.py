# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 600
"""SR-IOV: virtual functions are made, kept from drivers, set, and removed; others' stay."""
import json
import sqlite3

import inside
from inside import PCI, Iovd, device, disk, driver_of, expect, expect_equal, netdev, read, vfs, write

from lib import proc
from vmms import attach

MAC = "52:54:00:aa:bb:01"


def made(iovd, pf, count):
    """Makes VFs, which must be there then, each in a group, none with a driver."""
    answer = iovd.ok("vf", "create", pf, count, seconds=180)
    expect_equal(answer["count"], count, "VFs in the answer")
    expect_equal([vf["device"] for vf in answer["vfs"]], vfs(answer["pf"]), "names of the VFs")
    expect_equal(len(vfs(answer["pf"])), count, "VFs in /sys")
    expect_equal({driver_of(vf) for vf in vfs(answer["pf"])} - {None}, set(), "drivers of VFs")
    expect_equal(read(PCI / answer["pf"] / "sriov_drivers_autoprobe"), "1", "autoprobe")
    expect(answer["ours"] or not count, "the VFs are not ours")
    return answer


def shown_by_ip(interface, index):
    """What `ip -d link` shows of a VF."""
    (link,) = json.loads(proc.run(["ip", "-j", "-d", "link", "show", interface]).stdout)
    return next(vf for vf in link["vfinfo_list"] if vf["vf"] == index)


def check_count(iovd, igb, nvme):
    made(iovd, netdev(igb), 7)  # by the interface
    made(iovd, nvme.removeprefix("0000:"), 4)  # by the short address
    inside.modprobe("igbvf")  # a driver that would take them is loaded later
    expect_equal({driver_of(vf) for vf in vfs(igb)}, {None}, "drivers of VFs after modprobe")
    births = [(PCI / vf).stat().st_ino for vf in vfs(igb)]
    expect(iovd.ok("vf", "create", igb, 7)["already"], "7 VFs are not 7 already")
    iovd.refused("VF-COUNT", "vf", "create", igb, 8)
    made(iovd, next((PCI / nvme / "nvme").iterdir()).name, 2)  # by the controller
    made(iovd, nvme, 0)
    expect_equal([(PCI / vf).stat().st_ino for vf in vfs(igb)], births, "the VFs of the other PF")
    made(iovd, nvme, 4)


def check_settings(iovd, igb, nvme):
    interface, vf = netdev(igb), vfs(igb)[1]
    words = {"mac": MAC, "vlan": 10, "qos": 3, "spoofchk": "off", "trust": "on"}
    answer = iovd.ok("vf", "set", vf, *(f"{key}={value}" for key, value in words.items()))["vf"]
    expect_equal({key: answer[key] for key in words}, words, "settings in the answer")
    shown = shown_by_ip(interface, 1)
    print("ip -d link:", shown)
    expect_equal(shown["address"], MAC, "MAC")
    expect_equal((shown["vlan_list"][0]["vlan"], shown["vlan_list"][0]["qos"]), (10, 3), "VLAN")
    expect_equal((shown["spoofchk"], shown["trust"]), (False, True), "spoofchk, trust")
    other = shown_by_ip(interface, 2)
    expect(other["address"] != MAC and "vlan" not in other.get("vlan_list", [{}])[0], "VF 2 is set")
    facts = iovd.ok("show", vf)["device"]["facts"]
    expect_equal(facts["virtual_function_index"], 1, "index that is shown")
    settings = facts["virtual_function_settings"]
    expect_equal({key: settings[key] for key in words}, words, "settings that are shown")
    # all or nothing: the driver refuses the second
    iovd.refused("min_tx_rate", "vf", "set", vf, "vlan=20", "min_tx_rate=5")
    expect_equal(shown_by_ip(interface, 1)["vlan_list"][0]["vlan"], 10, "VLAN after a failure")
    iovd.refused("VF-VALUE", "vf", "set", vf, "vlan=4095")
    iovd.refused("VF-NOT-NET", "vf", "set", vfs(nvme)[0], "vlan=1")
    iovd.refused("VF-NONE", "vf", "set", igb, "vlan=1")
    # another number of VFs: the settings stay
    made(iovd, igb, 4)
    expect_equal(shown_by_ip(interface, 1)["address"], MAC, "MAC after a change of the number")


def check_in_use(iovd, igb):
    vf = vfs(igb)[0]
    inside.bind(vf, "igbvf")
    answer = iovd.refused("PF-IN-USE", "vf", "create", igb, 2)
    expect("igbvf" in answer.text, f"no evidence: {answer.text}")
    iovd.refused("PF-IN-USE", "vf", "create", igb, 0)
    write(PCI / vf / "driver" / "unbind", vf)
    write(PCI / vf / "driver_override", "none")


def check_queues(nvme):
    """An NVMe VF has queues of its PF's: its controller works, with the PF's disk behind it."""
    for vf in (vfs(nvme)[0], vfs(nvme)[-1]):
        inside.bind(vf, "nvme")
        name = inside.wait_for(lambda: list((PCI / vf).glob("nvme/nvme*")), f"controller {vf}")[0]
        inside.wait_for(lambda: read(name / "state") == "live", f"{name} to be live")
        print(f"{vf}: {name.name} is live, {read(name / 'queue_count')} queues")
        write(PCI / vf / "driver" / "unbind", vf)
        write(PCI / vf / "driver_override", "none")
    with disk(nvme).open("rb") as file:
        expect_equal(len(file.read(4096)), 4096, "bytes of the PF's own disk")


def check_attached(iovd, pf):
    """One is given away and comes back: its siblings and its PF's number stay as they are."""
    vf = vfs(pf)[1]
    name = attach(iovd, vf, "vm1")["id"]
    expect_equal(driver_of(vf), "vfio-pci", "driver of a VF that is attached")
    expect_equal({driver_of(other) for other in vfs(pf)}, {None, "vfio-pci"}, "drivers of VFs")
    answer = iovd.refused("PF-IN-USE", "vf", "create", pf, 0)
    expect("vm1" in answer.text, f"no evidence: {answer.text}")
    iovd.ok("detach", name)
    expect_equal(driver_of(vf), None, "driver of a VF that was taken back")
    expect_equal(read(PCI / vf / "driver_override"), "none", "its driver_override")


def check_foreign(iovd, igb):
    made(iovd, igb, 0)
    write(PCI / igb / "sriov_drivers_autoprobe", 0)
    write(PCI / igb / "sriov_numvfs", 2)
    for count in (0, 3):
        iovd.refused("VF-FOREIGN", "vf", "create", igb, count)
    expect_equal(len(vfs(igb)), 2, "VFs that others made")
    expect(not iovd.ok("vf", "create", igb, 2)["ours"], "others' VFs are ours")
    write(PCI / igb / "sriov_numvfs", 0)
    # the same number, made behind our back, is foreign, too
    iovd.ok("vf", "create", igb, 2)
    expect_equal(read(PCI / igb / "sriov_drivers_autoprobe"), "0", "autoprobe as it was")
    write(PCI / igb / "sriov_numvfs", 0)
    write(PCI / igb / "sriov_numvfs", 2)
    iovd.refused("VF-FOREIGN", "vf", "create", igb, 0)
    write(PCI / igb / "sriov_numvfs", 0)
    write(PCI / igb / "sriov_drivers_autoprobe", 1)


def check_made_again(scratch, igb):
    """As after a start of the host: no VFs, and the store is of an earlier boot."""
    with Iovd(scratch) as iovd:
        made(iovd, igb, 3)
        iovd.ok("vf", "set", vfs(igb)[2], f"mac={MAC}", seconds=180)
    write(PCI / igb / "sriov_numvfs", 0)
    store = sqlite3.connect(scratch / "state" / "iovd.db")
    store.execute("UPDATE sriov SET boot = 'the boot before'")
    store.commit()
    store.close()
    with Iovd(scratch) as iovd:
        inside.wait_for(lambda: len(vfs(igb)) == 3, "VFs to be made again", 120)
        inside.wait_for(lambda: shown_by_ip(netdev(igb), 2)["address"] == MAC, "the MAC", 120)
        inside.wait_for(
            lambda: all(job["state"] != "running" for job in iovd.ok("list", "jobs")["jobs"]),
            "the end of the job that makes them", 120,
        )  # fmt: skip
        inside.wait_for(lambda: iovd.ok("vf", "create", igb, 3, seconds=180)["ours"], "ours", 120)
        made(iovd, igb, 0)


def check_no_sriov(iovd, nvme):
    iovd.refused("SRIOV-NONE", "vf", "create", device("edu_a"), 1)
    iovd.refused("SRIOV-NONE", "vf", "create", vfs(nvme)[0], 1)
    expect_equal(iovd.iovctl("vf", "create", "nothing", 1).status, 10, "status without a device")


def test(scratch):
    igb, nvme = device("igb"), device("nvme")  # VFs will have the same IDs
    with Iovd(scratch) as iovd:
        check_count(iovd, igb, nvme)
        check_queues(nvme)
        check_settings(iovd, igb, nvme)
        check_in_use(iovd, igb)
        check_attached(iovd, igb)
        check_attached(iovd, nvme)
        check_no_sriov(iovd, nvme)
        check_foreign(iovd, igb)
    with Iovd(scratch) as iovd:  # what was made is remembered
        expect(iovd.ok("vf", "create", nvme, 4)["ours"], "forgotten: the VFs of nvme")
        made(iovd, nvme, 0)
        made(iovd, igb, 0)
    check_made_again(scratch, igb)
    return "4 VFs of nvme, 7 of igb"


inside.main(test)
