# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A SATA disk of libvirt's for a domain whose guest has no driver for virtio disks: defined while it is
shut off, used, refused while it runs, and taken out again."""
from lib import disk, libvirt
from lib.daemon import Daemon
from lib.proc import Failed, until
from lib.report import main

from guest import image  # lib has put it on the path

WORD = "written by the guest"


def expect(condition, what):
    if not condition:
        raise Failed(what)


def refused(daemon, code, *words):
    done = daemon.ctl(*words, check=False, seconds=60)
    expect(done.returncode and code in done.stderr, f"iovctl {words}: {done.returncode}: {done.stderr}")


def targets(host):
    lines = host.virsh("domblklist", "old1", "--inactive").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def state(daemon):
    return daemon.ctl("show", "root")["attachment"]["state"]


def running(daemon, host, guest, other):
    guest.boot()
    until(lambda: state(daemon) == "active", 60, "its disk to be active")
    guest.run(f"while [ ! -b /dev/sda ]; do :; done; echo {WORD} | dd of=/dev/sda bs=512 conv=fsync")
    refused(daemon, "VM-RUNS", "attach", other, "old1", "--path", "emulated")
    refused(daemon, "VM-RUNS", "detach", "root")
    expect(targets(host) == ["sda"], f"{targets(host)}")
    guest.expect_no_complaints()
    host.virsh("destroy", "old1")
    until(lambda: state(daemon) == "ready", 60, "its disk to be ready again")


def test(scratch):
    root, other = disk.blank(scratch / "root.img", 16), disk.blank(scratch / "other.img", 16)
    with libvirt.LibvirtHost(scratch, "h1") as host, Daemon(scratch, libvirt=host.uri) as daemon:
        with libvirt.Domain(host, "old1", shared=False, build=image.qemu_full) as guest:
            until(lambda: daemon.ctl("list", "vms")["vms"], 30, "the domain to be known")
            refused(daemon, "VM-UNMANAGED", "attach", root, "vm1", "--path", "emulated")
            shown = daemon.ctl("attach", root, "old1", "--path", "emulated", "--as", "root")
            expect(shown["attachment"]["state"] == "ready", f"{shown}")
            expect(targets(host) == ["sda"], f"{targets(host)}")
            refused(daemon, "DEV-TAKEN", "attach", root, "vm1")
            running(daemon, host, guest, other)
            daemon.ctl("detach", "root")
            expect(not targets(host) and not daemon.attachments(), "detached, and there")
        daemon.stop_all()
    with root.open("rb") as content:
        expect(content.read(len(WORD)) == WORD.encode(), "the image has not what the guest wrote")
    return "a SATA disk, defined, used and taken out"


if __name__ == "__main__":
    main(test)
