# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 1500
"""kill -9 of iovd at every point of attach, of the renewal after a VMM's end, and of detach: as before
it, or as after it."""
import os
import pathlib

import inside
from inside import (
    Failed,
    Iovd,
    bus_master,
    device,
    driver_of,
    expect,
    expect_equal,
    group_of,
    read,
    wait_for,
)
from owner import Owner
from vmms import wait_state

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
        given = self.iovd.ask("ListAttachments")["attachments"]
        group = group_of(self.bdf)
        node = pathlib.Path(f"/dev/vfio/{group}")
        return {
            "attachments": [(a["name"], a["state"]) for a in given],
            "driver": driver_of(self.bdf),
            "override": read(f"/sys/bus/pci/devices/{self.bdf}/driver_override"),
            "type": read(f"/sys/kernel/iommu_groups/{group}/type"),
            "node": node.stat().st_uid if node.exists() else None,
        }

    def points(self, do):
        """The fault points that are passed while something is done."""
        self.fault.write_text("list")
        at = len(self.iovd.log())
        do()
        self.fault.unlink()
        lines = self.iovd.log()[at:].splitlines()
        return [line.split("fault point: ")[1] for line in lines if "fault point: " in line]

    def wait(self, states, what):
        """Waits until the host is in one of these states; which."""
        seen = []

        def reached():
            seen[:] = [self.state()]
            return seen[0] in states

        try:
            wait_for(reached, what, 60)
        except Failed as error:
            raise Failed(f"{error}: {seen[0]}") from error
        return seen[0]

    def settle(self, what):
        """Waits until the host is as before or as after; which of the two."""
        state = self.wait((self.before, self.after), f"before or after, {what}")
        return "before" if state == self.before else "after"

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

    def use(self, point=None):
        """A VMM opens it and ends; iovd dies where the renewal after that comes to a point."""
        with Owner("vmm") as vmm:
            vmm.open_master(self.bdf)
            wait_state(self.iovd, NAME, "active")
            if point:
                self.fault.write_text(point)
        if point:
            wait_for(lambda: not self.fault.exists(), f"{point} to be reached")
        self.wait((self.after,), "ready again")
        expect(not bus_master(self.bdf), "it is ready, and a bus master")

    def sweep_renewal(self, points):
        """Its VMM is gone, so there is no before: it must be ready, and the next one can open it."""
        if self.settle("between two points") != "after":
            self.iovd.ok(*self.attach)
        for point in points:
            self.use(point)
            print(f"  {point}: ready")
            self.visited += 1
        self.use()


def test(scratch):
    fault = scratch / "fault"
    os.environ["IOVD_FAULT"] = str(fault)
    with Iovd(scratch) as iovd:
        sweep = Sweep(iovd, device("nvme"), fault)
        of_attach = sweep.points(lambda: iovd.ok(*sweep.attach))
        sweep.after = sweep.state()
        of_renewal = sweep.points(sweep.use)
        of_detach = sweep.points(lambda: iovd.ok(*sweep.detach))
        expect_equal(sweep.state(), sweep.before, "after a detach")
        sweep.sweep(of_attach, sweep.attach, "before", sweep.detach)
        sweep.sweep_renewal(of_renewal)
        sweep.sweep(of_detach, sweep.detach, "after", sweep.attach)
        counts = [len(names) for names in (of_attach, of_renewal, of_detach)]
        expect(min(counts) > 10, f"only {counts} points were found")
        expect_equal(sweep.visited, sum(counts), "points visited")
        if sweep.settle("at the end") == "after":
            iovd.ok(*sweep.detach)
        expect_equal(sweep.state(), sweep.before, "in the end")
    attach, renewal, detach = counts
    return f"killed at {sum(counts)} points: {attach} of attach, {renewal} of renewal, {detach} of detach"


inside.main(test)
