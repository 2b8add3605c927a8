#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures how long a list of ten thousand devices takes, that of their IOMMU groups, a picture of them, and
the doctor, the whole of iovctl included.

    ./dev bench list [--runs N]

The host is made up (tests/trees/make_tree.py, scene "big"). Promised: medians of at most 100 ms
for the lists, and 2 s for the doctor.
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
DOCTOR_MS = 2000
REFUSED = 4  # the doctor's status when something is amiss


def measure(words, runs):
    """Milliseconds of each run."""
    times = []
    for _ in range(runs):
        begin = time.monotonic()
        done = subprocess.run([str(word) for word in words], stdout=subprocess.DEVNULL)
        if done.returncode not in (0, REFUSED):
            sys.exit(f"{words}: exit status {done.returncode}")
        times.append((time.monotonic() - begin) * 1000)
    return times


def measure_verb(looker, what, verb, runs):
    """The median, which is told."""
    words = looker.cli(*verb)
    size = len(subprocess.run([str(w) for w in words], capture_output=True).stdout)
    program = statistics.median(measure([words[0], "--version"], runs))
    times = sorted(measure(words, runs))
    median = statistics.median(times)
    print(f"{what:15} ({size / 1e6:.1f} MB) in {median:6.1f} ms (median of {runs}; "
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
            medians = [measure_verb(looker, f"{what} listed", ("list", what), runs)
                       for what in ("devices", "groups")]
            print(f"promised {PROMISED_MS:27.1f} ms")
            measure_verb(looker, "host drawn", ("show", "host", "--tree", "-o", "table"), runs)
            doctor = measure_verb(looker, "doctor", ("doctor",), runs)
            print(f"promised {DOCTOR_MS:27.1f} ms")
    return 0 if max(medians) <= PROMISED_MS and doctor <= DOCTOR_MS else 1


if __name__ == "__main__":
    sys.exit(main())
