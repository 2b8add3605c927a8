# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# timeout: 3600
# needs: vf-guest asking
"""kill -9 of iovd at every point of a function's leaving its standby, and of another one's joining: it ends on
standby, and redundant again, with nothing of a function left behind. The domain is shut off: only its
definition changes, and no guest has to be asked."""
import os

import inside
from inside import Monitor, driver_of, expect, expect_equal, netdev, vfs, wait_for

from lib import proc
from pair import MAC, pair, step


class Sweep:
    def __init__(self, p, monitor, fault):
        self.p, self.monitor, self.fault = p, monitor, fault

    def leaves(self):
        self.monitor.tell("set_link igb off")
        return self.p.wait_word("on standby")

    def joins(self):
        self.monitor.tell("set_link igb on")
        return self.p.wait_word("redundant again")

    def points(self, do, verb):
        """The fault points that are passed while something is done."""
        self.fault.write_text("list")
        at = len(self.p.iovd.log())
        do()
        self.fault.unlink()
        lines = self.p.iovd.log()[at:].splitlines()
        names = [line.split("fault point: ")[1] for line in lines if "fault point: " in line]
        return [name for name in names if name.startswith(f"{verb}.")]

    def one(self, point, do):
        """iovd dies at the point, and what was begun ends as it would have."""
        self.fault.write_text(point)
        shown = do()
        wait_for(lambda: not self.fault.exists(), f"{point} to be reached")
        shown = self.p.wait_word(shown["redundancy"])
        step(f"{point}: {shown['redundancy']}")
        return shown

    def expect_has(self, *functions):
        """Just these are bound, set and defined."""
        bound = [vf for vf in vfs(self.p.igb) if driver_of(vf) == "vfio-pci"]
        expect_equal(bound, list(functions), "functions that are bound")
        text = self.p.libvirt.xml("web1", "--inactive")
        expect_equal(text.count("<hostdev "), len(functions), f"functions of the domain: {text}")
        shown = proc.run(["ip", "link", "show", netdev(self.p.igb)]).stdout
        expect_equal(shown.count(MAC), len(functions), f"functions that have its MAC: {shown}")


def sweep_all(sweep):
    leave, join = sweep.points(sweep.leaves, "leave"), sweep.points(sweep.joins, "join")
    expect(min(len(leave), len(join)) > 15, f"only these points were found: {leave}, {join}")
    for point in leave:
        sweep.one(point, sweep.leaves)
        sweep.expect_has()
        sweep.expect_has(sweep.joins()["device"])
    for point in join:
        sweep.leaves()
        sweep.expect_has(sweep.one(point, sweep.joins)["device"])
    return len(leave), len(join)


def test(scratch):
    fault = scratch / "fault"
    os.environ["IOVD_FAULT"] = str(fault)
    with pair(scratch) as p, Monitor() as monitor:
        step("swept")
        leave, join = sweep_all(Sweep(p, monitor, fault))
    return f"killed at {leave} points of leaving, {join} of joining"


inside.main(test)
