#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""All scenes of this machine in which something fails or is killed under the history checker, again and
again: ./dev campaign history [MINUTES] [SCENE...].

A table at the end: how often each was run, and how many requests were checked. Those of the kernel's
own disks, and the power cut, need a lab host: ./dev lab vtd storage vanish, ./dev campaign power-cut.
"""
import importlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import proc  # noqa: E402
from lib.history import History  # noqa: E402
from lib.proc import Failed, Skipped  # noqa: E402
from lib.report import main, show_logs  # noqa: E402

from guest.cache import progress  # noqa: E402  (lib says where it is)

# Tests whose clients are all checked.
SCENES = {
    "history": "the checker itself",
    "history_kills": "kills of worker, iovd and both",
    "hold": "EIO, a disk that vanishes, a full file system, another path",
    "late": "requests that take too long",
    "spare": "spares that take over",
    "nbd": "volumes of the network, all of whose parts are killed",
    "nbd_faults": "servers that fail, hang, and lie",
    "nbd_fence": "servers that are ended by a command",
    "quiesce": "gates, deadlines, requests that are cancelled and carried",
    "carry_fenced": "64 requests that are carried by a path that is ended, or are not",
    "carry_held": "requests that had failed before they are carried",
    "gate_crashes": "kills at every point of a gate's way",
    "restore_crashes": "kills at every point of a restore",
    "store_trouble": "the store full, broken, damaged",
}


class Tally:
    """What one scene came to."""

    def __init__(self, name):
        self.test = importlib.import_module(f"test_{name}").test
        self.runs, self.checked, self.skipped = 0, [], ""

    def run(self):
        """Once more; what fails raises."""
        before = len(History.ended)
        try:
            with proc.scratch() as scratch:
                try:
                    self.test(scratch)
                except Failed:
                    show_logs(scratch)
                    raise
            self.runs += 1
        except Skipped as reason:
            self.skipped = str(reason)
        self.checked += History.ended[before:]

    def cells(self):
        if self.skipped:
            return "-", "-", "-", "-", f"skipped: {self.skipped}"
        requests = sum(one.requests for one in self.checked)
        reads = sum(one.reads_checked for one in self.checked)
        longest = max((one.longest_ms for one in self.checked), default=0)
        return self.runs, requests, reads, f"{longest:.0f}", ""


def table(tallies):
    """The lines of it."""
    rows = [("scene", "runs", "requests", "reads checked", "longest, ms", "")]
    for name, tally in tallies.items():
        *cells, note = tally.cells()
        rows.append((name, *map(str, cells), note or SCENES[name]))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def campaign(minutes, names):
    tallies = {name: Tally(name) for name in names}
    end = time.monotonic() + 60 * minutes
    while True:
        for name, tally in tallies.items():
            tally.run()
            progress(f"{name}: {' '.join(map(str, tally.cells()))}")
            if time.monotonic() > end and all(t.runs or t.skipped for t in tallies.values()):
                print("\n".join(table(tallies)))
                return f"{sum(c.requests for t in tallies.values() for c in t.checked)} requests"


MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 10

main(lambda scratch: campaign(MINUTES, sys.argv[2:] or SCENES))
