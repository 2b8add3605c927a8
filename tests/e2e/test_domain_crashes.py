# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""kill -9 of iovd at every point of attaching to a domain, and of detaching: afterwards the disk is in
the registry, the domain's definition and its metadata, or in none of them."""
import os

from lib import disk, libvirt
from lib.daemon import Daemon
from lib.proc import Failed, until
from lib.report import main

URI = "https://iovd.org/xmlns/domain/1"


def expect(condition, what):
    if not condition:
        raise Failed(what)


def where(daemon, host):
    """In which of the three the disk is."""
    return (
        any(a["state"] == "ready" for a in daemon.attachments()),
        "root.sock" in host.virsh("domblklist", "web1"),
        'name="root"' in host.virsh_try("metadata", "web1", URI).stdout,
    )


def settled(daemon, host):
    """Until nothing is under way any more; whether it is there."""
    found = []

    def same():
        found[:] = [where(daemon, host)]
        return found[0] in ((True,) * 3, (False,) * 3) and len(daemon.attachments()) == found[0][0]

    try:
        until(same, 60, "all or nothing", every=0.2)
    except Failed:
        raise Failed(f"registry, definition, metadata: {found}") from None
    return found[0][0]


def points(daemon, fault, words):
    fault.write_text("list")
    at = len(daemon.log())
    daemon.ctl(*words)
    fault.unlink()
    lines = daemon.log()[at:].splitlines()
    return [line.split("fault point: ")[1] for line in lines if "fault point: " in line]


def sweep(daemon, host, fault, words, undo, every):
    """Kills at each point of `words`, and makes it as before with `undo`; (all, nothing)."""
    passed = points(daemon, fault, words)
    before = not settled(daemon, host)
    expect(len(passed) > 8, f"points: {passed}")
    ends = [0, 0]
    for point in passed[::every]:
        if settled(daemon, host) != before:
            daemon.ctl(*undo)
        old = daemon.pid()
        fault.write_text(point)
        daemon.ctl(*words, check=False)
        until(lambda point=point: not fault.exists(), 20, f"{point} to be reached")
        daemon.wait_restart(old)
        ends[settled(daemon, host)] += 1
    expect(ends[0] and ends[1], f"{words[0]}: {ends} of nothing and all")
    return ends


def test(scratch, base=None, every=4):
    fault = scratch / "fault"
    os.environ["IOVD_FAULT"] = str(fault)
    image = disk.blank(scratch / "root.img", 8)
    attach, detach = ("attach", image, "web1", "--as", "root"), ("detach", "web1/root")
    host = libvirt.LibvirtHost(scratch, "h1", base=base)
    with host, Daemon(scratch, libvirt=host.uri) as daemon:
        with libvirt.Domain(host, "web1"):
            until(lambda: daemon.ctl("list", "vms")["vms"], 30, "the domain to be known")
            there = sweep(daemon, host, fault, attach, detach, every)
            if not settled(daemon, host):
                daemon.ctl(*attach)
            back = sweep(daemon, host, fault, detach, attach, every)
        daemon.stop_all()
    return f"attach killed at {sum(there)} points, detach at {sum(back)}: all or nothing each time"


if __name__ == "__main__":
    main(test)
