# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# timeout: 1500
# needs: vf-guest asking
"""A guest has a virtual function with a virtio card as its standby, and a TCP stream to this host. The
function's link is cut, the function is pulled, the function faults without end: each time the stream
goes on after a short gap, and it ends redundant again. Two seconds are promised, and to be seen where
nobody else has the processors that emulate all this; here the limit is for a busy machine, and what was
measured is printed."""
import mmap
import threading

import inside
from inside import PCI, Failed, Monitor, expect, expect_equal, netdev, vfs, wait_for, write

from lib import proc
from pair import HOST, MAC, pair, step
from stream import Stream

GAP_SECONDS = 20
TDBAH, TDT = 0x3804, 0x3818  # an 82576's ring for sending: its address, the tail
NOWHERE = 0x77  # << 32: far beyond the guest's memory


def expect_short(stream, what):
    """The stream goes on, and was not silent for long."""
    back = stream.back
    wait_for(lambda: stream.back > back + 10, "the stream to go on")
    gap = stream.longest()
    step(f"{what}: the longest gap was {gap:.2f} s")
    expect(gap < GAP_SECONDS, f"{what}: the stream was silent for {gap:.2f} s")
    return gap


def survive(p, stream, what, fail, mend):
    """fail() is done to the function that it has, mend() when it is away; what is shown then, the gap."""
    before = p.shown()
    leaves = before["vf"]["leaves"] + 1
    stream.longest()
    step(what)
    fail(before["device"])
    away = p.wait_word("on standby", leaves)
    step(f"on standby, because {away['vf']['left_because']}")
    expect_equal(away["state"], "active", "its state")
    first = expect_short(stream, f"{what}: away from the function")
    mend()
    joined = p.wait_word("redundant again", leaves)
    step(f"redundant again, with {joined['device']}")
    return joined, max(first, expect_short(stream, f"{what}: back on a function"))


def expect_set(p, bdf):
    """It is set as the first one was, and no other is."""
    lines = proc.run(["ip", "link", "show", netdev(p.igb)]).stdout.splitlines()
    having = [line for line in lines if MAC in line]
    expect_equal(len(having), 1, f"functions with its MAC: {having}")
    index = vfs(p.igb).index(bdf)
    expect(f"vf {index} " in having[0] and "spoof checking on" in having[0], f"{bdf}: {having[0]}")


def check_link(p, stream, monitor):
    joined, gap = survive(
        p, stream, "the link is cut",
        lambda bdf: monitor.tell("set_link igb off"),
        lambda: monitor.tell("set_link igb on"),
    )
    expect_set(p, joined["device"])
    return gap


def check_pulled(p, stream):
    """Its remover waits until the machine has let go of it."""
    pulls = []

    def pull(bdf):
        pulls.append(threading.Thread(target=write, args=(PCI / bdf / "remove", 1)))
        pulls[0].start()

    joined, gap = survive(p, stream, "the function is pulled", pull, lambda: None)
    pulls[0].join()
    write("/sys/bus/pci/rescan", 1)
    return gap


def fault(bdf):
    """It sends from a ring that is where nothing is mapped, whatever its driver wants to send."""
    with open(PCI / bdf / "resource0", "r+b", buffering=0) as file:
        with mmap.mmap(file.fileno(), 0x4000) as bar, memoryview(bar).cast("I") as registers:
            registers[TDBAH // 4] = NOWHERE
            for tail in range(16):
                registers[TDT // 4] = tail % 8


def check_faulting(p, stream):
    bad = p.shown()["device"]
    joined, gap = survive(p, stream, "the function faults", fault, lambda: None)
    expect(joined["device"] != bad, f"{bad} came back")
    expect_equal([q["device"] for q in joined["vf"]["quarantined"]], [bad], "quarantined")
    expect_equal(p.iovd.ok("show", bad)["device"]["state"], "quarantined", "its state")
    p.iovd.refused("DEV-QUARANTINED", "attach", bad, "vm2")
    p.iovd.ok("release", bad)
    expect_equal(p.iovd.ok("show", bad)["device"]["state"], "free", "its state when it is released")
    return gap


def play(p, stream, monitor):
    """All scenes, each whatever became of those before it; what came out of each, and whether all is well."""
    scenes = {
        "link": lambda: check_link(p, stream, monitor),
        "pulled": lambda: check_pulled(p, stream),
        "faulting": lambda: check_faulting(p, stream),
    }
    told, failed = [], False
    for name, scene in scenes.items():
        try:
            p.wait_word(("redundant", "redundant again"))
            told.append(f"{name}: {scene():.2f} s")
        except Failed as error:
            failed = True
            told.append(f"{name}: FAILED")
            step(f"{name}: {error}")
    return ", ".join(told), not failed


def test(scratch):
    with pair(scratch) as p, Stream(HOST) as stream, Monitor() as monitor:
        p.boot()
        p.domain.start(f"nc {HOST} 5001 -e cat")
        wait_for(lambda: stream.back > 20, "the stream")
        gaps, is_well = play(p, stream, monitor)
        told = f"{stream.back} lines there and back; the longest gaps: {gaps}"
        expect(is_well, told)
    return told


inside.main(test)
