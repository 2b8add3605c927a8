# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A machine with a disk and a port of a bridge, and an open TCP stream: it moves to another iovd, is saved
there and comes back at the first one. The stream goes on, the guest keeps its MAC address.

Both iovds have a bridge of their own name for the same network.
"""
from contextlib import ExitStack

from lib import disk, network
from lib.guest import Qemu
from lib.move import VM, Host, Machine
from lib.network import HostSink, Network
from lib.proc import Failed, until
from lib.report import main

MAC = "52:54:00:77:00:07"


def expect(condition, what):
    if not condition:
        raise Failed(what)


def port(host):
    return next(a for a in host.attachments() if a["name"] == "net0")


def flowing(sink):
    before = sink.received
    until(lambda: sink.received > before, 120, "the stream to flow")


def prepare(guest):
    network.bring_up(guest, 1)
    expect(MAC in guest.out("cat /sys/class/net/eth0/address"), "it has another MAC address")
    guest.run("mount /dev/vda /mnt && dd if=/dev/urandom of=/mnt/a bs=64k count=16 2>/dev/null && "
              "sha256sum /mnt/a >/mnt/sum")


def does_not_fit(net, here, there):
    """What is no bridge, or one whose frames are too short, is refused before anything is changed."""
    net.ip("link", "add", "thin", "mtu", "1400", "type", "bridge")
    for name, code in (("thin", "NET-DIFFERS"), (str(there.scratch / "x.img"), "PATH")):
        words = ("migrate", VM, there.uri, "--begin", "--map", f"net0={name}")
        done = here.daemon.ctl(*words, check=False, seconds=60)
        expect(done.returncode == 4 and code in done.stderr, f"{name}: {done.stderr}")
        expect(not there.attachments(), f"{name}: something is left there")
    net.ip("link", "del", "thin")


def save(host, guest, scratch):
    state, memory = scratch / "state", scratch / "memory"
    host.daemon.ctl("quiesce", VM, "--timeout", "30000")
    host.daemon.ctl("save", VM, "-f", state)
    events = [{"capability": "events", "state": True}]
    guest.qmp.command("migrate-set-capabilities", capabilities=events)
    guest.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    guest.qmp.command("migrate", uri=f"file:{memory}")
    guest.qmp.event("MIGRATION", 120, lambda data: data["status"] == "completed")
    guest.__exit__(None, None, None)
    for attachment in host.attachments():
        host.daemon.ctl("detach", attachment["id"])
    shown = host.daemon.ctl("show", state)["iostate"]["attachments"]
    found = next(a for a in shown if a["identity"]["name"] == "net0")
    expect(found["network"]["queues"] == 2 and found["network"]["settings"] == f"mac={MAC}",
           f"the state says {found}")
    expect("disk" not in found and not found.get("requests"), f"the state says {found}")
    return state, memory


def restore(host, guest, state, memory):
    host.daemon.ctl("restore", state)
    words = [word for shown in host.attachments() for word in shown["vmm_args"]]
    back = Qemu(host.scratch, words, name="back", memory=192, cpus=2, incoming=f"file:{memory}")
    back.__enter__()
    back.qmp.event("RESUME", 120)
    back.adopt(guest)
    until(lambda: set(host.states()) == {"active"}, 60, "all of it to be active again")
    return back


def there_and_back(stack, scratch, net):
    image = disk.ext4(scratch / "a.img", 64)
    here, there = (stack.enter_context(Host(scratch, name, net.prefix)) for name in ("a", "b"))
    disk.blank(there.scratch / "x.img", 8)
    here.daemon.attach(image, VM, "d0")
    here.daemon.attach("br0", VM, "net0", "--queues", "2", "--set", f"mac={MAC}")
    machine = Machine(stack, here, memory=192, cpus=2)
    prepare(machine.guest)
    sink = HostSink(net)
    job = network.start_endless(machine.guest, sink)
    flowing(sink)
    does_not_fit(net, here, there)
    machine.move(there)
    expect(port(there)["vf"]["set"] == f"mac={MAC}", f"it is {port(there)}")
    flowing(sink)
    moved, sink.gap = sink.gap, 0.0
    guest = machine.guest
    state, memory = save(there, guest, scratch)
    back = restore(here, guest, state, memory)
    stack.callback(back.__exit__, None, None, None)
    flowing(sink)
    sent = network.end_stream(back, job, sink, 400)
    network.ping(back, network.HOST)
    back.run("cd /mnt && sha256sum -c sum && cd / && umount /mnt")
    back.expect_no_complaints()
    return f"{sent} numbers, gaps of {moved:.2f} s (moved) and {sink.gap:.2f} s (saved, restored)"


def test(scratch):
    with Network() as net, ExitStack() as stack:
        return there_and_back(stack, scratch, net)


if __name__ == "__main__":
    main(test)
