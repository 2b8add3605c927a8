# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirt domain whose guest has a virtual function of the lab's igb and a virtio card beside it, on a
network with this host:

    with pair(scratch) as p:        # p.iovd, p.libvirt, p.domain, p.igb; the attachment is `lan`
        p.boot()
        p.domain.start(f"nc {HOST} ...")
        p.wait_word("on standby")
"""
import contextlib
import time
import typing

import inside
from guest import image
from inside import Failed, Iovd, device, expect, expect_equal, netdev, until, wait_for

from lib import guest, libvirt, proc
from vmms import shown, wait_state

MAC = "52:54:00:aa:bb:07"
HOST, GUEST = "10.9.0.1", "10.9.0.2"
LOOKS = 0.5  # seconds between two: each takes time from the guest
_BEGAN = time.monotonic()


def step(text):
    """Where it is, for whoever waits."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s: {text}", flush=True)


def _net(*words, inside_of=None):
    enter = ["nsenter", f"--target={inside_of.netns}", "-n"] if inside_of else []
    proc.run([*enter, *words])


def _ip(*words, inside_of=None):
    _net("ip", *words, inside_of=inside_of)


@contextlib.contextmanager
def _network(host, pf):
    """lan0 here, with the PF, and lan0 in libvirt's namespace, where the standby will be: one network.
    The PF's switch gives this host what its functions send to the PF's own address, and puts all else on
    the wire: so that is lan0's, which would else have the lowest one of its ports', a random one. The
    other bridge is there only because libvirt has a network of its own: it learns nothing of this side,
    or it would go on sending the guest's frames here."""
    address = inside.read(f"/sys/class/net/{pf}/address")
    _ip("link", "add", "lan0", "address", address, "type", "bridge")
    _ip("link", "add", "lan0", "type", "bridge", inside_of=host)
    _ip("link", "add", "up0", "type", "veth", "peer", "down0", "netns", str(host.netns))
    for name in pf, "up0":
        _ip("link", "set", name, "master", "lan0", "up")
    _ip("link", "set", "down0", "master", "lan0", "up", inside_of=host)
    _net("bridge", "link", "set", "dev", "down0", "learning", "off", inside_of=host)
    _ip("link", "set", "lan0", "up", inside_of=host)
    _ip("address", "add", f"{HOST}/24", "dev", "lan0")
    _ip("link", "set", "lan0", "up")
    try:
        yield
    finally:
        _ip("link", "delete", "lan0")
        _ip("link", "delete", "up0")


class Pair(typing.NamedTuple):
    """What there is."""

    iovd: Iovd
    libvirt: libvirt.LibvirtHost
    domain: libvirt.Domain
    igb: str  # the PF

    def shown(self):
        return shown(self.iovd, "lan")

    def wait_word(self, word, leaves=None, seconds=60):
        """Waits for a word of the attachment's (or one of several), after so many leaves; what it shows
        then."""
        seen, words = [None], (word,) if isinstance(word, str) else word

        def there():
            seen[0] = self.shown()
            return seen[0]["redundancy"] in words and leaves in (None, seen[0]["vf"]["leaves"])

        try:
            until(there, seconds, " or ".join(words), every=LOOKS)
        except Failed as error:
            raise Failed(f"{error}: {seen[0]}") from error
        return seen[0]

    def do(self, *words):
        """iovctl, however long it takes in an emulated machine."""
        answer = self.iovd.iovctl(*words, seconds=120)
        if answer.status == 3:
            self.iovd.ok("job", answer.json["error"]["job"], "--wait", 300000, seconds=320)
        else:
            expect(not answer.status, f"iovctl {words}: {answer.text}")

    def boot(self):
        """Boots the guest: its interface with both below it is up, and reaches this host."""
        web1 = self.domain
        step("the domain is started")
        web1.boot()
        drivers = "ls -l /sys/class/net/*/device/driver"
        wait_for(lambda: "igbvf" in web1.out(drivers), "the guest's function", 60)
        masters = "cd /sys/class/net; for i in eth*; do [ -e $i/master ] || echo $i; done"
        names = web1.out(masters).split()
        expect_equal(len(names), 1, f"interfaces that are no part of another: {names}")
        web1.run(f"ip link set {names[0]} up && ip address add {GUEST}/24 dev {names[0]}")
        ping = f"ping -c 1 -W 1 {HOST}"
        wait_for(lambda: web1.run(ping, check=False).status == 0, "the network", 60)
        wait_state(self.iovd, self.shown()["id"], "active")
        step("it has booted")


@contextlib.contextmanager
def pair(scratch, functions=3):
    """All of it, shut off, and its end: the attachment is taken back, the functions are removed."""
    inside.load_kvm()
    inside.modprobe("-a", "bridge", "tun", "veth")
    guest.accelerator = lambda kernel=None: ("kvm", "host")  # whether it works is not asked: it must
    proc.PATIENCE *= 5  # an emulated machine in an emulated machine
    igb = device("igb")
    hooks = {"qemu.d/iovd": libvirt.hook(scratch / "run/iovd.sock")}
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(libvirt.LibvirtHost(scratch, "h1", hooks=hooks))
        step("libvirt runs")
        iovd = stack.enter_context(Iovd(scratch, libvirt=host.uri))
        iovd.ok("vf", "create", igb, functions, seconds=180)
        stack.enter_context(_network(host, netdev(igb)))
        web1 = libvirt.Domain(host, "web1", shared=False, build=image.qemu_vf)
        stack.enter_context(web1)
        wait_for(lambda: iovd.ok("list", "vms")["vms"], "the domain to be known", 60)
        found = Pair(iovd, host, web1, igb)
        found.do("attach", f"vf:{igb}", "web1", "--as", "lan", "--standby", "lan0",
                 "--set", f"mac={MAC}")
        expect_equal(found.shown()["redundancy"], "redundant", "at first")
        yield found
        host.virsh_try("destroy", "web1")
        wait_state(iovd, found.shown()["id"], "ready", 60)
        found.do("detach", "lan")
        expect("lan0" not in host.xml("web1", "--inactive"), "its standby is left")
        iovd.ok("vf", "create", igb, 0, seconds=180)
