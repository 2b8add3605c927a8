# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A domain moves by `virsh migrate` between two hosts whose iovds cannot talk with each other: the lease
on its disks is passed on. A worker's death gives nothing away, a destination that ends before the domain
runs there gives it back, and what can hold no lease does not begin to move."""
import fcntl
import os
import signal
import struct
from contextlib import ExitStack

from lib import disk, nbd
from lib.daemon import Attachment, kill_pid
from lib.domain_move import VM, Pair, until_told
from lib.proc import Failed, Process, Skipped, until
from lib.report import main

MIB = 4
# Where an iovd is killed, once in a move: whoever comes by first. All of them in the campaign.
POINTS = ("baton.ready", "lease-sync", "baton.left", "lease-pass", "lease-look", "baton.taken",
          "baton.ending", "lease-claim", "baton.reserved", "lease-arrive", "baton.granted", "gate.turn")
ATTRIBUTE = "user.iovd.lease"
# Where the two locks are (daemon/lease_hand.c): the lease, and the claim of who waits for it.
LEASE, CLAIM = (1 << 62) - 3, (1 << 62) - 2
F_OFD_GETLK = 36


def expect(condition, what):
    if not condition:
        raise Failed(what)


def is_locked(path, byte):
    with open(path, "rb+") as file:
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        found = fcntl.fcntl(file, F_OFD_GETLK, lock)
    return struct.unpack("hhqqi4x", found)[0] != fcntl.F_UNLCK


def written(path):
    """(epoch, state, host)"""
    words = os.getxattr(path, ATTRIBUTE).decode().split()
    expect(words[0] == "iovd-lease/1" and len(words) == 6, f"{path}: {words}")
    return int(words[1]), words[2], words[3]


def need_attributes(scratch):
    probe = scratch / "probe"
    probe.write_text("")
    try:
        os.setxattr(probe, ATTRIBUTE, b"")
    except OSError as error:
        raise Skipped(f"no extended attributes in {scratch}: {error}") from error


class Scene:
    """Two disks at work, on two hosts without a channel."""

    def __init__(self, stack, scratch):
        self.scratch = scratch
        self.fault = scratch / "fault"
        os.environ["IOVD_FAULT"] = str(self.fault)
        self.images = [disk.ext4(scratch / f"{n}.img", 64) for n in range(2)]
        self.pair = Pair(stack, scratch, self.images, hooks=True, channel=False)
        self.moves = 0
        guest = self.pair.guest
        guest.run("mkdir /mnt/a /mnt/b && mount /dev/vda /mnt/a && mount /dev/vdb /mnt/b")
        self.work = [guest.start(until_told(f"/mnt/{where}", MIB)) for where in ("a", "b")]
        self.wait_held()

    def wait_held(self):
        """The leases are of the host that it runs on."""
        here = self.pair.here
        until(lambda: {a["lease"] for a in here.attachments()} == {"held"}, 60, "the leases")
        for path in self.images:
            expect(is_locked(path, LEASE) and written(path)[1] == "held", f"{path}: no lease")

    def lives(self, what):
        guest = self.pair.guest
        guest.run("dd if=/dev/urandom of=/mnt/a/sync bs=4k count=16 conv=fsync 2>/dev/null", 120)
        if any(guest.done(number) for number in self.work):
            raise Failed(f"{what}: the work has ended: {guest.out('tail -5 /tmp/*.out')}")

    def begin(self, *more):
        """virsh's migration, under way."""
        here, there = self.pair.here.libvirt, self.pair.there
        self.moves += 1
        words = ["virsh", "-q", "-c", here.uri, "migrate", "--live", "--persistent",
                 "--undefinesource", *more, VM, there.libvirt.uri, "--migrateuri", there.address]
        return Process(words, self.scratch / f"move{self.moves}")

    def reach(self, host, words, at, move):
        """Its iovd has said so since; a move that ends before that fails the test."""
        until(lambda: words in host.daemon.log()[at:] or not move.alive(), 120, words, every=0.005)
        expect(words in host.daemon.log()[at:], f"it has ended before '{words}': {move.tail()}")

    def end(self):
        guest = self.pair.guest
        guest.run("touch /tmp/over")
        rounds = [int(guest.result(number, 240).output) for number in self.work]
        guest.run("umount /mnt/a /mnt/b")
        guest.expect_no_complaints()
        self.pair.end()
        for image in self.images:
            disk.fsck(image)
        return sum(rounds) * MIB


def moves(scene):
    """Passed on by one, had by the other: the epoch says how often it changed hands."""
    before = [written(path) for path in scene.images]
    scene.pair.move_by_virsh()
    scene.wait_held()
    for path, (epoch, _, host) in zip(scene.images, before):
        now = written(path)
        expect(now[0] == epoch + 2 and now[2] != host, f"{path}: {now} after {epoch}, {host}")
        expect(not is_locked(path, CLAIM), f"{path}: somebody waits for it still")
    scene.lives("moved")


def killed_at(scene, point):
    """It arrives all the same; or, when the one who should take it dies, stays. Whether it moved."""
    pair = scene.pair
    scene.fault.write_text(point)
    done = pair.move_by_virsh(arrive=False)
    until(lambda: not scene.fault.exists(), 60, f"somebody to come by {point}")
    for host in (pair.here, pair.there):
        host.daemon.wait_answer()
    if done.returncode:
        stayed(scene, point)
    else:
        pair.arrived()
        scene.wait_held()
        scene.lives(point)
    print(f"killed at {point}: {'stayed' if done.returncode else 'moved'}", flush=True)
    return not done.returncode


def stayed(scene, what):
    """It runs where it was, has its disks, and nothing is left on the other host."""
    here, there = scene.pair.here, scene.pair.there
    until(lambda: here.libvirt.state(VM) == "running", 60, f"{what}: the domain to run here")
    until(lambda: not there.attachments(), 120, f"{what}: the reservation to go")
    until(lambda: here.states() == {"active"}, 120, f"{what}: the disks to be active here")
    scene.wait_held()
    for path in scene.images:
        expect(not is_locked(path, CLAIM), f"{path}: somebody waits for it still")
    scene.lives(what)


def killed_while_sending(scene):
    """The source's workers die, then the destination's QEMU, before the domain has stopped."""
    here, there = scene.pair.here, scene.pair.there
    before = [written(path) for path in scene.images]
    at = len(here.daemon.log())
    here.libvirt.virsh("migrate-setspeed", VM, "4")
    with scene.begin() as move:
        scene.reach(here, "the baton is ready", at, move)
        for shown in here.attachments():
            Attachment(here.daemon, shown).kill_worker(shown["worker_pid"])
        for path in scene.images:
            expect(is_locked(path, LEASE), f"{path}: its lease died with a worker")
            expect(is_locked(path, CLAIM), f"{path}: nobody waits for it")
        expect([written(path) for path in scene.images] == before, "the lease has changed")
        kill_pid(there.libvirt.qemu(VM), "qemu-system-x86_64")
        until(lambda: not move.alive(), 150, "virsh to end")
    stayed(scene, "killed while sending")
    expect([written(path) for path in scene.images] == before, "the lease has changed hands")


def killed_after_passing(scene):
    """The destination's QEMU dies when the source has passed the lease on, and before it runs there."""
    here, there = scene.pair.here, scene.pair.there
    before = [written(path) for path in scene.images]
    at = len(here.daemon.log())
    # Its memory is sent after it has stopped.
    here.libvirt.virsh("migrate-setspeed", VM, "100000")
    here.libvirt.virsh("migrate-setmaxdowntime", VM, "600000")
    with scene.begin() as move:
        scene.reach(here, "the baton is left", at, move)
        os.kill(there.libvirt.qemu(VM), signal.SIGSTOP)
        until(lambda: all(written(path)[1] == "passed" for path in scene.images), 60,
              "the leases to be passed on")
        kill_pid(there.libvirt.qemu(VM), "qemu-system-x86_64")
        until(lambda: not move.alive(), 150, "virsh to end")
    stayed(scene, "killed after passing")
    for path, (epoch, _, host) in zip(scene.images, before):
        now = written(path)
        expect(now == (epoch + 2, "held", host), f"{path}: {now} after {epoch}, {host}")


def no_lease(scratch):
    """A volume that can hold none: libvirt is told before it sends anything."""
    with ExitStack() as stack:
        image = disk.blank(scratch / "nbd.img", 16)
        server = stack.enter_context(nbd.Nbdkit(image, scratch))
        pair = Pair(stack, scratch, [server.uri], hooks=True, channel=False)
        done = pair.move_by_virsh(arrive=False)
        expect(done.returncode and "MIG-NO-BATON" in done.stderr, f"virsh: {done.stderr}")
        expect(pair.here.libvirt.state(VM) == "running", "it does not run any more")
        expect(pair.here.states() == {"active"}, f"its disk: {pair.here.attachments()}")
        expect(not pair.there.attachments() and not pair.there.libvirt.state(VM), "it began")
        pair.guest.run("dd if=/dev/urandom of=/dev/vda bs=4k count=16 conv=fsync 2>/dev/null", 120)
        pair.end()


def test(scratch, points=("lease-pass",)):
    need_attributes(scratch)
    with ExitStack() as stack:
        scene = Scene(stack, scratch)
        killed_while_sending(scene)
        killed_after_passing(scene)
        moves(scene)
        moved = sum(killed_at(scene, point) for point in points)
        verified = scene.end()
    other = scratch / "other"
    other.mkdir()
    no_lease(other)
    return f"moved by lease, {moved} times with an iovd killed in it, {verified} MiB verified"


if __name__ == "__main__":
    main(test)
