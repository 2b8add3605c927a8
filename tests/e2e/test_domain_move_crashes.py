# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""A domain moves under verified I/O, and each time something dies: an iovd, a worker, a libvirtd, a QEMU,
of either side, or the network between them. Afterwards it runs on exactly one host, with its disks there and
nothing left on the other; or, when the QEMU died that had it, on none, and both are clean. One of its disks has
a history, which goes on wherever it runs; what was flushed before a QEMU died is there after that."""
import collections
import contextlib
import re
import signal
from contextlib import ExitStack

from lib import disk
from lib.daemon import Attachment, kill_pid
from lib.domain_move import VM, Pair, until_told
from lib.history import Inside
from lib.libvirt import set_link
from lib.proc import Failed, Process, until
from lib.report import main
from lib.servers import program

from guest import image  # (lib says where it is)

MIB = 4
# How far the move is when it happens, as one of the iovds logs it.
STAGES = {
    "reserving": ("there", "): incoming"),
    "sending": ("here", "the baton is ready"),
    "gone": ("here", "the baton is left"),
    "there": ("here", "the baton is taken"),
    "ending": ("here", "the baton is ending"),
}


# What may die: each aims at it, and returns what kills it, without delay.


def iovd(host):
    return host.daemon.kill


def worker(host):
    each = [Attachment(host.daemon, shown) for shown in host.attachments()]
    aims = [(one, one.worker()) for one in each]
    return lambda: [one.kill_worker(pid) for one, pid in aims]


def qemu(host):
    pid = until(lambda: host.libvirt.qemu(VM), 60, "a QEMU")
    return lambda: kill_pid(pid, "qemu-system-x86_64")


def libvirtd(host):
    """As where a service manager starts it again."""

    def kill():
        host.libvirt.stop(signal.SIGKILL)
        host.libvirt.start()

    return kill


def link(host):
    return lambda: set_link(host.libvirt, "down")


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
# What may become of the domain. A QEMU that has all of it lives in every scene but these: here it is killed
# while the other has not got all of it, or maybe not; there when it runs already, or maybe not.
DEATHS = {
    (qemu, "here", "sending"): {"died"},
    (qemu, "here", "gone"): {"died", "moved"},
    (qemu, "here", "there"): {"died", "moved"},
    (qemu, "there", "sending"): {"stayed"},
    (qemu, "there", "gone"): {"stayed", "died"},
    (qemu, "there", "there"): {"stayed", "died"},
    (qemu, "here", "reserving"): {"died"},
    (qemu, "there", "ending"): {"died"},
}
# Before libvirt moves it, nothing of these is there.
NEVER = {(worker, "there", "reserving"), (qemu, "there", "reserving")}


class Scene:
    def __init__(self, stack, scratch, depth):
        self.depth = depth
        self.images = [disk.ext4(scratch / "0.img", 64), disk.blank(scratch / "1.img", 16)]
        self.scratch = scratch
        self.pair = Pair(stack, scratch, self.images, build=image.qemu_history)
        self.moves = self.lives = 0
        self.begin_work()

    def begin_work(self):
        guest, promises = self.pair.guest, self.pair.promises
        guest.run("mkdir -p /mnt/a && mount /dev/vda /mnt/a")
        self.work = guest.start(until_told("/mnt/a", MIB))
        options = {"promises": promises, "life": self.lives, "depth": self.depth}
        self.history = Inside(guest, "/dev/vdb", **options)
        self.lives += 1

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

    def wait(self, condition, what, **options):
        try:
            until(condition, 150, what, **options)
        except Failed as error:
            raise Failed(f"{error}\n    {self.pair.seen()}") from None

    def settle(self, what):
        for host in self.hosts():
            host.daemon.wait_answer()
        self.wait(self._settled, f"{what}: the move to be over", every=0.3)

    def goes_on(self, what):
        """It goes on working where it is."""
        if not self.found:
            raise Failed(f"{what}: it runs nowhere")
        if self.found[0] is self.pair.there:
            self.turn()
            self.pair.guest.moved(self.pair.here.libvirt)
        guest = self.pair.guest
        guest.run("dd if=/dev/urandom of=/mnt/a/sync bs=4k count=16 conv=fsync 2>/dev/null", 120)
        self.history.check()
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

    def reach(self, stage, since, move):
        """How far it is; one that ends before that fails the test."""
        side, text = STAGES[stage]
        host = self.pair.here if side == "here" else self.pair.there

        def reached():
            return text in host.daemon.log()[since[host] :]

        until(lambda: reached() or not move.alive(), 60, stage, every=0.005)
        if not reached():
            raise Failed(f"the move has ended before '{text}': {move.tail()}")

    def mend(self, move):
        """When the move is given up; or, where all was sent already, so that it can arrive."""
        with contextlib.suppress(Failed):
            until(lambda: not move.alive(), 30, "iovctl to end")
        for host in self.hosts():
            set_link(host.libvirt, "up")

    def move_in_which(self, what, side, stage):
        """That dies; what iovctl said."""
        here, there = self.hosts()
        self.moves += 1
        ctl = [program("iovctl"), "-s", here.daemon.socket, *self.pair.words("--timeout", "20000")]
        since = {host: len(host.daemon.log()) for host in self.hosts()}
        with Process(ctl, self.scratch / f"move{self.moves}") as move:
            if stage != "reserving":
                self.reach("sending", since, move)
            kill = what(here if side == "here" else there)
            self.reach(stage, since, move)
            kill()
            if what is link:
                self.mend(move)
            self.wait(lambda: not move.alive(), f"{what.__name__} {side}, {stage}: iovctl to end")
            return move.log.read_text()

    def outcome(self, what):
        """What became of the domain; it runs again."""
        here, there = self.hosts()
        if not self.found:
            self.revive()
            return "died"
        self.goes_on(what)
        return "moved" if self.pair.here is there else "stayed"

    def kill(self, what, side, stage):
        """A move in which that dies; what became of the domain."""
        name = f"{what.__name__} {side}, {stage}"
        said = self.move_in_which(what, side, stage)
        self.settle(name)
        became = self.outcome(name)
        last = said.strip().splitlines()[-1] if said.strip() else ""
        print(f"{name}: {became}; iovctl: {last}", flush=True)
        if became not in DEATHS.get((what, side, stage), {"moved", "stayed"}):
            raise Failed(f"{name}: it {became}; iovctl: {said}")
        if became == "died" and stage != "ending" and not re.search(r"\[[A-Z-]+\]", said):
            raise Failed(f"{name}: nobody says that it has died: {said}")
        return became

    def end(self):
        guest = self.pair.guest
        guest.run("touch /tmp/over")
        rounds, checked = int(guest.result(self.work, 240).output), self.history.end(240)
        guest.run("umount /mnt/a")
        guest.expect_no_complaints()
        self.pair.end()
        disk.fsck(self.images[0])
        return f"{rounds * MIB} MiB verified since the last death of the guest, {checked}"


def test(scratch, scenes=SCENES, depth=8):
    with ExitStack() as stack:
        scene = Scene(stack, scratch, depth)
        became = collections.Counter(scene.kill(*one) for one in scenes)
        checked = scene.end()
    told = ", ".join(f"{count} {what}" for what, count in sorted(became.items()))
    return f"{len(scenes)} deaths: {told}; {checked}"


if __name__ == "__main__":
    main(test)
