# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Disks of a libvirt domain: into its definition and the running domain, and out again."""
from lib import disk, libvirt
from lib.daemon import Daemon
from lib.proc import Failed, until
from lib.report import main

URI = "https://iovd.org/xmlns/domain/1"


def expect(condition, what):
    if not condition:
        raise Failed(what)


def refused(daemon, status, code, *words):
    done = daemon.ctl(*words, check=False, seconds=60)
    expect(done.returncode == status and code in done.stderr,
           f"iovctl {words}: {done.returncode}, not {status} with {code}: {done.stderr}")
    return done.stderr


def targets(host, *words):
    """The disks of web1, by the socket's name."""
    lines = host.virsh("domblklist", "web1", *words).splitlines()
    return {line.split()[1].rpartition("/")[2]: line.split()[0] for line in lines if line.strip()}


def explained(daemon, image):
    """The codes that close a paravirtual disk for the domain, by the rules about its definition."""
    paths = daemon.ctl("explain", image, "--vm", "web1")["explanation"]["paths"]
    found = next(p["findings"] for p in paths if p["path"] == "paravirt")
    return [f["code"] for f in found if f["weight"] == "closes"]


def shut_off(daemon, host, image):
    """What is defined, and what is not fit for it."""
    expect(explained(daemon, image) == ["VM-SHMEM"], f"{explained(daemon, image)}")
    told = refused(daemon, 4, "VM-SHMEM", "attach", image, "web1", "--as", "root")
    expect("<access mode='shared'/>" in told, f"it does not say what to do: {told}")
    expect(not targets(host), "refused, and there")
    daemon.ctl("attach", image, "web1", "--as", "root", "--fix")
    daemon.ctl("detach", "root")
    expect(explained(daemon, image) == [], f"mended, and {explained(daemon, image)}")
    expect(not targets(host), "detached, and there")
    expect(host.virsh_try("metadata", "web1", URI).returncode != 0, "its description is left")
    shown = daemon.ctl("attach", image, "web1", "--as", "root")["attachment"]
    expect(shown["owner"] == "root" if "owner" in shown else True, f"{shown}")
    expect(targets(host) == {"root.sock": "vda"}, f"{targets(host)}")


def running(daemon, host, guest, image):
    guest.boot()
    guest.run("echo first | dd of=/dev/vda bs=512 conv=fsync")
    daemon.ctl("attach", image, "web1", "--as", "data")
    both = {"root.sock": "vda", "data.sock": "vdb"}
    expect(targets(host) == both and targets(host, "--inactive") == both, f"{targets(host)}")
    guest.run("while [ ! -b /dev/vdb ]; do :; done; echo second | dd of=/dev/vdb "
              "bs=512 conv=fsync")
    expect("name=\"data\"" in host.virsh("metadata", "web1", URI), "it is not described")

    host.virsh("suspend", "web1")  # nobody there who could answer
    refused(daemon, 5, "GUEST-KEEPS", "detach", "data")
    expect(targets(host) == both and targets(host, "--inactive") == both, f"{targets(host)}")
    expect(len(daemon.attachments()) == 2, "rolled back, and gone")
    host.virsh("resume", "web1")
    until(lambda: "vdb" not in guest.out("ls /sys/block"), 60, "the guest to let go")
    guest.expect_no_complaints()
    until(lambda: targets(host) == {"root.sock": "vda"}, 30, "libvirt to know")
    daemon.ctl("detach", "data", seconds=60)
    expect(targets(host, "--inactive") == {"root.sock": "vda"}, "it is still defined")


def test(scratch, base=None):
    root, data = disk.blank(scratch / "root.img", 16), disk.blank(scratch / "data.img", 16)
    host = libvirt.LibvirtHost(scratch, "h1", base=base)
    with host, Daemon(scratch, libvirt=host.uri) as daemon:
        with libvirt.Domain(host, "web1", shared=False) as guest:
            until(lambda: daemon.ctl("list", "vms")["vms"], 30, "the domain to be known")
            shut_off(daemon, host, root)
            running(daemon, host, guest, data)
            host.virsh("destroy", "web1")
            host.virsh("undefine", "web1")
            until(lambda: not daemon.attachments(), 30, "an undefined domain's disk to be free")
        daemon.stop_all()
    for image, word in ((root, b"first\n"), (data, b"second\n")):
        with image.open("rb") as content:
            expect(content.read(len(word)) == word, f"{image} has not what the guest wrote")
    return "attached, hot-plugged, kept by a guest that cannot answer, detached, undefined"


if __name__ == "__main__":
    main(test)
