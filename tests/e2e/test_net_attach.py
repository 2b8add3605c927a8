# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Two guests with a port each in a bridge; the workers of both are killed again and again under a
stream between them, the daemon once. The stream arrives as it was sent, and nothing is left when they are detached.

QEMU does not reconnect: were the connection to drop once, the link would be gone. The long form is
tests/campaign/net-kills.py.
"""
import json

from lib import network, proc
from lib.daemon import Daemon
from lib.guest import Qemu
from lib.network import GuestSink, Network
from lib.proc import Failed, until
from lib.report import main

KILLS = 8
FLOODED = 50


def without_reconnect(words):
    return [word.replace(",reconnect-ms=1000", "") for word in words]


def ports(net):
    """The ports of the bridge."""
    return [link["ifname"] for link in json.loads(net.ip("-j", "link", "show", "master", "br0"))]


def requests(attachment):
    return attachment.now()["requests_completed"]


def storm(attachments, guest, job, kills, progress=None):
    """Kills workers in turn while the stream goes on, each time after some frames more."""
    for done in range(kills):
        victim = attachments[done % len(attachments)]
        before = requests(victim)
        until(
            lambda: guest.done(job) or requests(victim) > before,
            120,
            "frames after a kill",
        )
        if guest.done(job):
            raise Failed(f"the stream has ended after {done} kills")
        victim.kill_worker()
        if progress:
            progress(done + 1)


def received(guest):
    """Frames so far."""
    return int(guest.out("cat /sys/class/net/eth0/statistics/rx_packets"))


def not_for_others(net, strict, loose):
    """What a bridge floods, since it does not know where it goes, reaches no guest that it is not for, but
    one that is allowed to be several."""
    stranger = network.address(99)
    net.ip("neigh", "add", stranger, "lladdr", network.mac(99), "dev", "br0")
    before = received(strict), received(loose)
    words = [*net.prefix, "busybox", "ping", "-c", FLOODED, "-i", "0.02", "-W", "1", stranger]
    if "100% packet loss" not in proc.run(words, 60, check=False).stdout:
        raise Failed("a stranger answers")
    until(lambda: received(loose) >= before[1] + FLOODED, 30, "the flooded frames")
    if received(strict) >= before[0] + FLOODED:
        raise Failed(f"{received(strict) - before[0]} frames while {FLOODED} went to a stranger")


def link_follows(net, attachment):
    """The attachment says whether its bridge has a link; after a restart, too."""
    for state in ("up", "down", "up"):
        net.ip("link", "set", "br0", state)
        until(lambda s=state: attachment.now()["vf"]["link"] == s, 30, f"its link to be {state}")


def under_kills(scratch, net, daemon, kills, progress=None):
    a0 = daemon.attach("br0", "vm1", "net0")
    b0 = daemon.attach("br0", "vm2", "net0", "--queues", "2", "--set", "spoofchk=off")
    if len(ports(net)) != 2:
        raise Failed(f"the bridge has the ports {ports(net)}")
    with Qemu(scratch, without_reconnect(a0.vmm_args), name="a", memory=192) as a, Qemu(
        scratch, without_reconnect(b0.vmm_args), name="b", memory=192
    ) as b:
        a0.wait("active")
        b0.wait("active")
        network.bring_up(a, 1)
        network.bring_up(b, 2)
        sink = GuestSink(b, 2)
        job = network.start_endless(a, sink)
        storm([a0, b0], a, job, kills, progress)
        daemon.wait_restart(daemon.kill())
        storm([a0], a, job, 1)
        sent = network.end_stream(a, job, sink, 400)
        network.ping(a, network.HOST)
        not_for_others(net, a, b)
        restarts = a0.now()["restarts"] + b0.now()["restarts"]
        if not kills // 2 < restarts <= kills + 1:
            raise Failed(f"{restarts} restarts for {kills} kills: what was killed?")
    link_follows(net, a0)
    daemon.ctl("detach", a0.id)
    daemon.ctl("detach", b0.id)
    if ports(net):
        raise Failed(f"after detach the bridge has the ports {ports(net)}")
    return f"{kills} kills, {sent} numbers"


def test(scratch, kills=KILLS, progress=None):
    with Network() as net, Daemon(scratch, prefix=net.prefix) as daemon:
        return under_kills(scratch, net, daemon, kills, progress)


if __name__ == "__main__":
    main(test)
