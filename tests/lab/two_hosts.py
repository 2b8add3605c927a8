# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine moves between two lab hosts, each with a kernel and a page cache of its own, while its disk is
an export of one NBD server that runs out here.

What a kernel has in its page cache the other one cannot know of: the hosts of the other tests are
namespaces of one kernel, which hides that. Here each host has read the volume as it was just before the
move, if not for its guest then because moving.py does; afterwards the guest, with no cache of its own,
reads what was written on the other host, and writes the next.

Each host reaches this machine's loopback as 10.0.3.2, and is reached by two forwarded ports: one for the
other iovd (`iovctl bridge`, in place of ssh), one for QEMU's stream. What runs inside is moving.py, which
is told step by step what to do, by files in the results folder.
"""
import contextlib
import json
import pathlib

from lib import disk
from lib.nbd import Nbdkit, free_port
from lib.proc import Failed, Skipped

from guest import cache, image

from . import hosts, lab, machine

INSIDE = pathlib.Path(__file__).with_name("moving.py")
INSIDE_SECONDS = 6000
STEP_SECONDS = 900
OUTSIDE = "10.0.3.2"
VM_ADDRESS = "10.0.3.15"
BRIDGE, STREAM = 7000, 7001  # ports inside
FILES = 8
# Read past the guest's own cache; then the next generation is written.
CHECK = "umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda /mnt && cd /mnt && md5sum -c sums"
WRITE = (
    f"cd /mnt && for n in $(seq {FILES}); do dd if=/dev/urandom of=f$n bs=64k count=4 2>/dev/null "
    "|| exit 1; done; md5sum f* >sums && sync"
)


class Side:
    """One of the two hosts, and the guest while it is there."""

    def __init__(self, stack, name):
        self.name = name
        self.bridge, self.stream = free_port(), free_port()
        host = hosts.parse("vtd")._replace(name=f"move-{name}")
        self.folder = lab.folder_of(host)
        forwards = f"hostfwd=tcp:127.0.0.1:{self.bridge}-{VM_ADDRESS}:{BRIDGE}," \
                   f"hostfwd=tcp:127.0.0.1:{self.stream}-{VM_ADDRESS}:{STREAM}"
        extra = ["-netdev", f"user,id=link,net=10.0.3.0/24,{forwards}",
                 "-device", "virtio-net-pci,netdev=link,mac=52:54:00:1a:b0:03"]
        topic = {"name": "moving", "path": str(INSIDE), "timeout": INSIDE_SECONDS}
        job = {"environment": machine.environment(host), "topics": [topic]}
        self.vm = stack.enter_context(machine.Machine(host, self.folder, job, extra=extra))
        self.count = 0

    @property
    def uri(self):
        return f"ssh://{OUTSIDE}:{self.bridge}"

    def begin(self, verb, **words):
        """A step; finish() waits for its end."""
        self.count += 1
        path = self.folder / f"step{self.count}.json"
        path.with_suffix(".new").write_text(json.dumps({"verb": verb, **words}))
        path.with_suffix(".new").rename(path)

    def finish(self):
        limit = machine.deadline(machine.BOOT_SECONDS + STEP_SECONDS)
        while True:
            event = self.vm.event(limit)
            if event["event"] == "out" and event["text"].startswith(f"done {self.count} "):
                return json.loads(event["text"].split(" ", 2)[2])
            if event["event"] == "out":
                print(f"    {self.name}: {event['text']}", flush=True)
            elif event["event"] == "end":
                raise Failed(f"{self.name}: {event['why']}")

    def do(self, verb, **words):
        self.begin(verb, **words)
        return self.finish()


def move(here, there, volume):
    """QEMU's own migration, between the steps of iovctl."""
    here.do("reserve", to=there.uri, volume=volume)
    there.do("expect")
    seen = there.do("look")  # its kernel has all of it as it is now
    status = here.do("send", to=f"tcp:{OUTSIDE}:{there.stream}")
    if status != "completed":
        raise Failed(f"QEMU's migration from {here.name}: {status}")
    here.do("finish", to=there.uri)
    there.do("adopt", **here.do("let_go"))
    return seen


def test(scratch, moves):
    """Moves it that often, back and forth; a line on the whole."""
    try:
        image.qemu()
    except cache.Unavailable as error:
        raise Skipped(str(error)) from error
    volume_file = disk.ext4(scratch / "volume.img", 64)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Nbdkit(volume_file, scratch, port=free_port()))
        volume = server.uri.replace("127.0.0.1", OUTSIDE)
        here, there = (Side(stack, name) for name in ("a", "b"))
        for side in (here, there):
            side.begin("start")
        kernels = {side.finish() for side in (here, there)}
        if len(kernels) != 2:
            raise Failed(f"the hosts have one kernel: {kernels}")
        here.do("attach", volume=volume)
        here.do("boot")
        here.do("run", script=f"mount /dev/vda /mnt && {WRITE}")
        read = 0
        for number in range(moves):
            read += move(here, there, volume)
            here, there = there, here
            here.do("run", script=CHECK)
            here.do("run", script=WRITE)
            print(f"move {number + 1}: {here.name} has read what was written there", flush=True)
        here.do("run", script=f"{CHECK} && cd / && umount /mnt")
        here.do("complaints")
        for side in (here, there):
            side.do("end")
    disk.fsck(volume_file)
    return f"{moves} moves between two kernels; {read >> 20} MiB were read by whoever was to get it " \
           "just before, and nothing old afterwards"
