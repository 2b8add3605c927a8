#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirt domain moves while one of its disks does nothing: ./dev campaign domain-move-carried [MS], by
default 4000: `iovctl migrate DOMAIN URI --carry MS`.

Where no command could end the disk's path, it is refused before the domain stands still. Where the command fails,
the domain stands still until its QEMU is sent off, and runs on where it was. In both, what was in flight is
done when the disk works again. Where the path is ended, the other host does it, each request once.
"""
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import disk, jobs  # noqa: E402
from lib.daemon import Attachment  # noqa: E402
from lib.domain_move import VM, Pair  # noqa: E402
from lib.proc import until  # noqa: E402
from lib.report import main  # noqa: E402
from test_move_carried import MIB, STREAM, WORK, Volume, carried, expect, stick  # noqa: E402

CARRY_MS = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
READ = "dd if=/dev/vdc of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null"
SENT_OFF = "the connection is closed: GET_VRING_BASE"


def expect_stuck(pair, done):
    expect(done.returncode == 5 and "MIG-STUCK" in done.stderr, f"{done.returncode}: {done.stderr}")
    expect(pair.here.libvirt.state(VM) == "running", "the domain does not run any more")
    until(lambda: not pair.there.attachments(), 60, "the reservation to go")
    expect(pair.here.states() <= {"active", "ready"}, pair.seen())


def is_refused(pair, other, words):
    """No command ends its path: the domain never stands still."""
    def shown():
        return pair.here.daemon.ctl("show", f"{VM}/d2")["attachment"]

    other.server.freeze()
    read = pair.guest.start(READ)
    old = max(CARRY_MS, 2000)
    until(lambda: any(r["age_ms"] > old for r in shown()["requests"]), 60, "a stuck read")
    done = pair.here.daemon.ctl(*words, check=False, seconds=240)
    other.server.thaw()
    expect_stuck(pair, done)
    expect(SENT_OFF not in pair.here.daemon.log(), "its QEMU was sent off")
    expect(pair.guest.result(read, 120).status == 0, "the read failed")


def stays(pair, one, volume, words):
    """Its command fails: QEMU is sent off, and libvirt gives it up."""
    here = pair.here
    volume.can_end(False)
    stick(one, volume.server)
    with ThreadPoolExecutor(1) as pool:
        move = pool.submit(here.daemon.ctl, *words, check=False, seconds=240)
        until(lambda: SENT_OFF in here.daemon.log(), 120, "the drain's end")
        volume.server.thaw()
        done = move.result()
    expect_stuck(pair, done)
    for where in "ab":
        written = f"of=/mnt/{where}/sync bs=4k count=16 conv=fsync"
        pair.guest.run(f"dd if=/dev/urandom {written} 2>/dev/null", 120)


def leaves(pair, one, volume, words):
    """How many requests were carried."""
    source = pair.here.daemon
    volume.can_end(True)
    stick(one, volume.server)
    source.ctl(*words, seconds=240)
    pair.arrived()
    count = carried(source, one)

    def replayed():
        return pair.here.daemon.ctl("show", f"{VM}/d1")["attachment"]["replayed"]

    until(lambda: replayed() >= count, 60, f"{count} requests to be done")
    expect(replayed() == count, f"{count} carried, and {replayed()} done")
    return count


def end(guest, stream, work):
    """How many MiB were verified."""
    guest.run("touch /tmp/over")
    verified = int(guest.result(work, 240).output) * MIB
    guest.run("sleep 1; kill -INT $(cat /tmp/stream.pid)")
    expect(jobs.work(guest.result(stream, 120)).longest_ms, "nothing was done on the other disk")
    guest.run("umount /mnt/a /mnt/b")
    guest.expect_no_complaints()
    return verified


def test(scratch):
    image = disk.ext4(scratch / "0.img", 64)
    with ExitStack() as stack:
        volume, other = Volume(stack, scratch), Volume(stack, scratch, "other")
        hold = ("--on-error", "hold", "--io-timeout", "0")
        pair = Pair(stack, scratch, [
            image,
            (volume.server.uri, *hold, "--fence", volume.command),
            (other.server.uri, *hold),
        ])  # fmt: skip
        one = Attachment(pair.here.daemon, pair.here.attachments()[1])
        guest = pair.guest
        guest.run("mkdir /mnt/a /mnt/b && mount /dev/vda /mnt/a && mount /dev/vdb /mnt/b")
        stream, work = guest.start(STREAM), guest.start(WORK)
        words = pair.words("--map", f"d1={volume.other.uri}", "--map", f"d2={other.other.uri}",
                           "--carry", str(CARRY_MS))  # fmt: skip
        is_refused(pair, other, words)
        stays(pair, one, volume, words)
        count = leaves(pair, one, volume, words)
        verified = end(guest, stream, work)
        pair.end()
    for path in (image, volume.image):
        disk.fsck(path)
    return f"{count} requests carried, {verified} MiB verified"


main(test)
