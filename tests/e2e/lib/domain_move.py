# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts, each a libvirtd with an iovd, and a domain that moves between them.

    pair = Pair(stack, scratch, images)   # it runs on pair.here, each image a disk
    pair.move()                           # by iovctl; now pair.there is the host that it was on
    pair.guest.run(...)
"""
from . import jobs
from .daemon import Daemon
from .libvirt import Domain, LibvirtHost, connect, hook
from .proc import Failed, until

VM = "web1"


def until_told(where, mib):
    """Round after round, each of which verifies all that it wrote, until a file is there."""
    out = f"/tmp/{where.strip('/').replace('/', '-')}.out"
    one = f"{jobs.verify(f'{where}/work', mib)} >{out} || exit 1"
    return f"n=0; while ! [ -e /tmp/over ]; do {one}; n=$((n+1)); done; echo $n"


class Host:
    """A libvirtd and an iovd that is its own."""

    def __init__(self, stack, scratch, number, hooks):
        self.scratch = scratch / f"host{number}"
        self.scratch.mkdir()
        socket = self.scratch / "run/iovd.sock"
        texts = {"qemu.d/iovd": hook(socket)} if hooks else {}
        self.libvirt = stack.enter_context(LibvirtHost(scratch, f"h{number}", number, texts))
        self.daemon = stack.enter_context(Daemon(self.scratch, libvirt=self.libvirt.uri))

    @property
    def iovd(self):
        return f"unix://{self.daemon.socket}"

    @property
    def address(self):
        return f"tcp://{self.libvirt.address}"

    def attachments(self):
        return [a for a in self.daemon.attachments() if a["vm"] == VM]

    def states(self):
        return {a["state"] for a in self.attachments()}

    def wait_known(self):
        until(lambda: any(vm["name"] == VM for vm in self.daemon.ctl("list", "vms")["vms"]), 30,
              "the domain to be known")

    def wait_libvirt(self):
        """iovd and its libvirt know each other."""
        until(lambda: "connected to libvirt" in self.daemon.log(), 60, "iovd to see libvirt")


class Pair:
    """The domain is defined, has the images as its disks, and is booted, on the first host."""

    def __init__(self, stack, scratch, images, hooks=False, memory=256):
        self.here, self.there = (Host(stack, scratch, n, hooks) for n in (1, 2))
        connect(self.here.libvirt, self.there.libvirt)
        self.guest = stack.enter_context(Domain(self.here.libvirt, VM, memory=memory))
        self.here.wait_known()
        self.there.wait_libvirt()
        for n, image in enumerate(images):
            self.here.daemon.attach(image, VM, f"d{n}")
        self.guest.boot()

    def words(self, *more):
        """Of the command that moves it."""
        there = self.there
        return ("migrate", VM, there.libvirt.uri, "--iovd", there.iovd, "--address", there.address,
                *more)

    def arrived(self):
        """It runs on the other host now."""
        here, there = self.here, self.there
        self.guest.moved(there.libvirt)
        until(lambda: there.states() == {"active"}, 60, "the disks to be active there")
        until(lambda: not here.attachments(), 60, "nothing to be left here")
        if here.libvirt.state(VM) == "running":
            raise Failed("it runs on both hosts")
        self.here, self.there = there, here

    def move(self, *more):
        """By iovctl; what it printed."""
        shown = self.here.daemon.ctl(*self.words(*more), seconds=240)
        self.arrived()
        return shown

    def end(self):
        """Ended and undefined by virsh alone, nothing is left on either host."""
        self.here.libvirt.virsh("destroy", VM)
        self.here.libvirt.virsh("undefine", VM)
        for host in (self.here, self.there):
            until(lambda host=host: not host.daemon.attachments(), 30, "its disks to be free")
            host.daemon.stop_all()
