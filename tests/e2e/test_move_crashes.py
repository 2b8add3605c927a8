# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""A machine moves under verified I/O, and each time something dies: iovd of either side where the baton
has just changed hands, workers, the destination's QEMU. Or the move fails after the machine has stopped,
and it goes on where it was. The guest never notices more than a pause, and never do both sides run."""
import os
import signal
from contextlib import ExitStack

from lib import disk, jobs
from lib.daemon import Attachment
from lib.move import VM, Host, Machine, migrate
from lib.proc import Failed, until
from lib.report import main

# Where an iovd is killed, once in a move: whoever comes by first.
SOURCE = ("baton.asking", "baton.ready", "baton.left", "baton.taken", "baton.ending")
DESTINATION = ("baton.granted", "gate.turn")
ROUNDS = "n=0; while ! [ -e /tmp/over ]; do {} >/tmp/out || exit 1; n=$((n+1)); done; echo $n"


class Scene:
    def __init__(self, stack, scratch):
        self.fault = scratch / "fault"
        os.environ["IOVD_FAULT"] = str(self.fault)
        self.image = disk.ext4(scratch / "0.img", 64)
        self.hosts = [stack.enter_context(Host(scratch, name)) for name in ("a", "b")]
        self.hosts[0].daemon.attach(self.image, VM, "d0")
        self.machine = Machine(stack, self.hosts[0], memory=256)
        self.machine.guest.run("mount /dev/vda /mnt")
        self.work = self.machine.guest.start(ROUNDS.format(jobs.verify("/mnt/work", 16)))

    def both(self):
        here = self.machine.host
        return here, next(host for host in self.hosts if host is not here)

    def lives(self):
        """It goes on working, here and nowhere else."""
        guest = self.machine.guest
        guest.run("dd if=/dev/urandom of=/mnt/sync bs=4k count=16 conv=fsync 2>/dev/null", 120)
        if guest.done(self.work):
            raise Failed(f"the work has ended: {guest.out('tail -5 /tmp/out')}")

    def end(self):
        guest = self.machine.guest
        guest.run("touch /tmp/over")
        rounds = int(guest.result(self.work, 240).output)
        guest.run("umount /mnt")
        guest.expect_no_complaints()
        disk.fsck(self.image)
        return rounds


def killed_at(scene, point):
    """The move comes to its end all the same."""
    here, there = scene.both()
    scene.fault.write_text(point)
    scene.machine.move(there)
    if scene.fault.exists():
        raise Failed(f"nobody came by {point}")
    here.daemon.wait_answer()
    scene.lives()


def worker_killed(scene):
    """Both workers die while QEMU sends the memory, and the idle one's successor too."""
    here, there = scene.both()
    new, uri = scene.machine.begin(there)
    for host in (here, there, there):
        Attachment(host.daemon, host.attachments()[0]).kill_worker()
    scene.machine.finish(there, new, migrate(scene.machine.guest, uri))
    scene.lives()


def source_gone(scene):
    """QEMU ends as soon as it has sent the machine, and iovd hears of all that afterwards."""
    here, there = scene.both()
    new, uri = scene.machine.begin(there)
    os.kill(here.daemon.pid(), signal.SIGSTOP)
    try:
        status = migrate(scene.machine.guest, uri)
        scene.machine.guest.pump(1)
        scene.machine.end_qemu()
    finally:
        os.kill(here.daemon.pid(), signal.SIGCONT)
    scene.machine.finish(there, new, status)
    scene.lives()


def comes_back(scene, kill_destination):
    """The machine has stopped, the baton is there; then it goes on here."""
    here, there = scene.both()
    source = scene.machine.guest
    new, uri = scene.machine.begin(there)
    source.qmp.command(
        "migrate-set-capabilities",
        capabilities=[{"capability": "pause-before-switchover", "state": True}],
    )
    status = migrate(source, uri, ends=("pre-switchover", "failed"))
    if status != "pre-switchover":
        raise Failed(f"QEMU's migration: {status}")
    until(lambda: here.states() == ["away"], 60, "the baton to leave")
    if kill_destination:
        new.__exit__(None, None, None)
    source.qmp.command("migrate_cancel")
    source.qmp.event("MIGRATION", 120, lambda data: data["status"] in ("cancelled", "failed"))
    until(lambda: source.qmp.command("query-status")["running"], 60, "the machine to go on here")
    scene.lives()
    if "active" in there.states():
        raise Failed(f"it is active on both sides: {there.attachments()}")
    source.qmp.command(
        "migrate-set-capabilities",
        capabilities=[{"capability": "pause-before-switchover", "state": False}],
    )
    here.daemon.ctl("migrate", VM, there.uri, "--abort", seconds=180)
    until(lambda: not there.attachments(), 60, "the reservation to go")
    new.__exit__(None, None, None)
    scene.lives()


def test(scratch):
    with ExitStack() as stack:
        scene = Scene(stack, scratch)
        comes_back(scene, False)
        comes_back(scene, True)
        worker_killed(scene)
        source_gone(scene)
        for point in SOURCE + DESTINATION:
            killed_at(scene, point)
        rounds = scene.end()
    points = len(SOURCE + DESTINATION)
    return f"{points} moves with an iovd killed, {rounds} rounds verified"


if __name__ == "__main__":
    main(test)
