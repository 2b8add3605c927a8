# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 900
"""Devices get another driver and get their own back; what the host lives on never does."""
import hashlib
import os
import pathlib
import subprocess

import inside
from inside import (
    PCI,
    Iovd,
    device,
    devices,
    disk,
    driver_of,
    expect,
    expect_equal,
    group_members,
    netdev,
    program,
    read,
    wait_for,
    write,
)

MEBIBYTE = 1 << 20


def override_of(bdf):
    text = read(PCI / bdf / "driver_override")
    return None if text == "(null)" else text


def state(bdfs):
    return {bdf: (driver_of(bdf), override_of(bdf)) for bdf in bdfs}


def check_bound(answer, bdfs, before):
    """What `bind` says it did is what /sys shows."""
    said = {row["device"]: row for row in answer["bindings"]}
    expect_equal(sorted(said), sorted(bdfs), "bound devices")
    for bdf in bdfs:
        expect_equal(driver_of(bdf), "vfio-pci", f"driver of {bdf}")
        expect_equal(override_of(bdf), "vfio-pci", f"override of {bdf}")
        expect_equal((said[bdf]["driver"], said[bdf]["kept"]), ("vfio-pci", True), f"said of {bdf}")
        expect_equal(said[bdf]["before"], before[bdf][0], f"said to be before, {bdf}")


def listed(iovd, bdf):
    return next(d for d in iovd.ok("list", "devices")["devices"] if d["id"] == bdf)


# --- there and back -------------------------------------------------------------------------------


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(MEBIBYTE)).hexdigest()


def check_nvme(iovd):
    """A disk goes to VFIO and comes back with its data; what is so already stays so."""
    bdf = device("nvme")
    with open(disk(bdf), "r+b") as file:
        file.write(os.urandom(MEBIBYTE))
        os.fsync(file.fileno())
    data, before = digest(disk(bdf)), state([bdf])
    plan = iovd.ok("bind", bdf, "vfio", "--dry-run")["plan"]
    expect(any(bdf in line for line in plan), f"the plan does not name it: {plan}")
    expect_equal(state([bdf]), before, "state after a dry run")

    check_bound(iovd.ok("bind", bdf, "vfio"), [bdf], before)
    expect_equal(listed(iovd, bdf)["driver"], "vfio-pci", "driver in the list")
    expect(iovd.ok("bind", bdf, "vfio")["already"], "bound twice")
    iovd.wait_restart(iovd.kill())
    expect(iovd.ok("bind", bdf, "vfio-pci")["already"], "forgotten by a restart")

    iovd.ok("release", bdf)
    expect_equal(state([bdf]), before, "state after release")
    expect_equal(digest(disk(bdf)), data, "data of the disk")
    expect(iovd.ok("release", bdf)["already"], "released twice")


def check_igb(iovd):
    bdf = device("igb")
    before, mac = state([bdf]), read(PCI / bdf / "net" / netdev(bdf) / "address")
    check_bound(iovd.ok("bind", bdf[5:], "vfio"), [bdf], before)
    iovd.ok("release", bdf)
    expect_equal(state([bdf]), before, "state after release")
    expect_equal(read(PCI / bdf / "net" / netdev(bdf) / "address"), mac, "its address")


def check_no_driver(iovd):
    """From no driver to a driver and back to none; another driver in between changes nothing."""
    bdf = device("edu_a")
    before = state([bdf])
    expect_equal(before[bdf], (None, None), "edu has a driver")
    check_bound(iovd.ok("bind", bdf, "vfio"), [bdf], before)
    if inside.KERNEL == "debian":  # the lab's own has no other driver that takes any device
        inside.modprobe("pci-stub")
        answer = iovd.ok("bind", bdf, "pci-stub")["bindings"][0]
        expect_equal((answer["driver"], answer["before"]), ("pci-stub", None), "bound anew")
    iovd.ok("release", bdf)
    expect_equal(state([bdf]), before, "state after release")


def check_group(iovd, role):
    """An unsplittable group is refused, its companions named; then it goes whole."""
    members = devices(role)
    for bdf in members:
        inside.probe(bdf)
    expect(set(members) <= set(group_members(members[0])), f"{role} is no group")
    before = state(members)
    for bdf in members:
        others = [other for other in members if other != bdf]
        answer = iovd.refused("GRP-SPLIT", "bind", bdf, "vfio")
        expect_equal(answer.status, 4, "exit status")
        expect(all(other in answer.text for other in others), f"not named: {answer.text}")
        expect_equal(state(members), before, "state after a refusal")
    check_bound(iovd.ok("bind", members[0], "vfio", "--group"), members, before)
    iovd.ok("release", members[1], "--group")
    expect_equal(state(members), before, "state after release")


# --- refusals -------------------------------------------------------------------------------------


def ways(bdf):
    """A device by all the names that it has as a PCI function."""
    return (bdf, bdf[5:], "pci_" + bdf.replace(":", "_").replace(".", "_"),
            str(PCI / bdf))


def check_host_use(iovd, role, uplink):
    """The disk of / and the way in are refused, by every name and with every option."""
    bdf = device(role)
    before = state([bdf])
    tries = [(name, driver) for name in ways(bdf) for driver in ("vfio", "pci-stub")]
    tries += [(bdf, "vfio", "--group"), (bdf, "vfio-pci", "--dry-run")]
    for words in tries:
        answer = iovd.refused("HOST-USE", "bind", *words)
        expect_equal(answer.status, 4, "exit status")
    name = netdev(bdf) if uplink else str(disk(bdf))
    answer = iovd.iovctl("bind", name, "vfio")
    expect_equal(answer.status, 2, f"bind {name}: {answer.text}")
    expect_equal(state([bdf]), before, f"state of {role}")


def check_mounted(iovd, scratch):
    """A disk that is in use is refused for as long as it is."""
    bdf, mount = device("nvme"), scratch / "mount"
    mount.mkdir()
    inside.proc.run(["mkfs.ext4", "-q", disk(bdf)])
    inside.proc.run(["mount", disk(bdf), mount])
    try:
        answer = iovd.refused("HOST-USE", "bind", bdf, "vfio")
        expect(str(mount) in answer.text, f"the mount is not named: {answer.text}")
    finally:
        inside.proc.run(["umount", mount])
    before = state([bdf])
    check_bound(iovd.ok("bind", bdf, "vfio"), [bdf], before)
    iovd.ok("release", bdf)


def check_attached(iovd):
    """What a VM has through its disk is the VM's."""
    bdf = device("nvme")
    attachment = iovd.attach(str(disk(bdf)), "vm1", "d")
    iovd.refused("DEV-TAKEN", "bind", bdf, "vfio")
    iovd.ok("detach", attachment.id)


def check_words(iovd):
    bdf = device("edu_b")
    expect_equal(iovd.refused("NAME", "bind", bdf, "../nvme").status, 2, "exit status")
    expect_equal(iovd.refused("NO-SUCH", "bind", "0000:77:00.0", "vfio").status, 10, "exit status")
    answer = iovd.refused("BIND-DRIVER", "bind", bdf, "absent")
    expect_equal(answer.status, 5, "exit status")
    expect_equal(state([bdf]), {bdf: (None, None)}, "state after a failure")


# --- boots and crashes ----------------------------------------------------------------------------


def as_booted(bdf, driver):
    """What a reboot makes of a device: no override, and the host's driver."""
    write(PCI / bdf / "driver_override", "\n")
    write(PCI / bdf / "driver" / "unbind", bdf)
    if driver:
        write(f"/sys/bus/pci/drivers/{driver}/bind", bdf)
    expect_equal(state([bdf]), {bdf: (driver, None)}, "as booted")


def apply_bindings(scratch):
    words = [f"--state-dir={scratch}/state", f"--runtime-dir={scratch}/run"]
    return subprocess.run([program("iovd"), "--apply-bindings", *words], capture_output=True,
                          text=True, timeout=120)


def check_boot(iovd, scratch):
    """Without daemon and keeper, what is kept is bound again; what the host uses by then is not."""
    bdf, edu, mount = device("nvme"), device("edu_a"), scratch / "boot"
    before = state([bdf, edu])
    iovd.ok("bind", bdf, "vfio")
    iovd.ok("bind", edu, "vfio")
    expect(apply_bindings(scratch).returncode == 1, "applied beside a daemon")
    iovd.stop()
    as_booted(bdf, "nvme")
    as_booted(edu, None)
    mount.mkdir()
    inside.proc.run(["mkfs.ext4", "-qF", disk(bdf)])
    inside.proc.run(["mount", disk(bdf), mount])
    done = apply_bindings(scratch)
    inside.proc.run(["umount", mount])
    expect_equal(done.returncode, 4, f"exit status: {done.stderr}")
    expect("HOST-USE" in done.stderr, f"not refused: {done.stderr}")
    expect_equal(driver_of(bdf), "nvme", "driver of a mounted disk")
    expect_equal(driver_of(edu), "vfio-pci", "driver of the other device")
    done = apply_bindings(scratch)
    expect_equal(done.returncode, 0, f"exit status: {done.stderr}")
    expect_equal(state([bdf]), {bdf: ("vfio-pci", "vfio-pci")}, "state after the boot")
    iovd.start()
    iovd.ok("release", bdf)
    iovd.ok("release", edu)
    expect_equal(state([bdf, edu]), before, "state after release")


def points(iovd, fault, *words):
    """The fault points that a command passes."""
    fault.write_text("list")
    at = len(iovd.log())
    iovd.ok(*words)
    fault.unlink()
    lines = iovd.log()[at:].splitlines()
    return [line.split("fault point: ")[1] for line in lines if "fault point: " in line]


def kept(iovd, bdf):
    plan = iovd.ok("release", bdf, "--dry-run")
    return not plan.get("already", False)


def check_crashes(iovd, fault):
    """kill -9 of the daemon at every point of bind and release: as before it, or as after it."""
    members = devices(inside.UNSPLIT)
    bind = ("bind", members[0], "vfio", "--group")
    release = ("release", members[0], "--group")
    before = (state(members), False)
    after = ({bdf: ("vfio-pci", "vfio-pci") for bdf in members}, True)
    passed = [(words, points(iovd, fault, *words)) for words in (bind, release)]
    now = lambda: (state(members), kept(iovd, members[0]))  # noqa: E731
    for words, names in passed:
        for name in names:
            if (words == bind) != (now() == before):
                iovd.ok(*(release if words == bind else bind))
            old = iovd.pid()
            fault.write_text(name)
            iovd.iovctl(*words)
            wait_for(lambda: not fault.exists(), f"{name} to be reached")
            iovd.wait_restart(old)
            wait_for(lambda: now() in (before, after), f"before or after, at {name}")
    if now() == after:
        iovd.ok(*release)
    count = sum(len(names) for _, names in passed)
    expect(count > 15, f"only {count} points were found: {passed}")
    return f"killed at {count} points"


def test(scratch):
    fault = pathlib.Path(scratch) / "fault"
    os.environ["IOVD_FAULT"] = str(fault)
    notes = []
    with Iovd(scratch) as iovd:
        for check, *words in (
            (check_nvme,),
            (check_igb,),
            (check_no_driver,),
            *((check_group, role) for role in sorted({"functions", inside.UNSPLIT})),
            (check_host_use, "root", False),
            (check_host_use, "uplink", True),
            (check_mounted, scratch),
            (check_attached,),
            (check_words,),
            (check_boot, scratch),
            (check_crashes, fault),
        ):
            try:
                notes.append(check(iovd, *words))
            except inside.Failed as error:
                raise inside.Failed(f"{check.__name__} {words}: {error}") from error
            print(f"  {check.__name__} {' '.join(map(str, words))}", flush=True)
    return "; ".join(filter(None, notes))


inside.main(test)
