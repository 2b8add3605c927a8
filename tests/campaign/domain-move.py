#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_domain_move.py: ./dev campaign domain-move [MOVES [VIRTIO-BLK]].

A libvirt domain with two disks, written and verified at depth 32, moves back and forth. How long its I/O
stands still is measured inside the guest, and printed beside the same of the same guest on QEMU's own
virtio-blk, which moves VIRTIO-BLK times in the same run.
"""
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib.report import main  # noqa: E402
from test_domain_move import under_work  # noqa: E402

MOVES = int(sys.argv[1]) if len(sys.argv) > 1 else 100
NATIVE = int(sys.argv[2]) if len(sys.argv) > 2 else 10


def blackouts(what, count, by):
    def scene(pair, check):
        found = []
        for n in range(count):
            found.append(pair.blackout(lambda: by(pair)))
            check()
            print(f"{what}: move {n + 1}: {found[-1]:.0f} ms", flush=True)
        return found

    return scene


def test(scratch):
    scene = blackouts("iovd", MOVES, lambda pair: pair.move())
    ours, verified = under_work(scratch, scene)
    again = scratch / "native"
    again.mkdir()
    scene = blackouts("virtio-blk", NATIVE, lambda pair: pair.move_by_virsh())
    theirs = under_work(again, scene, native=True)[0]
    a, b = statistics.median(ours), statistics.median(theirs)
    return (
        f"{MOVES} moves, {verified} MiB verified; blackout in the guest, medians: iovd {a:.0f} ms "
        f"(longest {max(ours):.0f}), virtio-blk {b:.0f} ms (longest {max(theirs):.0f}): {a / b:.2f} times"
    )


main(test)
