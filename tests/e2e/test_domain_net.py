# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A libvirt domain with a port of a bridge: plugged in while it runs, moved with an open TCP stream, its
definition started by virsh alone, unplugged. Its MAC address stays the same all the way."""
from contextlib import ExitStack

from lib import disk, network
from lib.domain_move import VM, Pair
from lib.network import HostSink, Network
from lib.proc import Failed, until
from lib.report import main

QUEUES = "2"


def expect(condition, what):
    if not condition:
        raise Failed(what)


def interfaces(host, *words):
    """Of the domain, as virsh tells them: (type, source, model, MAC)."""
    lines = host.libvirt.virsh("domiflist", VM, *words).splitlines()
    return [tuple(line.split()[1:]) for line in lines if line.strip()]


def ports(net):
    return net.ip("-br", "link", "show", "master", "br0").split()


def comes_up(guest, mac):
    guest.run("while [ ! -e /sys/class/net/eth0 ]; do sleep 0.1; done", 60)
    expect(guest.out("cat /sys/class/net/eth0/address").strip() == mac, "another MAC address")
    network.bring_up(guest, 1)
    network.ping(guest, network.HOST)


def flowing(sink):
    before = sink.received
    until(lambda: sink.received > before, 120, "the stream to flow")


def plugged(pair):
    """It is there at once, and in both definitions; its MAC address."""
    attached = pair.here.daemon.attach("br0", VM, "net0", "--queues", QUEUES)
    mac = attached.shown["vf"]["set"].removeprefix("mac=")
    for words in ((), ("--inactive",)):
        found = interfaces(pair.here, *words)
        expect(len(found) == 1 and found[0][0] == "vhostuser" and found[0][-1] == mac,
               f"domiflist {words}: {found}")
    comes_up(pair.guest, mac)
    return mac


def moved(pair, net, mac):
    sink = HostSink(net)
    job = network.start_endless(pair.guest, sink)
    flowing(sink)
    pair.move()
    flowing(sink)
    sent = network.end_stream(pair.guest, job, sink, 400)
    expect([i[-1] for i in interfaces(pair.here)] == [mac], f"{interfaces(pair.here)}")
    return f"{sent} numbers, the longest gap {sink.gap:.2f} s"


def started(pair, net, mac):
    """From its definition alone, which iovd did not know for a while."""
    host = pair.here.libvirt
    xml = host.xml(VM, "--inactive")
    pair.guest.run("umount /mnt/a")
    host.virsh("destroy", VM)
    host.virsh("undefine", VM)
    until(lambda: not pair.here.daemon.attachments() and not ports(net), 30, "all to be free")
    host.define(xml)
    pair.guest.boot()
    comes_up(pair.guest, mac)


def unplugged(pair, net):
    pair.here.daemon.ctl("detach", "net0", seconds=60)
    expect(not interfaces(pair.here) and not interfaces(pair.here, "--inactive"), "still defined")
    expect(not ports(net), f"the bridge has {ports(net)}")
    pair.guest.run("[ ! -e /sys/class/net/eth0 ]")


def test(scratch):
    image = disk.ext4(scratch / "a.img", 64)
    with Network() as net, ExitStack() as stack:
        pair = Pair(stack, scratch, [image], hooks=True, prefix=net.prefix)
        pair.guest.run("mkdir -p /mnt/a && mount /dev/vda /mnt/a")
        mac = plugged(pair)
        result = moved(pair, net, mac)
        started(pair, net, mac)
        unplugged(pair, net)
        pair.guest.expect_no_complaints()
        pair.end()
    return result


if __name__ == "__main__":
    main(test)
