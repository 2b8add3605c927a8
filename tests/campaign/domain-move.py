#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_domain_move.py, and of test_domain_hooks.py:

    ./dev campaign domain-move [MOVES [VIRTIO-BLK [iovctl|virsh]]]

A libvirt domain moves back and forth, one of its disks written and verified at depth 32, the other with
a history at depth 32; by iovctl, or by virsh alone, whose hooks tell the iovds. How long its I/O stands
still is measured inside the guest, and printed beside the same of the same guest on QEMU's own
virtio-blk, which moves VIRTIO-BLK times in the same run.
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import blackout  # noqa: E402
from lib.proc import Failed  # noqa: E402
from lib.report import main  # noqa: E402
from test_domain_move import under_work  # noqa: E402

MOVES = int(sys.argv[1]) if len(sys.argv) > 1 else 100
NATIVE = int(sys.argv[2]) if len(sys.argv) > 2 else 20
BY = sys.argv[3] if len(sys.argv) > 3 else "iovctl"


def logged(pair, since):
    """What both iovds have said since then."""
    for host, at in since:
        print(f"--- {host.scratch.name}\n{host.daemon.log()[at:]}", flush=True)


def one_move(what, pair, move, number):
    since = [(host, len(host.daemon.log())) for host in (pair.here, pair.there)]
    found = pair.blackout(move)
    load = os.getloadavg()[0]
    print(f"{what}: move {number}: {found}; load {load:.1f}", flush=True)
    if found.longest_ms > 1000:
        logged(pair, since)
    return found


def moves(what, count, by):
    """A scene; each of the moves is told, and what there was so far when one fails."""

    def scene(pair, check):
        found = []
        try:
            for n in range(count):
                found.append(one_move(what, pair, lambda: by(pair), n + 1))
                check()
        except Failed as error:
            told = f"{what}: move {len(found) + 1}: {error}\n    {pair.seen()}"
            raise Failed(f"{told}\n    so far: {blackout.figures(found)}") from None
        return found

    return scene


def by_virsh(pair):
    pair.move_by_virsh()


def test(scratch):
    hooks = BY == "virsh"
    scene = moves(f"iovd, {BY}", MOVES, by_virsh if hooks else lambda pair: pair.move())
    ours, checked = under_work(scratch, scene, hooks=hooks)
    print(f"iovd, {BY}: {blackout.figures(ours)}; {checked}", flush=True)
    again = scratch / "native"
    again.mkdir()
    theirs = under_work(again, moves("virtio-blk", NATIVE, by_virsh), native=True)[0]
    return f"{MOVES} moves by {BY}, {checked}; blackout in the guest: {blackout.compare(ours, theirs)}"


main(test)
