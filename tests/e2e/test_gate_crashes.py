# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""kill -9 of iovd at every point of quiesce, of its undoing, of resume and of recover, under I/O.

The next daemon finds all as before or as after, for all disks of the machine alike; no request is
lost, done twice or answered with an error, which the clients see to.
"""
import os

from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.proc import Failed, until
from lib.report import main
from lib.slow import SlowDisk

HOLD = ("--on-error", "hold")


class Sweep:
    """A daemon that dies at the points that a command passes."""

    def __init__(self, daemon, fault):
        self.daemon, self._fault, self.count = daemon, fault, 0

    def points(self, words):
        self._fault.write_text("list")
        at = len(self.daemon.log())
        self.daemon.ctl(*words, check=False)
        self._fault.unlink()
        lines = self.daemon.log()[at:].splitlines()
        return [line.split("fault point: ")[1] for line in lines if "fault point: " in line]

    def run(self, words, prepare, settle):
        """For each point: prepare(), the command dies there, settle() judges what is found."""
        prepare()
        points = self.points(words)
        settle()
        if len(points) < 4:
            raise Failed(f"{words} passes only {points}")
        for point in points:
            prepare()
            self._fault.write_text(point)
            old = self.daemon.pid()
            self.daemon.ctl(*words, check=False)
            until(lambda: not self._fault.exists(), 20, f"{point} to be reached")
            self.daemon.wait_restart(old)
            try:
                settle()
            except Failed as error:
                raise Failed(f"killed at {point}: {error}") from error
            self.count += 1


def states(daemon, vm):
    return {a["state"] for a in daemon.attachments() if a["vm"] == vm}


def all_are(daemon, vm, *allowed):
    """All disks of the machine are in one state, which is allowed."""
    until(lambda: states(daemon, vm) in [{state} for state in allowed], 30, f"all of {allowed}")
    return states(daemon, vm).pop()


def is_busy(one):
    before = one.now()["requests_completed"]
    until(lambda: one.now()["requests_completed"] > before + 20, 30, "requests that go on")


def sweep_gates(sweep, disks):
    daemon = sweep.daemon

    def both():
        if all_are(daemon, "vm1", "active", "quiesced") == "active":
            for one in disks:
                is_busy(one)

    def opened():
        daemon.ctl("resume", "vm1")
        both()

    sweep.run(("quiesce", "vm1"), opened, both)
    sweep.run(("resume", "vm1"), lambda: daemon.ctl("quiesce", "vm1"), both)
    opened()


def sweep_undo(sweep, held, other):
    """One disk cannot be quiesced, for it is held: the other one is never left shut."""

    def as_before():
        held.wait("held")
        other.wait("active")
        is_busy(other)

    sweep.run(("quiesce", "vm2", "--timeout", "50"), as_before, as_before)


def sweep_recover(sweep, one, slow):
    """Held, or going on; and in the end going on."""

    def hold():
        slow.fails(True)
        one.wait("held")
        slow.fails(False)

    def go_on():
        if all_are(sweep.daemon, "vm3", "held", "active") == "held":
            sweep.daemon.ctl("recover", one.id)
        one.wait("active")
        is_busy(one)

    sweep.run(("recover", one.id), hold, go_on)


def test(scratch):
    fault = scratch / "fault"
    os.environ["IOVD_FAULT"] = str(fault)
    images = [disk.blank(scratch / f"{n}.img", 4) for n in range(5)]
    with (
        SlowDisk(images[2], scratch, "held") as held,
        SlowDisk(images[4], scratch, "fails") as fails,
        Daemon(scratch) as daemon,
    ):
        sweep = Sweep(daemon, fault)
        paths = [images[0], images[1], held.path, images[3], fails.path]
        disks = [
            daemon.attach(path, vm, f"disk{n}", *HOLD)
            for n, (path, vm) in enumerate(zip(paths, ["vm1", "vm1", "vm2", "vm2", "vm3"]))
        ]
        histories = [
            History(one.socket, scratch, f"h{n}", seed=n, depth=8) for n, one in enumerate(disks)
        ]
        for one in disks:
            one.wait("active")
        sweep_gates(sweep, disks[:2])
        held.fails(True)
        sweep_undo(sweep, disks[2], disks[3])
        held.fails(False)
        daemon.ctl("recover", disks[2].id)
        sweep_recover(sweep, disks[4], fails)
        checked = [history.end() for history in histories]
    requests = sum(c.requests for c in checked)
    reads = sum(c.reads_checked for c in checked)
    return f"killed at {sweep.count} points; {requests} requests, {reads} reads checked"


if __name__ == "__main__":
    main(test)
