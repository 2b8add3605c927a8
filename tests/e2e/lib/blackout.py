# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a guest's I/O stands still, measured inside the guest: a stream of requests, one after the
other; the longest of them took that long.

    blackout = measure(guest, "/dev/vda", lambda: machine.move(there))
"""
import statistics
import typing

from . import jobs

PAUSE_MS = 250  # one that took longer is told by itself
# Until it is told to end; then each that took long: when, and how long.
STREAM = (
    "fio --name=job --filename=$name --rw=randwrite --bs=4k --iodepth=1 --direct=1 --ioengine=psync "
    "--size=4m --time_based --runtime=900 --output-format=json --write_lat_log=/tmp/stream "
    ">/tmp/stream & echo $! >/tmp/stream.pid; wait; cat /tmp/stream; awk -F, "
    f"'$2 > {PAUSE_MS}000000 {{ print $1, $2 / 1000000 }}' /tmp/stream_lat.1.log"
)


class Blackout(typing.NamedTuple):
    longest_ms: float
    pauses: list  # of all requests that took long: (ms since the stream began, ms that it took)

    def __str__(self):
        told = ", ".join(f"{took:.0f} ms at {at / 1000:.1f} s" for at, took in self.pauses)
        return f"{self.longest_ms:.0f} ms" + f" ({told})" * (len(self.pauses) > 1)


def measure(guest, name, move):
    """What the requests to that file or disk saw of move()."""
    number = guest.start(f"name={name}; {STREAM}")
    guest.run("while ! [ -s /tmp/stream.pid ]; do sleep 0.1; done; sleep 1")
    move()
    guest.run("sleep 1; kill -INT $(cat /tmp/stream.pid); rm /tmp/stream.pid")
    result = guest.result(number, 120)
    lines = result.output[result.output.rindex("}") + 1 :].splitlines()
    pauses = [tuple(map(float, line.split())) for line in lines if line.strip()]
    return Blackout(jobs.work(result).longest_ms, pauses)


def figures(found):
    """A line on many of them."""
    ms = sorted(one.longest_ms for one in found)
    if not ms:
        return "none"
    p99 = ms[min(len(ms) - 1, round(0.99 * len(ms)))]
    late = sum(one > 1000 for one in ms)
    return (
        f"{len(ms)}: median {statistics.median(ms):.0f} ms, p99 {p99:.0f} ms, most {ms[-1]:.0f} ms, "
        f"{late} over a second"
    )


def ratio(ours, theirs):
    """Of the medians, beside QEMU's own virtio-blk: absolute figures of a virtual machine under TCG are
    worth little."""
    a, b = (statistics.median(one.longest_ms for one in found) for found in (ours, theirs))
    return f"{a / b:.2f} times"


def compare(ours, theirs):
    told = f"iovd {figures(ours)}; virtio-blk {figures(theirs)}"
    return f"{told}; {ratio(ours, theirs)}"
