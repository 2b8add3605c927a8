# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""kill -9 of iovd at every point of a restore of two disks: both are there afterwards, incoming, or
none is, and the restore can be made again. And when the second disk cannot be had, the first goes again.
"""
import os

from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.proc import Failed, until
from lib.report import main


def expect(condition, what):
    if not condition:
        raise Failed(what)


def save(daemon, scratch, images):
    """The state of a VM with two disks, taken from under its I/O."""
    ones = [daemon.attach(image, "vm1", f"d{n}") for n, image in enumerate(images)]
    clients = []
    try:
        clients += [History(one.socket, scratch, one.name) for one in ones]
        for one in ones:
            until(lambda one=one: one.now()["requests_completed"] > 50, 60, "requests")
        daemon.ctl("quiesce", "vm1", "--timeout", "30000")
        daemon.ctl("save", "vm1", "-f", scratch / "vm1.state")
    finally:
        for client in clients:
            client.stop()
    for one in ones:
        daemon.ctl("detach", one.id)
    return scratch / "vm1.state"


def states(daemon):
    return [a["state"] for a in daemon.attachments()]


def detach_all(daemon):
    for one in daemon.attachments():
        daemon.ctl("detach", one["id"])


def points(daemon, fault, words):
    fault.write_text("list")
    at = len(daemon.log())
    daemon.ctl(*words)
    fault.unlink()
    lines = daemon.log()[at:].splitlines()
    return [line.split("fault point: ")[1] for line in lines if "fault point: " in line]


def sweep(daemon, fault, state):
    words = ("restore", state)
    passed = points(daemon, fault, words)
    expect(states(daemon) == ["incoming"] * 2, f"restored: {states(daemon)}")
    expect("restore.all" in passed and len(passed) > 8, f"points: {passed}")
    ends = {(): 0, ("incoming",) * 2: 0}
    for nth, point in enumerate(passed):
        detach_all(daemon)
        old = daemon.pid()
        fault.write_text(point)
        daemon.ctl(*words, check=False)
        until(lambda: not fault.exists(), 20, f"{point} to be reached")
        daemon.wait_restart(old)
        until(lambda: tuple(states(daemon)) in ends, 30, f"none or both, at {point}")
        end = tuple(states(daemon))
        # The same name comes by twice, once for each disk: the first time counts.
        late = nth > passed.index("restore.all")
        expect(bool(end) == late, f"killed at {point}: {end}")
        ends[end] += 1
    detach_all(daemon)
    return ends


def second_is_gone(daemon, state, image):
    """Refused before anything is changed: the first disk is fit, the second has another size."""
    small = disk.blank(image.with_name("small.img"), 1)
    done = daemon.ctl("restore", state, "--map", f"d1={small}", check=False)
    expect(done.returncode == 4 and "DISK-DIFFERS" in done.stderr, done.stderr)
    expect(not states(daemon), f"left: {states(daemon)}")
    done = daemon.ctl("restore", state, "--map", f"d1={image}", check=False)
    expect(done.returncode == 4 and "DEV-TAKEN" in done.stderr, done.stderr)
    daemon.ctl("restore", state, "--vm", "vm2")
    expect({a["vm"] for a in daemon.attachments()} == {"vm2"}, f"{daemon.attachments()}")
    detach_all(daemon)


def test(scratch):
    fault = scratch / "fault"
    os.environ["IOVD_FAULT"] = str(fault)
    images = [disk.blank(scratch / f"{n}.img", 8) for n in range(2)]
    with Daemon(scratch) as daemon:
        state = save(daemon, scratch, images)
        second_is_gone(daemon, state, images[0])
        ends = sweep(daemon, fault, state)
    return f"killed at {sum(ends.values())} points: {ends[()]} times none, else both"


if __name__ == "__main__":
    main(test)
