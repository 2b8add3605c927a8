# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""libvirt's domains are VMs: seen, followed, and known again when libvirtd comes back."""
import signal

from lib import libvirt
from lib.daemon import Daemon
from lib.proc import Failed, until
from lib.report import main

# Longer than what fits as the name of a VM.
LONG = "a-name-that-has-more-than-thirty-two-letters"


def states(daemon):
    return {vm["name"]: vm["state"] for vm in daemon.ctl("list", "vms")["vms"]}


def wait(daemon, wanted):
    """Until just these domains are there, in these states."""
    until(lambda: states(daemon) == wanted, 60, f"VMs {wanted}, not {states(daemon)}", every=0.1)


def followed(daemon, host):
    wait(daemon, {})
    with libvirt.Domain(host, "web1", memory=64) as web1, libvirt.Domain(host, LONG):
        wait(daemon, {"web1": "off", LONG: "off"})
        host.virsh("start", "--paused", "web1")
        wait(daemon, {"web1": "paused", LONG: "off"})
        host.virsh("resume", "web1")
        wait(daemon, {"web1": "running", LONG: "off"})
        for name in ("web1", web1.uuid, web1.uuid.replace("-", "")):
            shown = daemon.ctl("show", name)["vm"]
            if (shown["name"], shown["uuid"], shown["managed"]) != ("web1", web1.uuid, "libvirt"):
                raise Failed(f"show {name}: {shown}")

        host.stop(signal.SIGKILL)
        wait(daemon, {"web1": "unknown", LONG: "unknown"})
        host.start()
        wait(daemon, {"web1": "running", LONG: "off"})
        host.virsh("undefine", "web1")  # it runs, and is gone when it ends
        host.virsh("destroy", "web1")
        wait(daemon, {LONG: "off"})
    wait(daemon, {})


def test(scratch, base=None):
    host = libvirt.LibvirtHost(scratch, "h1", base=base)
    with host, Daemon(scratch, libvirt=host.uri) as daemon:
        followed(daemon, host)
        host.stop()
        old = daemon.kill()
        daemon.wait_restart(old)
        wait(daemon, {})  # it works without
        host.start()
        with libvirt.Domain(host, "late"):
            wait(daemon, {"late": "off"})
        daemon.stop_all()
    return "domains are followed, libvirtd killed, absent and back"


if __name__ == "__main__":
    main(test)
