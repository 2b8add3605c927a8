# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 1500
"""kill -9 of iovd at every point of attach and detach: as before it, or as after it."""
import os
import pathlib

import inside
from inside import Iovd, device, driver_of, expect, expect_equal, group_of, read, wait_for

NAME = "swept"


class Sweep:
    def __init__(self, iovd, bdf, fault):
        self.iovd, self.bdf, self.fault = iovd, bdf, fault
        self.attach = ("attach", bdf, "vm1", "--as", NAME, "--owner", "nobody")
        self.detach = ("detach", NAME)
        self.before = self.state()
        self.after = None  # known once it was attached
        self.visited = 0

    def state(self):
        """All that an attachment is on the host."""
        group = group_of(self.bdf)
        node = pathlib.Path(f"/dev/vfio/{group}")
        return {
            "attachments": [(a["name"], a["state"]) for a in self.iovd.attachments()],
            "driver": driver_of(self.bdf),
            "override": read(f"/sys/bus/pci/devices/{self.bdf}/driver_override"),
            "type": read(f"/sys/kernel/iommu_groups/{group}/type"),
            "node": node.stat().st_uid if node.exists() else None,
        }

    def points(self, words):
        """The fault points that a command passes."""
        self.fault.write_text("list")
        at = len(self.iovd.log())
        self.iovd.ok(*words)
        self.fault.unlink()
        lines = self.iovd.log()[at:].splitlines()
        return [line.split("fault point: ")[1] for line in lines if "fault point: " in line]

    def settle(self, what):
        """Waits until the host is as before or as after; which of the two."""
        wait_for(lambda: self.state() in (self.before, self.after), f"before or after, {what}: "
                 f"{self.state()}", 60)
        return "before" if self.state() == self.before else "after"

    def crash_at(self, point, words):
        self.fault.write_text(point)
        self.iovd.iovctl(*words)
        wait_for(lambda: not self.fault.exists(), f"{point} to be reached")
        ended = self.settle(f"killed at {point}")
        print(f"  {point}: {ended}")
        self.visited += 1

    def sweep(self, points, words, needs, undo):
        """Every point of a command, from the state that it needs."""
        for point in points:
            if self.settle("between two points") != needs:
                self.iovd.ok(*undo)
                expect_equal(self.settle("undone"), needs, "state to begin with")
            self.crash_at(point, words)


def test(scratch):
    fault = scratch / "fault"
    os.environ["IOVD_FAULT"] = str(fault)
    with Iovd(scratch) as iovd:
        sweep = Sweep(iovd, device("nvme"), fault)
        of_attach = sweep.points(sweep.attach)
        sweep.after = sweep.state()
        of_detach = sweep.points(sweep.detach)
        expect_equal(sweep.state(), sweep.before, "after a detach")
        sweep.sweep(of_attach, sweep.attach, "before", sweep.detach)
        sweep.sweep(of_detach, sweep.detach, "after", sweep.attach)
        wanted = len(of_attach) + len(of_detach)
        expect(wanted > 20, f"only {wanted} points were found")
        expect_equal(sweep.visited, wanted, "points visited")
        if sweep.settle("at the end") == "after":
            iovd.ok(*sweep.detach)
        expect_equal(sweep.state(), sweep.before, "in the end")
    return f"killed at {wanted} points: {len(of_attach)} of attach, {len(of_detach)} of detach"


inside.main(test)
