#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 240
"""Faults from the kernel's log of a made-up host: whose they are, floods, restarts, what is not seen."""
import contextlib
import json
import os
import pathlib
import sqlite3
import subprocess
import time

from lib import report
from lib.inventory import Looker, make_tree
from lib.proc import Failed, until
from lib.varlink import MANAGER, SERVICE, Client, Interface

VTD = "DMAR: [DMA Write NO_PASID] Request device [{}] fault addr {:#x} [fault reason 0x05] PTE Write"
BOOT = "6f3e2d1c-0b0a-4988-8776-655443322110"
SECONDS_TO_TELL = 10  # ten times what is promised
RESTARTS = 8


def expect(condition, what):
    if not condition:
        raise Failed(what)


def expect_equal(seen, wanted, what):
    expect(seen == wanted, f"{what}: {seen!r}, wanted {wanted!r}")


class Log:
    """The log of a tree, which the test writes as the kernel would."""

    def __init__(self, path, is_fifo):
        if is_fifo:
            os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | (0 if is_fifo else os.O_CREAT))
        self._number = 0

    def say(self, *lines, priority=3, skip=0):
        """Records of one line each, after `skip` that are lost."""
        self._number += skip
        text = ""
        for line in lines:
            text += f"{priority},{self._number},{self._number * 10},-;{line}\n SUBSYSTEM=pci\n"
            self._number += 1
        os.write(self._fd, text.encode())

    def close(self):
        os.close(self._fd)


def tree_with_log(scratch, name, is_fifo=True):
    tree = make_tree("groups", scratch / name)
    (tree / "dev").mkdir(exist_ok=True)
    random = tree / "proc/sys/kernel/random"
    random.mkdir(parents=True, exist_ok=True)
    (random / "boot_id").write_text(BOOT + "\n")
    return tree, Log(tree / "dev/kmsg", is_fifo)


def faults(looker, *words):
    return looker.ctl("list", "faults", *words)["faults"]


def wait_faults(looker, count):
    until(lambda: len(faults(looker)) >= count, SECONDS_TO_TELL * 3, f"{count} faults")
    found = faults(looker)
    expect_equal(len(found), count, "faults")
    return found


# --- what is in a line of the list ----------------------------------------------------------------

LINES = (
    # (what the kernel says, what is to be listed)
    ([VTD.format("01:00.0", 0x2000123)],
     {"source": "vtd", "code": "FAULT-UNMAPPED", "device": "0000:01:00.0", "iova": "0x2000123",
      "class": "unmapped", "access": "write", "raw": ["0x5"], "count": 1, "vm": None}),
    # its group's reserved region
    ([VTD.format("0000:00:09.0", 0x8000000)],
     {"device": "0000:00:09.0", "class": "reserved", "iova": "0x8000000"}),
    # by the IDs that the firmware's table gives: StreamID 0x40708 is requester 0708
    (["arm-smmu-v3 9050000.smmuv3: event 0x10 received:",
      "arm-smmu-v3 9050000.smmuv3: \\x090x0004070800000010",
      "arm-smmu-v3 9050000.smmuv3: \\x090x0000000800000000",
      "arm-smmu-v3 9050000.smmuv3: \\x090x0000000003000000",
      "arm-smmu-v3 9050000.smmuv3: \\x090x0000000000000000"],
     {"source": "smmuv3", "device": "0000:07:01.0", "stream": "0x40708", "access": "read",
      "iova": "0x3000000",
      "raw": ["0x4070800000010", "0x800000000", "0x3000000", "0x0"]}),
    (["virtio_iommu virtio0: page fault from EP 2048 at 0x1000 [R]"],
     {"source": "virtio", "device": "0000:08:00.0", "stream": "0x800"}),
    (["nvme 0000:04:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000c address=0xb8024000 "
      "flags=0x0070]"],
     {"source": "amdvi", "code": "FAULT-ACCESS", "device": "0000:04:00.0"}),
    # behind a bridge that puts its own ID on what passes
    (["DMAR: [INTR-REMAP] Request device [07:00.0] fault index 0x1a [fault reason 0x26] Blocked"],
     {"code": "FAULT-INTERRUPT", "iova": None, "class": None, "access": None,
      "device": "0000:07:01.0"}),
    (["vfio-pci 0000:05:00.0: Relaying device request to user (#0)"],
     {"source": "vfio", "code": "FAULT-REQUEST", "device": "0000:05:00.0"}),
    # a device that is not there (any more)
    ([VTD.format("fe:00.0", 0)], {"device": "0000:fe:00.0", "iova": "0x0"}),
)


def check_lines(looker, log):
    for number, (lines, wanted) in enumerate(LINES):
        log.say(*lines)
        fault = wait_faults(looker, number + 1)[-1]
        seen = {key: fault[key] for key in wanted}
        expect_equal(seen, wanted, f"listed of {lines[0]!r}")
        expect_equal(fault["seq"], number + 1, "its number")
    expect_equal([f["device"] for f in faults(looker, "--vm", "nobody")], [], "of a VM without any")
    shown = looker.ctl("show", "0000:01:00.0")["device"]["facts"]["faults"]
    expect_equal([f["iova"] for f in shown], ["0x2000123"], "faults of `show`")
    check_types(looker)


def check_types(looker):
    with Client(looker.socket) as client:
        text = client.call(SERVICE + "GetInterfaceDescription", {"interface": MANAGER[:-1]})
        described = Interface(text["description"])
        reply = client.call("ListFaults", {"since": 2, "device": "01:00.0"})
        described.check_reply("ListFaults", reply)
        expect_equal(reply["faults"], [], "faults of a device after its only one")
        reply = client.call("ListFaults", {"device": "01:00.0"})
        described.check_reply("ListFaults", reply)
        expect_equal(len(reply["faults"]), 1, "faults of a device")


def check_not_the_kernel(looker, log):
    """A program of root may write anything into the log, but not as the kernel."""
    before = len(faults(looker))
    log.say(VTD.format("01:00.0", 0x666000), priority=3 | 1 << 3)
    log.say(VTD.format("01:00.0", 0x777000))
    expect_equal(wait_faults(looker, before + 1)[-1]["iova"], "0x777000", "what came after it")


def check_event(looker, log):
    """It is told at once."""
    words = [*looker.cli("-o", "jsonl", "watch")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watch:
        expect("watching" in watch.stdout.readline(), "watch does not begin")
        begin = time.monotonic()
        log.say(VTD.format("01:00.0", 0x4000000))
        event = json.loads(watch.stdout.readline())
        took = time.monotonic() - begin
        watch.kill()
    expect_equal((event["kind"], event["event"]), ("fault", "added"), "the event")
    expect_equal(event["data"]["iova"], "0x4000000", "its address")
    expect(took < SECONDS_TO_TELL, f"told after {took:.1f} s")
    return took


COUNTED = "Undefined 0\nDLP 0\nTLP 2\nCmpltTO {}\nTOTAL_ERR_NONFATAL 2\n"


def check_errors(looker, log, tree):
    """Error reporting of PCI Express: the log hints, the counters say which error it was."""
    counters = tree / "sys/bus/pci/devices/0000:08:00.0/aer_dev_nonfatal"
    counters.write_text(COUNTED.format(4))
    log.say("pcieport 0000:00:04.0: AER: Uncorrectable (Non-Fatal) error message received from "
            "0000:08:00.0")
    listed = lambda: [f for f in faults(looker) if f["source"] == "aer"]  # noqa: E731
    (fault,) = until(listed, SECONDS_TO_TELL * 3, "an error to be listed")
    seen = (fault["device"], fault["code"], fault["count"], fault["reason"])
    wanted = ("0000:08:00.0", "FAULT-ERROR", 3, "nonfatal CmpltTO: an answer did not come in time")
    expect_equal(seen, wanted, "the error")


def check_unseen(looker, log):
    """What the kernel left out is counted, and a gap in its numbers is said."""
    log.say("dmar_fault: 4711 callbacks suppressed")
    log.say(VTD.format("01:00.0", 0x9000000), skip=1000)
    until(lambda: any(f["code"] == "FAULT-LOST" for f in faults(looker)), 30, "the gap to be said")
    state = looker.ctl("list", "faults")["log"]
    expect_equal(state, {"readable": True, "problem": None, "suppressed": 4711, "unseen": 1000},
                 "what nobody saw")
    lost = next(f for f in faults(looker) if f["code"] == "FAULT-LOST")
    expect_equal((lost["count"], lost["device"]), (1000, None), "the gap")
    counted = [f["iova"] for f in faults(looker) if f["suppressed"] == 4711]
    expect_equal(counted, ["0x4000000"], "the fault after which the kernel left some out")


# --- floods ---------------------------------------------------------------------------------------

def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flood(looker, log, seconds, rate=10000):
    """So many a second, of another page each; the part of a core that it cost."""
    before = sum(f["count"] for f in faults(looker))
    entries = len(faults(looker))
    begin, used, sent = time.monotonic(), cpu_seconds(looker.pid), 0
    while (passed := time.monotonic() - begin) < seconds:
        while sent < passed * rate:
            log.say(*[VTD.format("0a:00.0", (sent + i) << 12) for i in range(10)])
            sent += 10
        time.sleep(0.001)
    took = time.monotonic() - begin
    used = cpu_seconds(looker.pid) - used
    counted = lambda: sum(f["count"] for f in faults(looker)) - before == sent  # noqa: E731
    until(counted, 60, f"all {sent} faults to be counted")
    more = len(faults(looker)) - entries
    expect(more <= 17 * (seconds // 10 + 2), f"{sent} faults of one device are {more} entries")
    return sent / took, used / took


# --- restarts -------------------------------------------------------------------------------------

def check_restarts(scratch, restarts=RESTARTS):
    """kill -9 at any moment: each fault is there once, under the number that it had."""
    tree, log = tree_with_log(scratch, "restarts", is_fifo=False)
    known = {}
    for turn in range(restarts):
        log.say(*[VTD.format(f"{turn:02x}:1f.0", (turn * 10 + i) << 16) for i in range(3)])
        with Looker(scratch, "restarts-run", tree) as looker:
            until(lambda: len(faults(looker)) >= 3 * (turn + 1), 30, "the faults of this turn")
            found = {f["seq"]: f["iova"] for f in faults(looker)}
            kept = {seq: found.get(seq) for seq in known}
            expect_equal(kept, known, "faults that were known before")
            expect_equal(len(set(found.values())), len(found), "one fault twice")
            # Before the store has them, or after; what it has is as it was.
            if turn % 2:
                until(lambda: rows(scratch) == len(found), 30, "the store to have all")
            looker.kill()
            looker.wait()
        known = kept_by_store(scratch, tree)
    log.close()
    return len(known)


def rows(scratch):
    with contextlib.closing(sqlite3.connect(scratch / "restarts-run-state/iovd.db")) as store:
        return store.execute("SELECT count(*) FROM fault").fetchone()[0]


def kept_by_store(scratch, tree):
    """What a daemon that does not read on has."""
    kmsg = tree / "dev/kmsg"
    aside = tree / "dev/aside"
    kmsg.rename(aside)
    try:
        with Looker(scratch, "restarts-run", tree) as looker:
            state = looker.ctl("list", "faults")
            expect(not state["log"]["readable"], "a log that is not there is readable")
            expect("No such file" in state["log"]["problem"], f"why: {state['log']}")
            looker.kill()
            looker.wait()
    finally:
        aside.rename(kmsg)
    return {f["seq"]: f["iova"] for f in state["faults"]}


def test(scratch, seconds=4, restarts=RESTARTS):
    tree, log = tree_with_log(scratch, "tree")
    counters = tree / "sys/bus/pci/devices/0000:08:00.0/aer_dev_nonfatal"
    counters.write_text(COUNTED.format(1))  # which is nobody's news
    with Looker(scratch, "run", tree) as looker:
        check_lines(looker, log)
        check_not_the_kernel(looker, log)
        took = check_event(looker, log)
        check_unseen(looker, log)
        check_errors(looker, log, tree)
        rate, part = flood(looker, log, seconds)
    kept = check_restarts(scratch, restarts)
    return (f"{len(LINES)} kinds; told after {took * 1000:.0f} ms; {rate:.0f} a second cost "
            f"{part * 100:.1f} % of a core; {kept} kept over {restarts} kills")


if __name__ == "__main__":
    report.main(test)
