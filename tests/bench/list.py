#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures how long a list of ten thousand devices takes, and that of their IOMMU groups, the whole
of iovctl included.

    ./dev bench list [--runs N]

The host is made up (tests/trees/make_tree.py, scene "big"). Promised: medians of at most 100 ms.
"""
import argparse
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import proc  # noqa: E402
from lib.inventory import Looker, make_tree  # noqa: E402

PROMISED_MS = 100


def measure(words, runs):
    """Milliseconds of each run."""
    times = []
    for _ in range(runs):
        begin = time.monotonic()
        subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
        times.append((time.monotonic() - begin) * 1000)
    return times


def measure_list(looker, what, runs):
    """The median, which is told."""
    words = looker.cli("list", what)
    size = len(subprocess.run([str(w) for w in words], check=True, capture_output=True).stdout)
    program = statistics.median(measure([words[0], "--version"], runs))
    times = sorted(measure(words, runs))
    median = statistics.median(times)
    print(f"{what + ' listed':15} ({size / 1e6:.1f} MB) in {median:6.1f} ms (median of {runs}; "
          f"{times[0]:.1f} to {times[-1]:.1f}; the program's start is {program:.1f})", flush=True)
    return median


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--runs", type=int, default=21)
    runs = options.parse_args().runs
    with proc.scratch(proc.tmpfs()) as scratch:
        print("making a host of 10,000 devices", flush=True)
        tree = make_tree("big", scratch / "big")
        begin = time.monotonic()
        with Looker(scratch, "run", tree) as looker:
            print(f"read by iovd in {time.monotonic() - begin:21.1f} s", flush=True)
            medians = [measure_list(looker, what, runs) for what in ("devices", "groups")]
            print(f"promised {PROMISED_MS:27.1f} ms")
    return 0 if max(medians) <= PROMISED_MS else 1


if __name__ == "__main__":
    sys.exit(main())
