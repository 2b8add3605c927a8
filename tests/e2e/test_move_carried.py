# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 400
"""A machine moves while one of its two disks does nothing: 64 requests are in flight there, the disk's
server is ended, which proves that they are not done, and the other host, which has a better way to the
volume, does them, each once. Where nothing proves it the machine stays, and goes on.
"""
import re
from contextlib import ExitStack

from lib import disk, jobs
from lib.move import VM, Host, Machine, migrate
from lib.nbd import Nbdkit
from lib.proc import Failed, until
from lib.report import main

DEPTH = 64
MIB = 4
CARRY_MS = 4000
FENCE = """#!/bin/sh
kill -9 "$(cat "$1")"
while readlink "/proc/$(cat "$1")/exe"; do sleep 0.01; done
exit 0
"""
# On the other disk, one request after the other.
STREAM = "fio --name=job --filename=/mnt/a/stream --rw=randwrite --bs=4k --direct=1 --ioengine=psync " \
    "--size=4m --time_based --runtime=900 --output-format=json >/tmp/stream & " \
    "echo $! >/tmp/stream.pid; wait; cat /tmp/stream"
# Round after round, until it is told to end.
WORK = "n=0; while ! [ -e /tmp/over ]; do " \
    f"{jobs.verify('/mnt/b/work', MIB, iodepth=DEPTH)} >/tmp/out || exit 1; n=$((n+1)); done; echo $n"


def expect(is_so, words):
    if not is_so:
        raise Failed(words)


class Volume:
    """A file that two servers have, one for each host; where a file says so the first one is not ended."""

    def __init__(self, stack, scratch, name="stuck"):
        self.image = disk.ext4(scratch / f"{name}.img", 64)
        self.server, self.other = (stack.enter_context(Nbdkit(self.image, scratch, f"{name}-{where}"))
                                   for where in ("here", "there"))
        self.fence = scratch / f"{name}.fence"
        pid = scratch / f"{name}.pid"
        pid.write_text(str(self.server.pid))
        self.command = f"{self.fence} {pid}"
        self.can_end(True)

    def can_end(self, can):
        self.fence.write_text(FENCE if can else "#!/bin/sh\nexit 1\n")
        self.fence.chmod(0o700)


def at(event):
    return event["timestamp"]["seconds"] * 1000 + event["timestamp"]["microseconds"] / 1000


def blackout(old, new):
    """By QEMU's clocks: from the stop there, which QEMU only tells when its rings have stopped, to the
    first step here."""
    sent = old.qmp.command("query-migrate")["downtime"]
    return at(new.qmp.event("RESUME", 60)) - at(old.qmp.last["MIGRATION"]) + sent


def is_stuck(one, server):
    """Nothing passes any more; with too few requests on their way, it may go on for a while."""
    server.freeze()
    try:
        until(lambda: one.now()["in_flight"] >= DEPTH, 2, "requests that are stuck")
    except Failed:
        server.thaw()
        return False
    return True


def stick(one, server):
    until(lambda: is_stuck(one, server), 60, "a server that is stuck")


def carried(daemon, one):
    return int(re.findall(rf"(\d+) requests of {one.id} are carried", daemon.log())[-1])


def expect_replayed(daemon, count):
    """All of them, and none twice: its worker serves before it has begun with the first."""
    def replayed():
        return daemon.ctl("show", f"{VM}/d1")["attachment"]["replayed"]

    until(lambda: replayed() >= count, 60, f"{count} requests to be done")
    expect(replayed() == count, f"{count} carried, and {replayed()} done")


class Scene:
    def __init__(self, stack, scratch, carry_ms):
        self.hosts = [stack.enter_context(Host(scratch, name)) for name in ("a", "b")]
        here = self.hosts[0].daemon
        self.volume = Volume(stack, scratch)
        self.image = disk.ext4(scratch / "0.img", 64)
        here.attach(self.image, VM, "d0")
        self.one = here.attach(self.volume.server.uri, VM, "d1", "--on-error", "hold",
                               "--io-timeout", "0", "--fence", self.volume.command)  # fmt: skip
        words = ("--map", f"d1={self.volume.other.uri}", "--carry", str(carry_ms))
        self.machine = Machine(stack, self.hosts[0], begin=words, memory=256)
        guest = self.machine.guest
        guest.run("mkdir /mnt/a /mnt/b && mount /dev/vda /mnt/a && mount /dev/vdb /mnt/b")
        self.stream = guest.start(STREAM)
        self.work = guest.start(WORK)

    def end(self):
        """How many MiB were verified, and the longest that a request took on the other disk."""
        guest = self.machine.guest
        guest.run("touch /tmp/over")
        verified = int(guest.result(self.work, 240).output) * MIB
        guest.run("sleep 1; kill -INT $(cat /tmp/stream.pid)")
        longest = jobs.work(guest.result(self.stream, 120)).longest_ms
        guest.run("umount /mnt/a /mnt/b")
        guest.expect_no_complaints()
        return verified, longest


def stays(scene):
    """Nothing proves that they are not done: they are done here, whether the move was aborted or not."""
    here, there = scene.hosts
    scene.volume.can_end(False)
    stick(scene.one, scene.volume.server)
    new, uri = scene.machine.begin(there)
    source = scene.machine.guest
    migrate(source, uri)
    done = here.daemon.ctl("migrate", VM, there.uri, "--end", check=False, seconds=90)
    expect(done.returncode == 1 and "MIG-STUCK" in done.stderr, f"{done.returncode}: {done.stderr}")
    expect(there.states() == ["incoming"] * 2, f"there: {there.attachments()}")
    new.__exit__(None, None, None)
    source.qmp.command("cont")
    until(lambda: "web1: goes on here" in here.daemon.log(), 60, "the machine to go on")
    scene.volume.server.thaw()
    source.run("dd if=/dev/urandom of=/mnt/b/sync bs=4k count=16 conv=fsync 2>/dev/null", 120)
    here.daemon.ctl("migrate", VM, there.uri, "--abort", seconds=90)
    until(lambda: not there.attachments(), 60, "the reservation to go")


def leaves(scene):
    """How many requests were carried, and how long the machine stood still."""
    here, there = scene.hosts
    scene.volume.can_end(True)
    stick(scene.one, scene.volume.server)
    new, uri = scene.machine.begin(there)
    source = scene.machine.guest
    status = migrate(source, uri)
    stood_still = blackout(source, new)
    scene.machine.finish(there, new, status)
    count = carried(here.daemon, scene.one)
    expect(count >= DEPTH, f"only {count} were carried")
    expect_replayed(there.daemon, count)
    return count, stood_still


def test(scratch, carry_ms=CARRY_MS, at_most_ms=None):
    with ExitStack() as stack:
        scene = Scene(stack, scratch, carry_ms)
        stays(scene)
        count, stood_still = leaves(scene)
        verified, longest = scene.end()
    for path in (scene.image, scene.volume.image):
        disk.fsck(path)
    note = (f"{count} requests carried, {verified} MiB verified; the machine stood still for "
            f"{stood_still:.0f} ms, the other disk for {longest:.0f} ms")  # fmt: skip
    expect(not at_most_ms or stood_still <= at_most_ms, note)
    return note


if __name__ == "__main__":
    main(test)
