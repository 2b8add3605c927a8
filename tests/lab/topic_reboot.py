# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# needs: systemd
# timeout: 240
"""A real reboot: devices have the drivers that are kept for them before the host's own could take
them, virtual functions are made again, what was attached is."""
import pathlib

import inside
from inside import device, driver_of, expect, expect_equal, proc, vfs, wait_for
from service import Service, journal, prop, systemctl
from vmms import attach

MODULES = pathlib.Path("/etc/modules-load.d/lab.conf")
NOTES = pathlib.Path("/var/lib/lab-reboot")  # of the boot before: its id, and who has the VFs
VFS = 4


def boot_id():
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def before():
    """The wish is in the store, the units are enabled: nothing else is done for the next boot."""
    MODULES.write_text("igb\n")  # early, as udev would load it
    with_service = Service("enable", "--now", "iovd.service", "iovd.socket")
    for role in ("igb", "edu_a"):
        with_service.ok("bind", device(role), "vfio")
        expect_equal(driver_of(device(role)), "vfio-pci", f"driver of {role}")
    nvme = device("nvme")
    with_service.ok("vf", "create", nvme, VFS, seconds=120)
    attach(with_service, device("edu_b"), "vm1", "--as", "edu")
    NOTES.write_text(f"{boot_id()} {nvme}")
    inside.reboot()


def check_early():
    """The igb driver is there, and has the host's interface; it has never seen the bound one."""
    log = proc.run(["dmesg"]).stdout
    expect(f"igb {device('uplink')}" in log, "the igb driver was not loaded at all")
    expect(f"igb {device('igb')}" not in log, f"the igb driver had {device('igb')}:\n{log}")
    for role in ("igb", "edu_a"):
        expect_equal(driver_of(device(role)), "vfio-pci", f"driver of {role} after the reboot")
    for unit in ("iovd-bind-early", "iovd-bind"):
        expect_equal(prop("Result", unit), "success", unit)
        expect(f"{device('igb')}: has driver vfio-pci" in journal(unit), journal(unit))


def check_service(iovd, nvme):
    shown = iovd.ok("show", device("igb"))["device"]
    expect_equal(shown["facts"]["kept_driver"], "vfio-pci", "what is kept")
    wait_for(lambda: len(vfs(nvme)) == VFS, "the virtual functions", 60)
    expect_equal({driver_of(vf) for vf in vfs(nvme)}, {None}, "drivers of VFs")
    wait_for(lambda: iovd.attachments()[0]["state"] == "ready", "the attachment to be ready")
    expect_equal(driver_of(device("edu_b")), "vfio-pci", "driver of what is attached")


def after():
    boot, nvme = NOTES.read_text().split()
    expect(boot_id() != boot, "this is the same boot")
    check_early()
    wait_for(lambda: prop("ActiveState") == "active", "the service, which is enabled", 60)
    with Service() as iovd:
        check_service(iovd, nvme)
        iovd.ok("detach", "edu")
        iovd.ok("release", device("igb"))
        iovd.ok("vf", "create", nvme, 0, seconds=120)
    expect_equal(driver_of(device("igb")), "igb", "driver of igb, released")
    systemctl("disable", "iovd.service")
    MODULES.unlink()


def test(_scratch):
    if inside.BOOT == 1:
        before()
    after()
    return f"drivers kept, {VFS} virtual functions made again, an attachment ready"


inside.main(test)
