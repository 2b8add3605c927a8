# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts, each a libvirtd with an iovd, and a domain that moves between them.

    pair = Pair(stack, scratch, images)   # it runs on pair.here, each image a disk
    pair.move()                           # by iovctl; now pair.there is the host that it was on
    pair.guest.run(...)

    pair = Pair(stack, scratch, images, hooks=True)
    pair.move_by_virsh()                  # nobody asks iovd: its hooks do
    pair = Pair(stack, scratch, images, hooks=True, channel=False)
    pair.move_by_virsh()                  # and they cannot ask each other
    pair = Pair(stack, scratch, images, native=True)
    pair.move_by_virsh()                  # the same on QEMU's own virtio-blk
"""
from guest import image

from . import blackout, jobs
from .daemon import Daemon
from .libvirt import PROMISES, Domain, LibvirtHost, connect, hook
from .proc import Failed, until

VM = "web1"
NATIVE = """<disk type='file' device='disk'>
  <driver name='qemu' type='raw' cache='none' io='io_uring'/>
  <source file='{image}'/><target dev='{target}' bus='virtio'/>
</disk>"""


def until_told(where, mib):
    """Round after round, each of which verifies all that it wrote, until a file is there; none begins
    while another one is."""
    out = f"/tmp/{where.strip('/').replace('/', '-')}.out"
    one = f"{jobs.verify(f'{where}/work', mib)} >{out} || exit 1"
    wait = "while [ -e /tmp/paused ]; do sleep 0.1; done"
    return f"n=0; while ! [ -e /tmp/over ]; do {wait}; {one}; n=$((n+1)); done; echo $n"


class Host:
    """A libvirtd and an iovd that is its own, in its network if `networked`."""

    def __init__(self, stack, scratch, number, hooks, channel, prefix=(), networked=False):
        self.scratch = scratch / f"host{number}"
        self.scratch.mkdir()
        socket = self.scratch / "run/iovd.sock"
        texts = {"qemu.d/iovd": hook(socket)} if hooks else {}
        self.libvirt = stack.enter_context(LibvirtHost(scratch, f"h{number}", number, texts))
        settings = f"address = unix://{socket}\n" if hooks and channel else ""
        uri = self.libvirt.uri
        if networked:
            prefix = ("nsenter", f"--target={self.libvirt.netns}", "-n", *prefix)
        daemon = Daemon(self.scratch, libvirt=uri, settings=settings, prefix=prefix)
        self.daemon = stack.enter_context(daemon)

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

    def told(self):
        """For a message: what iovd says, and has logged last."""
        return f"attachments {self.attachments()}; {self.daemon.tail()}"

    def wait_known(self):
        until(lambda: any(vm["name"] == VM for vm in self.daemon.ctl("list", "vms")["vms"]), 30,
              "the domain to be known")

    def wait_libvirt(self, times=1):
        """iovd, which was started so often, and its libvirt know each other."""
        until(lambda: self.daemon.log().count("connected to libvirt") >= times, 60, "libvirt")


class Pair:
    """The domain is defined, has the images as its disks, and is booted, on the first host."""

    def __init__(self, stack, scratch, images, hooks=False, native=False, memory=256,
                 build=image.qemu, channel=True, **host):
        self.here, self.there = (Host(stack, scratch, n, hooks, channel, **host) for n in (1, 2))
        self.native = native
        connect(self.here.libvirt, self.there.libvirt)
        disks = [NATIVE.format(image=disk, target=f"vd{t}") for disk, t in zip(images, "abcdef")]
        self.promises = scratch / "promises"  # see history.Inside
        devices = PROMISES.format(path=self.promises) + "".join(disks if native else [])
        domain = Domain(self.here.libvirt, VM, devices, memory=memory, build=build)
        self.guest = stack.enter_context(domain)
        self.here.wait_known()
        self.there.wait_libvirt()
        for n, disk in enumerate([] if native else images):
            device, *words = disk if isinstance(disk, tuple) else (disk,)
            self.here.daemon.attach(device, VM, f"d{n}", *words)
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
        if not self.native:
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

    def move_by_virsh(self, *more, arrive=True):
        """By virsh alone; arrive=False: the finished virsh, whatever became of it."""
        here, there = self.here.libvirt, self.there
        # Of files libvirt does not believe that both hosts have them.
        more = [*more, "--unsafe"] if self.native else more
        words = ["migrate", "--live", "--persistent", "--undefinesource", *more, VM,
                 there.libvirt.uri, "--migrateuri", there.address]
        if not arrive:
            return here.virsh_try(*words, seconds=240)
        here.virsh(*words, seconds=240)
        self.arrived()
        return None

    def blackout(self, move, name="/mnt/a/stream"):
        """How long requests stood still in the guest while it moved."""
        return blackout.measure(self.guest, name, move)

    def seen(self):
        """What both hosts say of it, for a message."""
        hosts = (("here", self.here), ("there", self.there))
        lines = [f"{name}: libvirt: {host.libvirt.state(VM)}, {host.told()}" for name, host in hosts]
        return "\n    ".join(lines)

    def end(self):
        """Ended and undefined by virsh alone, nothing is left on either host."""
        self.here.libvirt.virsh("destroy", VM)
        self.here.libvirt.virsh("undefine", VM)
        for host in (self.here, self.there):
            until(lambda host=host: not host.daemon.attachments(), 30, "its disks to be free")
            host.daemon.stop_all()
