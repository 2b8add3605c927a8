# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A libvirt domain with two disks moves back and forth between two hosts while its guest writes and
verifies at depth 32, and checks a history: `iovctl migrate DOMAIN URI`, which drives libvirt. What cannot move is refused, a move
that fails or is given up leaves all as it was."""
import json
import os
import re
import subprocess
from contextlib import ExitStack

from lib import disk
from lib.domain_move import VM, Pair, until_told
from lib.history import Inside
from lib.proc import Failed, Process, until
from lib.report import main
from lib.servers import program

from guest import image  # (lib says where it is)

MOVES = 3
MIB = 4
JUDGED = {"d0": ["NO-SUCH"], "d1": ["DISK-DIFFERS", "MIG-OTHER-VOLUME"]}


def expect(condition, what):
    if not condition:
        raise Failed(what)


def stays(pair, status, code, *words):
    """It is refused, or undone: the domain runs here and has its disks, and nothing is there."""
    here, there = pair.here, pair.there
    done = here.daemon.ctl(*words, check=False, seconds=240)
    expect(done.returncode == status and code in done.stderr,
           f"iovctl {words}: {done.returncode}, not {status} with {code}: {done.stderr}")
    until(lambda: not there.attachments(), 60, "the reservation to go")
    expect(here.libvirt.state(VM) == "running", f"{code}: the domain does not run any more")
    expect(here.states() == {"active"}, f"{code}: {here.attachments()}")
    pair.guest.run("dd if=/dev/urandom of=/mnt/a/sync bs=4k count=16 conv=fsync 2>/dev/null", 120)


def judged(pair, scratch):
    """The verdict has all devices, and of each all that is in its way; nothing is changed."""
    other = disk.blank(scratch / "other.img", 8)
    words = pair.words("--check", "--map", "d0=/nonexistent", "--map", f"d1={other}")
    done = pair.here.daemon.ctl(*words, check=False, seconds=120)
    devices = {one["name"]: one["problems"] for one in json.loads(done.stdout)["devices"]}
    codes = {name: sorted(problem["code"] for problem in each) for name, each in devices.items()}
    expect(done.returncode == 4 and codes == JUDGED, f"verdict: {done.returncode}, {codes}")
    verdict = pair.here.daemon.ctl(*pair.words("--check"), seconds=120)
    expect(verdict["ok"] and len(verdict["devices"]) == 2, f"verdict: {verdict}")
    expect(not pair.there.attachments(), "a verdict has left something there")


def does_not_move(pair):
    stays(pair, 4, "MIG-VERDICT", *pair.words("--map", "d0=/nonexistent"))
    stays(pair, 2, "URI", "migrate", VM, pair.there.libvirt.uri)
    stays(pair, 5, "MIG-GIVEN-UP", *pair.words("--timeout", "1"))
    # QEMU listens there for its own host only, and nobody does here.
    words = list(pair.words())
    words[-1] = "tcp://127.0.0.1"
    stays(pair, 5, "LIBVIRT", *words)


def shown(pair, scratch):
    """A move as a person sees it: the bar on a terminal, and the events of its job."""
    events = scratch / "events"
    ctl = [program("iovctl"), "-s", pair.here.daemon.socket]
    with Process([*ctl, "-o", "jsonl", "watch"], events):
        until(lambda: "watching" in events.read_text(), 30, "events")
        leader, follower = os.openpty()
        child = subprocess.Popen([*ctl, *pair.words()], stderr=follower, stdout=subprocess.PIPE)
        os.close(follower)
        out, bar = child.communicate(timeout=240)[0], os.read(leader, 1 << 16)
        os.close(leader)
        expect(child.returncode == 0, f"status {child.returncode}: {bar}")
        pair.arrived()
        told = events.read_text()
    expect(re.search(rb"moved in \d+ ms, and stood still for (\d+|-) ms", out), f"it says {out}")
    expect(re.search(rb"\[#+\.*\] +\d+% ", bar), f"no bar: {bar}")
    expect(re.search(r"MiB left, \d+ in flight, blackout about \d+ ms", told), f"events: {told}")


class Working(Pair):
    """While one of its disks has a file system whose files are written and verified, and the other a
    history. The images are looked at in the end."""

    def __init__(self, stack, scratch, depth=32, **options):
        self.images = [disk.ext4(scratch / "0.img", 64), disk.blank(scratch / "1.img", 16)]
        super().__init__(stack, scratch, self.images, build=image.qemu_history, **options)
        self.guest.run("mkdir /mnt/a && mount /dev/vda /mnt/a")
        self.work = self.guest.start(until_told("/mnt/a", MIB))
        self.history = Inside(self.guest, "/dev/vdb", depth=depth)

    def check(self):
        """Nothing wrong was seen so far."""
        self.history.check()
        if self.guest.done(self.work):
            raise Failed(f"the work has ended: {self.guest.out('tail -5 /tmp/*.out')}")

    def pause(self):
        """The work stands still, until resume()."""
        self._signal("STOP", "touch")

    def resume(self):
        self._signal("CONT", "rm")

    def _signal(self, name, mark):
        """A fio that has just ended needs none."""
        fio = f"for pid in $(pidof fio); do kill -{name} $pid 2>/dev/null; done"
        self.guest.run(f"{mark} /tmp/paused; {fio}; kill -{name} $(pidof ld-linux-x86-64.so.2)")

    def end(self):
        """What was checked."""
        self.guest.run("touch /tmp/over")
        rounds, checked = int(self.guest.result(self.work, 240).output), self.history.end(240)
        self.guest.run("umount /mnt/a")
        self.guest.expect_no_complaints()
        super().end()
        disk.fsck(self.images[0])
        return f"{rounds * MIB} MiB verified, {checked}"


def test(scratch, count=MOVES):
    with ExitStack() as stack:
        pair = Working(stack, scratch, depth=8)
        judged(pair, scratch)
        does_not_move(pair)
        shown(pair, scratch)
        for _ in range(count - 1):
            pair.move()
            pair.check()
        for host in (pair.here, pair.there):
            expect("has no lease yet" not in host.daemon.log(), f"warned of: {host.daemon.tail()}")
        return f"{count} moves, {pair.end()}"


if __name__ == "__main__":
    main(test)
