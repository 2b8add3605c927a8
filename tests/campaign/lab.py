#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The full cross of the lab: ./dev campaign lab [HOST...].

All hosts with both kernels, VT-d also with other kernel arguments, each with all its topics; a
table at the end, also of what was done when it is told to end before that.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import lab  # noqa: E402

HOSTS = (
    "vtd", "amdvi", "virtio", "smmuv3",
    "vtd-own", "smmuv3-own", "vtd+pt", "amdvi-own", "virtio-own", "vtd+strict",
    "vtd+systemd",
)  # fmt: skip
MARKS = {lab.PASSED: "ok", lab.FAILED: "FAILED", lab.SKIPPED: "skip"}


def table(hosts, verdicts):
    """The lines of a table: topics down, hosts across."""
    results = {(v.topic, v.host): MARKS[v.result] for v in verdicts}
    rows = [["", *hosts]]
    for topic in sorted({v.topic for v in verdicts}):
        rows.append([topic, *(results.get((topic, host), "-") for host in hosts)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def main(hosts):
    lab.end_on_sigterm()
    verdicts = []
    try:
        for host in hosts:
            verdicts += lab.run([host])
    finally:
        lab.tell(verdicts)
        print("\n".join(table(hosts, verdicts)), flush=True)
    return lab.status(verdicts)


sys.exit(main(sys.argv[1:] or HOSTS))
