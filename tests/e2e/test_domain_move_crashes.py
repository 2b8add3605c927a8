# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""A domain moves under verified I/O, and each time something dies: an iovd, a worker, a libvirtd, a QEMU,
of either side, or the network between them. Afterwards it runs on exactly one host, with its disks there and
nothing left on the other; or, when the QEMU died that had it, on none, and both are clean."""
import contextlib
import signal
from contextlib import ExitStack

from lib import disk, jobs
from lib.daemon import Attachment, kill_pid
from lib.domain_move import VM, Pair, until_told
from lib.libvirt import set_link
from lib.proc import Failed, Process, until
from lib.report import main
from lib.servers import program

MIB = 4
# How far the move is when it happens, as the iovd of the source logs it.
STAGES = {"sending": "the baton is ready", "gone": "the baton is left", "there": "the baton is taken"}


def iovd(host):
    host.daemon.kill()


def worker(host):
    for shown in host.attachments():
        if shown["worker_pid"]:
            Attachment(host.daemon, shown).kill_worker(shown["worker_pid"])


def qemu(host):
    pid = until(lambda: host.libvirt.qemu(VM), 60, "a QEMU")
    kill_pid(pid, "qemu-system-x86_64")


def libvirtd(host):
    """As where a service manager starts it again."""
    host.libvirt.stop(signal.SIGKILL)
    host.libvirt.start()


def link(host):
    set_link(host.libvirt, "down")


# What dies, where, and when, in the tests; all of it at each stage in the campaign.
SCENES = (
    (iovd, "here", "gone"),
    (iovd, "there", "sending"),
    (worker, "here", "sending"),
    (worker, "there", "there"),
    (libvirtd, "here", "sending"),
    (libvirtd, "there", "sending"),
    (qemu, "there", "sending"),
    (link, "here", "sending"),
)


class Scene:
    def __init__(self, stack, scratch):
        self.image = disk.ext4(scratch / "0.img", 64)
        self.scratch = scratch
        self.pair = Pair(stack, scratch, [self.image])
        self.moves = 0
        self.begin_work()

    def begin_work(self):
        guest = self.pair.guest
        guest.run("mkdir -p /mnt/a && mount /dev/vda /mnt/a")
        self.work = guest.start(until_told("/mnt/a", MIB))

    def hosts(self):
        return self.pair.here, self.pair.there

    def running(self):
        """The hosts on which it runs, when all is settled; else None."""
        found, clean = [], True
        for host in self.hosts():
            state, states = host.libvirt.state(VM), host.states()
            if state == "running" and states == {"active"}:
                found.append(host)
            elif state == "shut off":
                clean = clean and states <= {"ready"}
            else:
                clean = clean and state == "" and not states
        if len(found) > 1:
            raise Failed("it runs on both hosts")
        return found if clean else None

    def _settled(self):
        self.found = self.running()
        return self.found is not None

    def settle(self, what):
        for host in self.hosts():
            host.daemon.wait_answer()
        try:
            until(self._settled, 150, "the move to be over", every=0.3)
        except Failed:
            seen = [(host.libvirt.state(VM), host.attachments()) for host in self.hosts()]
            tails = "\n".join(host.daemon.tail() for host in self.hosts())
            raise Failed(f"{what}: it is not over: {seen}\n{tails}") from None

    def lives(self, what):
        """It goes on working where it is."""
        if not self.found:
            raise Failed(f"{what}: it runs nowhere")
        if self.found[0] is self.pair.there:
            self.turn()
            self.pair.guest.moved(self.pair.here.libvirt)
        guest = self.pair.guest
        guest.run("dd if=/dev/urandom of=/mnt/a/sync bs=4k count=16 conv=fsync 2>/dev/null", 120)
        if guest.done(self.work):
            raise Failed(f"{what}: the work has ended: {guest.out('tail -5 /tmp/*.out')}")

    def turn(self):
        self.pair.here, self.pair.there = self.pair.there, self.pair.here

    def revive(self):
        """The QEMU that had it has died: it is started anew, from the one definition that is left."""
        defined = [host for host in self.hosts() if host.libvirt.state(VM) == "shut off"]
        if len(defined) != 1 or not defined[0].attachments():
            raise Failed(f"it is defined on {len(defined)} hosts: {defined}")
        if defined[0] is self.pair.there:
            self.turn()
        self.pair.guest.host = self.pair.here.libvirt
        self.pair.guest.boot()
        self.begin_work()

    def reach(self, stage, at, move):
        """How far it is; one that ends before that fails the test."""
        log = self.pair.here.daemon.log
        until(lambda: STAGES[stage] in log()[at:] or not move.alive(), 60, stage, every=0.005)
        if STAGES[stage] not in log()[at:]:
            raise Failed(f"the move has ended before '{STAGES[stage]}': {move.tail()}")

    def mend(self, move):
        """When the move is given up; or, where all was sent already, so that it can arrive."""
        with contextlib.suppress(Failed):
            until(lambda: not move.alive(), 30, "iovctl to end")
        set_link(self.pair.here.libvirt, "up")

    def kill(self, what, side, stage):
        """A move in which that dies; whether it moved."""
        here, there = self.hosts()
        self.moves += 1
        ctl = [program("iovctl"), "-s", here.daemon.socket, *self.pair.words("--timeout", "20000")]
        at = len(here.daemon.log())
        with Process(ctl, self.scratch / f"move{self.moves}") as move:
            self.reach(stage, at, move)
            what(here if side == "here" else there)
            if what is link:
                self.mend(move)
            until(lambda: not move.alive(), 150, "iovctl to end")
        name = f"{what.__name__} {side}, {stage}"
        self.settle(name)
        if what is qemu and not self.found:
            self.revive()
            print(f"{name}: died", flush=True)
            return False
        self.lives(name)
        moved = self.pair.here is there
        print(f"{name}: {'moved' if moved else 'stayed'}", flush=True)
        return moved

    def end(self):
        guest = self.pair.guest
        guest.run("touch /tmp/over")
        rounds = int(guest.result(self.work, 240).output)
        guest.run("umount /mnt/a")
        guest.expect_no_complaints()
        self.pair.end()
        disk.fsck(self.image)
        return rounds


def test(scratch, scenes=SCENES):
    with ExitStack() as stack:
        scene = Scene(stack, scratch)
        moved = sum(scene.kill(*one) for one in scenes)
        rounds = scene.end()
    return f"{len(scenes)} deaths: it moved {moved} times; {rounds} rounds verified"


if __name__ == "__main__":
    main(test)
