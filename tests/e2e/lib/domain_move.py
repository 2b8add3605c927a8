# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts, each a libvirtd with an iovd, and a domain that moves between them.

    pair = Pair(stack, scratch, images)   # it runs on pair.here, each image a disk
    pair.move()                           # by iovctl; now pair.there is the host that it was on
    pair.guest.run(...)

    pair = Pair(stack, scratch, images, hooks=True)
    pair.move_by_virsh()                  # nobody asks iovd: its hooks do
    pair = Pair(stack, scratch, images, native=True)
    pair.move_by_virsh()                  # the same on QEMU's own virtio-blk
"""
from . import jobs
from .daemon import Daemon
from .libvirt import Domain, LibvirtHost, connect, hook
from .proc import Failed, until

VM = "web1"
NATIVE = """<disk type='file' device='disk'>
  <driver name='qemu' type='raw' cache='none' io='io_uring'/>
  <source file='{image}'/><target dev='{target}' bus='virtio'/>
</disk>"""
# One request after the other, until it is told to end: the longest is how long they stood still.
STREAM = "fio --name=job --filename={name} --rw=randwrite --bs=4k --iodepth=1 --direct=1 " \
    "--ioengine=psync --size=4m --time_based --runtime=900 --output-format=json >/tmp/stream & " \
    "echo $! >/tmp/stream.pid; wait; cat /tmp/stream"


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
        settings = f"address = unix://{socket}\n" if hooks else ""
        daemon = Daemon(self.scratch, libvirt=self.libvirt.uri, settings=settings)
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

    def wait_known(self):
        until(lambda: any(vm["name"] == VM for vm in self.daemon.ctl("list", "vms")["vms"]), 30,
              "the domain to be known")

    def wait_libvirt(self, times=1):
        """iovd, which was started so often, and its libvirt know each other."""
        until(lambda: self.daemon.log().count("connected to libvirt") >= times, 60, "libvirt")


class Pair:
    """The domain is defined, has the images as its disks, and is booted, on the first host."""

    def __init__(self, stack, scratch, images, hooks=False, native=False, memory=256):
        self.here, self.there = (Host(stack, scratch, n, hooks) for n in (1, 2))
        self.native = native
        connect(self.here.libvirt, self.there.libvirt)
        disks = [NATIVE.format(image=i, target=f"vd{t}") for i, t in zip(images, "abcdef")]
        domain = Domain(self.here.libvirt, VM, "".join(disks) if native else "", memory=memory)
        self.guest = stack.enter_context(domain)
        self.here.wait_known()
        self.there.wait_libvirt()
        for n, image in enumerate([] if native else images):
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
        """How long requests stood still in the guest while it moved, in ms."""
        number = self.guest.start(STREAM.format(name=name))
        self.guest.run("while ! [ -s /tmp/stream.pid ]; do sleep 0.1; done; sleep 1")
        move()
        self.guest.run("sleep 1; kill -INT $(cat /tmp/stream.pid); rm /tmp/stream.pid")
        return jobs.work(self.guest.result(number, 120)).longest_ms

    def end(self):
        """Ended and undefined by virsh alone, nothing is left on either host."""
        self.here.libvirt.virsh("destroy", VM)
        self.here.libvirt.virsh("undefine", VM)
        for host in (self.here, self.there):
            until(lambda host=host: not host.daemon.attachments(), 30, "its disks to be free")
            host.daemon.stop_all()
