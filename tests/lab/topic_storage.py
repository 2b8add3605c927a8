# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# needs: history
# timeout: 240
"""The kernel's own disks fail: device-mapper's targets over an NVMe disk, a full ext4.

A client checks every read while disks fail, come back, hang and lie, and while worker and iovd are
killed. Under --on-error hold it sees no error; without, exactly those that there are.
"""
import random
import time

import inside
from inside import Failed, Iovd, expect, wait_for
from storage import Base, Dm, attached, kill_any, modules, recover_amid_kills, told, zero

from lib import disk, proc
from lib.held import HOLD, is_busy, is_held
from lib.held import expect as expect_end
from lib.history import History

BLOCK = 8  # sectors of a block of the client


def error(iovd, scratch, base):
    """EIO of all requests, again and again; kills at any time."""
    piece = base.piece()
    with Dm("error", piece.line("linear")) as dm, attached(
        iovd, dm.path, "error", scratch, *HOLD
    ) as (one, history):
        is_busy(one)
        dm.become(piece.line("error"))
        told(one, "Input/output error")
        kill_any(iovd, one)
        iovd.ok("recover", one.id)
        is_held(one)  # it was too early
        dm.become(piece.line("linear"))
        recover_amid_kills(iovd, one)
        is_busy(one)
        dm.become(piece.line("error"))
        kill_any(iovd, one)
        is_held(one)
        dm.become(piece.line("linear"))
        iovd.ok("recover", one.id)
        is_busy(one)
        return history.end(120)


def flakey(iovd, scratch, base):
    """A disk that is there for a second and away for the next."""
    piece = base.piece()
    with Dm("flakey", piece.line("flakey", 2, 1)) as dm, attached(
        iovd, dm.path, "flakey", scratch, *HOLD
    ) as (one, history):
        for _ in range(2):
            is_held(one)
            recover_amid_kills(iovd, one, random.randrange(2))
        dm.become(piece.line("linear"))
        recover_amid_kills(iovd, one)
        is_busy(one)
        return history.end(120)


def delay(iovd, scratch, base):
    """Writes that hang, at a driver that sends them when its table changes: they are never carried."""
    piece = base.piece()
    with Dm("delay", piece.line("linear")) as dm, attached(
        iovd, dm.path, "delay", scratch, *HOLD
    ) as (one, history):
        is_busy(one)
        dm.become(piece.line("delay", 600_000))
        stuck = lambda: one.now()["in_flight"] == 16  # noqa: E731
        wait_for(stuck, "all requests to be stuck")
        for words in ((), ("--carry",)):
            done = iovd.ctl("quiesce", one.id, "--timeout", "300", *words, check=False)
            expect_end(5, done, "STUCK", "requests do not end", "sector+count", " ms",
                       *(["nor can they be cancelled"] if words else []))
        kill_any(iovd, one)
        expect(one.now()["in_flight"] == 16, f"requests ended meanwhile: {one.now()}")
        dm.become(piece.line("linear"))  # all that hung is sent now
        is_busy(one)
        return history.end(120)


def report(iovd, scratch, base):
    """Without the policy: errors where the disk is bad, and nowhere else."""
    piece, first, count = base.piece(), 3, 2  # among those that half of the requests go to
    table = (
        piece.line("linear", sectors=first * BLOCK),
        piece.line("error", start=first * BLOCK, sectors=count * BLOCK),
        piece.line("linear", start=(first + count) * BLOCK),
    )
    with Dm("report", *table) as dm, attached(
        iovd, dm.path, "report", scratch, bad=f"{first}+{count}"
    ) as (one, history):
        is_busy(one)
        kill_any(iovd, one)
        is_busy(one)
        checked = history.end(120)
        expect(checked.failed, f"no request failed: {checked}")
        return checked


def liar(iovd, scratch, base):
    """A disk that drops writes and says they are done is found out: the checker can fail."""
    piece = base.piece()
    with Dm("liar", piece.line("linear")) as dm, attached(iovd, dm.path, "liar", scratch) as (
        one, history,
    ):  # fmt: skip
        is_busy(one)
        dm.become(piece.line("flakey", 0, 1, 1, "drop_writes"))
        if history.wait(60) == 0 or "overwritten by then" not in history.log.read_text():
            raise Failed(f"lost writes were not seen: {history.tail()}")


def vmm_killed(iovd, scratch, base):
    """The VMM is killed while its requests are held; the next one finds a good disk."""
    piece = base.piece()
    with Dm("killed", piece.line("linear")) as dm, attached(
        iovd, dm.path, "killed", scratch, *HOLD
    ) as (one, history):
        is_busy(one)
        dm.become(piece.line("error"))
        is_held(one)
        history.kill()
        history.wait()
        dm.become(piece.line("linear"))
        zero(dm.path, 1 << 20)
        iovd.ok("recover", one.id)
        one.wait("ready")
        with History(one.socket, scratch, "next", depth=16) as history:
            is_busy(one)
            return history.end(120)


def full(iovd, scratch, base):
    """A sparse image on a file system without room; then room is made."""
    folder, piece = scratch / "full", base.piece(16)
    folder.mkdir()
    with Dm("full", piece.line("linear")) as dm:
        proc.run(["mke2fs", "-q", "-t", "ext4", dm.path])
        proc.run(["mount", dm.path, folder])
        try:
            image, ballast = disk.blank(folder / "full.img", 1), folder / "ballast"
            free = proc.run(["df", "--output=avail", "-B1", folder]).stdout.split()[-1]
            proc.run(["fallocate", "-l", int(free) - (256 << 10), ballast])
            with attached(iovd, image, "full", scratch, *HOLD) as (one, history):
                told(one, "No space left")
                kill_any(iovd, one)
                is_held(one)
                ballast.unlink()
                recover_amid_kills(iovd, one)
                is_busy(one)
                return history.end(120)
        finally:
            proc.run(["umount", "-l", folder])


SCENES = (error, flakey, delay, report, vmm_killed, full, liar)


def test(scratch):
    modules("dm-mod", "dm-flakey", "dm-delay")
    base, requests = Base(), 0
    with Iovd(scratch) as iovd:
        for scene in SCENES:
            begin = time.monotonic()
            checked = scene(iovd, scratch, base)
            print(f"{scene.__name__}: {checked or 'seen'}", f"({time.monotonic() - begin:.1f} s)")
            requests += checked.requests if checked else 0
    return f"{requests} requests checked in {len(SCENES)} scenes"


inside.main(test)
