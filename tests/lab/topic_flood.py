# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 600
# needs: asking
"""Ten thousand records a second in the kernel's own log: what that costs, and what gets lost, is known."""
import os
import pathlib
import subprocess
import time

import inside
from inside import Iovd, expect, expect_equal, lab_program

RATE = int(os.environ.get("LAB_RATE", "10000"))
SECONDS = 10


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def speed():
    """How often this processor goes round a loop in a second of its time."""
    begin, turns = time.process_time(), 0
    while time.process_time() - begin < 0.5:
        turns += 1
    return 2 * turns


def newest():
    """The number of the log's newest record."""
    with open("/dev/kmsg", "rb", buffering=0) as log:
        os.set_blocking(log.fileno(), False)
        os.lseek(log.fileno(), 0, os.SEEK_END)
        pathlib.Path("/dev/kmsg").write_text("<7>here\n")
        return int(log.read(8192).split(b",", 2)[1])


def log_state(iovd):
    return iovd.ask("ListFaults")["log"]


def of_hardware(iovd):
    """How many faults are listed that are not about the log itself."""
    return sum(f["count"] for f in iovd.ask("ListFaults")["faults"] if f["source"] != "iovd")


def test(scratch):
    inside.write("/proc/sys/kernel/printk_devkmsg", "on\n")  # which it wants as a line
    with Iovd(scratch) as iovd:
        pid = int((pathlib.Path(scratch) / "run/iovd.pid").read_text())
        expect_equal(log_state(iovd)["readable"], True, "whether the log can be read")
        before, first, unseen = cpu_seconds(pid), newest(), log_state(iovd)["unseen"]
        known = of_hardware(iovd)
        words = [lab_program("say"), str(RATE), str(SECONDS)]
        said, took_ms = map(int, subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.split())
        part = (cpu_seconds(pid) - before) / (took_ms / 1000)
        last = newest()
        expect(last - first >= said, f"the kernel did not take what was said: {said}, {first} to {last}")
        expect_equal(of_hardware(iovd), known, "faults, though only a program said that there were any")
        expect_equal(log_state(iovd)["readable"], True, "whether the log can be read after it")
        lost = log_state(iovd)["unseen"] - unseen
    return (f"{said * 1000 // took_ms} records a second cost {part * 100:.1f} % of this processor, which "
            f"goes {speed()} times round; {lost} of {said} were overwritten before they were read")


inside.main(test)
