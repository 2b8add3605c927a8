#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form of tests/e2e/test_domain_move_crashes.py: whatever can die, at every stage, ROUNDS times.

    ./dev campaign domain-move-crashes [ROUNDS [WHAT]...]     WHAT: iovd worker libvirtd qemu link

Each of them has hosts of its own, so that one that fails does not hide the others.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import test_domain_move_crashes as crashes  # noqa: E402
from lib.proc import Failed  # noqa: E402
from lib.report import main  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
ALL = ("iovd", "worker", "libvirtd", "qemu", "link")
WHATS = sys.argv[2:] or ALL


def each(what):
    kill = getattr(crashes, what)
    scenes = [(kill, side, stage) for side in ("here", "there") for stage in crashes.STAGES]
    return [one for one in scenes if one not in crashes.NEVER] * ROUNDS


def test(scratch):
    failed = []
    for what in WHATS:
        folder = scratch / what
        folder.mkdir()
        try:
            print(f"{what}: {crashes.test(folder, each(what), depth=32)}", flush=True)
        except Failed as error:
            print(f"{what}: FAILED: {error}", flush=True)
            failed.append(what)
    if failed:
        raise Failed(", ".join(failed))
    return f"{ROUNDS} rounds of {', '.join(WHATS)}"


main(test)
