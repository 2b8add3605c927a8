# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 300
"""A write to sysfs that hangs costs its device, which is shown as wedged, and nothing else.

vfio-pci does not let go of a device that a process has open: `unbind` waits for it in the kernel,
where not even kill -9 gets at who waits. Here the process keeps the device's descriptor only, so
that nothing in /proc says of it what it has open.
"""
import fcntl
import os
import statistics
import subprocess
import sys
import time

import inside
from inside import (
    Client,
    Iovd,
    device,
    driver_of,
    expect,
    expect_equal,
    group_of,
    wait_for,
)

GET_API, SET_IOMMU, SET_CONTAINER, GET_DEVICE = 0x3B64, 0x3B66, 0x3B68, 0x3B6A
TYPE1V2 = 3
ANSWER_MS = 50
STUCK_MS = 5000  # a third of the deadline of a hand


def hold(bdf):
    """In a process of its own: opens a device as a VMM does, and keeps nothing but the device."""
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    group = os.open(f"/dev/vfio/{group_of(bdf)}", os.O_RDWR)
    fcntl.ioctl(group, SET_CONTAINER, container.to_bytes(4, "little"))
    fcntl.ioctl(container, SET_IOMMU, TYPE1V2)
    kept = fcntl.ioctl(group, GET_DEVICE, bdf.encode() + b"\0")
    os.close(group)
    os.close(container)
    print(kept, flush=True)
    sys.stdin.read()


class Holder:
    """A process that has a device open until it is told to end, or the context ends."""

    def __init__(self, bdf):
        words = [sys.executable, __file__, "hold", bdf]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        expect(self._process.stdout.readline(), "the device cannot be opened")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.end()

    def end(self):
        self._process.stdin.close()
        expect_equal(self._process.wait(), 0, "end of the holder")


def measure(client, other, until):
    """What answers about others take, in ms, until the condition holds: sorted."""
    took = []
    while not until():
        begin = time.monotonic()
        client.call("ListJobs")
        client.call("Show", name=other)
        took.append((time.monotonic() - begin) * 500)  # of one of the two
    expect(len(took) > 20, f"{len(took)} answers only")
    return sorted(took)


def check_answers(took, usual):
    """Within 50 ms, and none waits for what hangs. A slow machine is slow before it, too."""
    middle, limit = statistics.median(took), max(ANSWER_MS, 3 * statistics.median(usual))
    print(f"  {len(took)} answers: median {middle:.1f} ms (before: {statistics.median(usual):.1f}), "
          f"nine of ten within {took[int(len(took) * 0.9)]:.1f} ms, the slowest {took[-1]:.1f} ms",
          flush=True)
    expect(middle <= limit, f"answers take {middle:.1f} ms, more than {limit:.1f} ms")
    expect(took[-1] < STUCK_MS, f"an answer took {took[-1]:.1f} ms")


def check_shown(iovd, bdf):
    shown = iovd.ok("show", bdf)["device"]
    expect_equal(shown["state"], "wedged", "state")
    wedge = shown["wedge"]
    expect(f"{bdf} vfio-pci" in wedge["work"], f"device or driver are not named: {wedge}")
    expect("vfio" in wedge["waits_in"], f"the place does not tell: {wedge}")
    expect(os.path.exists(f"/proc/{wedge['pid']}"), f"there is no such process: {wedge}")
    listed = {d["id"]: d["state"] for d in iovd.ok("list", "devices")["devices"]}
    expect_equal(listed[bdf], "wedged", "state in the list")
    expect_equal(listed[device("edu_b")], "free", "state of another device")
    return wedge["pid"]


def check(scratch, bdf, other):
    with Iovd(scratch) as iovd:
        watch_log = open(scratch / "watch", "w+")
        watch = subprocess.Popen(
            [inside.program("iovctl"), "-s", iovd.socket, "-o", "jsonl", "watch"], stdout=watch_log
        )
        iovd.ok("bind", bdf, "vfio")
        client = Client(iovd.socket)
        end = time.monotonic() + 3
        usual = measure(client, other, lambda: time.monotonic() > end)
        with Holder(bdf):
            release = subprocess.Popen(
                [inside.program("iovctl"), "-s", iovd.socket, "-o", "json", "release", bdf],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            is_wedged = lambda: client.call("Show", name=bdf)["device"]["state"] == "wedged"  # noqa: E731
            took = measure(client, other, is_wedged)
            check_answers(took, usual)
            answer = release.communicate(timeout=60)[0]
            expect_equal(release.returncode, 6, f"exit status: {answer}")
            expect("DEV-WEDGED" in answer, f"not said to be wedged: {answer}")
            pid = check_shown(iovd, bdf)
            expect('"state":"wedged"' in (scratch / "watch").read_text(), "watchers were not told")
            watch.terminate()
            watch.wait()

            # Nothing more is begun there; elsewhere all goes on.
            expect_equal(iovd.refused("DEV-WEDGED", "bind", bdf, "vfio").status, 4, "exit status")
            iovd.refused("not finished yet", "release", bdf)
            iovd.ok("bind", other, "vfio")
            iovd.ok("release", other)

            # The stuck process outlives kill -9 of itself and of iovd, and the next iovd knows it.
            iovd.wait_restart(iovd.kill())
            expect_equal(check_shown(iovd, bdf), pid, "process that holds it, after a restart")
            client = Client(iovd.socket)
            end = time.monotonic() + 3
            check_answers(measure(client, other, lambda: time.monotonic() > end), usual)

        # It is let go, and what was begun is finished.
        wait_for(lambda: iovd.ok("show", bdf)["device"]["state"] == "free", "it to be free", 30)
        wait_for(lambda: driver_of(bdf) is None, "its driver to be given back", 30)
        wait_for(lambda: iovd.iovctl("release", bdf).status == 0, "the end of what was begun", 30)
        iovd.ok("bind", bdf, "vfio")
        iovd.ok("release", bdf)


def test(scratch):
    bdf, other = device("edu_a"), device("edu_b")
    try:
        check(scratch, bdf, other)
    except inside.Failed:
        for one in (bdf, other):  # as the next topic expects them
            inside.unbind(one)
        raise


if sys.argv[1:2] == ["hold"]:
    hold(sys.argv[2])
else:
    inside.main(test)
