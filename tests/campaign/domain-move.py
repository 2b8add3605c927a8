#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_domain_move.py, and of test_domain_hooks.py:

    ./dev campaign domain-move [ROUNDS [WAY]...]        WAY: iovctl virsh virtio-blk

In each round a libvirt domain moves by iovctl, and once more by virsh alone, whose hooks tell the two
iovds; one of its disks is written and verified at depth 32, the other has a history at depth 32. How long
its I/O stands still is measured inside the guest, and so is that of the same guest with the same work on
QEMU's own virtio-blk, which moves in every other round: a machine that is busy with other things slows
all of them. The one that does not move has its work stopped.
"""
import contextlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import blackout  # noqa: E402
from lib.proc import Failed  # noqa: E402
from lib.report import main  # noqa: E402
from test_domain_move import Working  # noqa: E402

WAYS = ("iovctl", "virsh", "virtio-blk")
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
CHOSEN = sys.argv[2:] or WAYS


class Way:
    """One way of moving, and the pair of hosts that moves so."""

    def __init__(self, name, pair):
        self.name, self.pair = name, pair
        self.found = []

    def move(self):
        pair, since = self.pair, {}
        if not pair.native:
            since = {host: len(host.daemon.log()) for host in (pair.here, pair.there)}
        by = pair.move if self.name == "iovctl" else pair.move_by_virsh
        pair.resume()
        self.found.append(pair.blackout(by))
        pair.check()
        pair.pause()
        load = os.getloadavg()[0]
        print(f"{self.name}: move {len(self.found)}: {self.found[-1]}; load {load:.0f}", flush=True)
        if self.found[-1].longest_ms > 1000:
            for host, at in since.items():
                print(f"--- {host.scratch.name}\n{host.daemon.log()[at:]}", flush=True)

    def figures(self):
        return f"{self.name} {blackout.figures(self.found)}"


def ways(stack, scratch):
    """Those that were chosen; the hosts with iovds are the same for both ways."""
    made, pairs = [], {}
    for name in CHOSEN:
        native = name == "virtio-blk"
        if native not in pairs:
            folder = scratch / ("native" if native else "iovd")
            folder.mkdir()
            pairs[native] = Working(stack, folder, hooks=not native, native=native)
            pairs[native].pause()
        made.append(Way(name, pairs[native]))
    return made, pairs


def one_round(made, number):
    for way in made:
        if way.pair.native and number % 2 and len(made) > 1:
            continue
        try:
            way.move()
        except Failed as error:
            so_far = "\n    ".join(one.figures() for one in made)
            told = f"{way.name}: move {len(way.found) + 1}: {error}\n    {way.pair.seen()}"
            raise Failed(f"{told}\n    so far: {so_far}") from None


def test(scratch):
    with contextlib.ExitStack() as stack:
        made, pairs = ways(stack, scratch)
        for n in range(ROUNDS):
            one_round(made, n)
            if n % 10 == 9:
                print("; ".join(way.figures() for way in made), flush=True)
        for pair in pairs.values():
            pair.resume()
        checked = [pair.end() for pair in pairs.values()]
    told = [way.figures() for way in made]
    if "virtio-blk" in CHOSEN:
        native = next(way for way in made if way.name == "virtio-blk")
        told += [f"{way.name}: {blackout.ratio(way.found, native.found)}" for way in made
                 if way is not native]
    return "; ".join(told + checked)


main(test)
