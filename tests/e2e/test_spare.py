# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""A disk fails at random moments and a spare takes over by itself: the guest sees a pause, no error.

Two paths to one volume, each a process that serves the image. In turn the one that is used fails: all
its requests with EIO, or its process dies; it comes back when the other one serves. The client checks
every read, and measures its pauses.
"""
import contextlib
import os
import random
import time

from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.proc import Failed, until
from lib.report import main
from lib.slow import SlowDisk

ROUNDS = 6
DEADLINE_MS = 10000  # within which a spare has to have taken over
LIMIT = ("--io-timeout", str(DEADLINE_MS))


class Paths:
    """Two servers of one image; the one that fails, and the other one."""

    def __init__(self, image, scratch, stack):
        self._image, self._scratch, self._stack = image, scratch, stack
        self.servers = {}
        for name in ("one", "two"):
            self._serve(name)

    def _serve(self, name):
        server = self._stack.enter_context(
            SlowDisk(self._image, self._scratch, name, locking="off"))
        self.servers[str(server.path)] = (name, server)
        return str(server.path)

    def fail(self, device):
        """How it is repaired."""
        name, server = self.servers[device]
        if random.random() < 0.5:
            server.fails(True)
            return lambda: server.fails(False)
        server.vanish()
        return lambda: self._serve(name)


def rounds(daemon, one, paths, history, count, tell):
    """How long the guest waited, each time."""
    pauses = []
    for n in range(count):
        seen = len(history.slow())
        before = one.now()["requests_completed"]
        until(lambda: one.now()["requests_completed"] > before + 20, 30, "requests that go on")
        time.sleep(random.uniform(0, 0.1))  # the moment is to be any
        device = one.now()["device"]
        repair = paths.fail(device)
        until(lambda: one.now()["device"] != device, 60, "a spare that takes over")
        pauses.append(until(lambda: max(history.slow()[seen:], default=0), 60, "the pause's end"))
        one.wait("active")
        repair()
        history.check()
        tell(n + 1)
    return sorted(pauses)


def refusals(daemon, scratch):
    """What is no other path to the volume is no spare; the same file by another name is."""
    def attach(status, spare, *words):
        done = daemon.ctl("attach", image, "vm2", "--on-error", "hold", "--spare", spare, *words,
                          "--dry-run", check=False)
        said = done.stdout + done.stderr
        if done.returncode != status:
            raise Failed(f"{spare}: exit status {done.returncode}, not {status}: {said}")
        return said

    image, other = disk.blank(scratch / "a.img", 1), disk.blank(scratch / "b.img", 1)
    large, same = disk.blank(scratch / "c.img", 2), scratch / "d.img"
    os.link(image, same)
    for spare, status, words in (
        (other, 4, "STALE-SPARE"), (large, 4, "DEV-SIZE"), (image, 2, "twice"), (same, 0, ""),
        (scratch / "nothing.img", 10, "nothing.img"),
    ):  # fmt: skip
        if words not in attach(status, spare):
            raise Failed(f"{spare}: no {words}")
    attach(0, other, "--allow", "STALE-SPARE")
    attach(2, same, "--spare", same)
    attach(2, same, "--fence", "no-path")
    if daemon.ctl("attach", image, "vm2", "--spare", same, check=False).returncode != 2:
        raise Failed("a spare without hold was given")


def test(scratch, count=ROUNDS, tell=lambda n: None):
    image = disk.blank(scratch / "disk.img", 8)
    with contextlib.ExitStack() as stack:
        paths = Paths(image, scratch, stack)
        daemon = stack.enter_context(Daemon(scratch))
        device, spare = paths.servers
        one = daemon.attach(device, "vm1", "disk0", "--on-error", "hold", *LIMIT, "--spare", spare,
                            "--allow", "STALE-SPARE,LATE-WRITE")
        history = stack.enter_context(
            History(one.socket, scratch, image=image, queues=1, depth=16, slow=20))
        one.wait("active")
        refusals(daemon, scratch)
        pauses = rounds(daemon, one, paths, history, count, tell)
        checked = history.end()
        late = [pause for pause in pauses if pause > DEADLINE_MS]
        if late:
            raise Failed(f"the guest waited for longer than {DEADLINE_MS} ms: {late}")
        p50, p99 = (pauses[int(part * (count - 1))] for part in (0.5, 0.99))
        return (
            f"{count} of {count} taken over, pauses p50 {p50:.0f} p99 {p99:.0f} max "
            f"{pauses[-1]:.0f} ms; {checked}"
        )


if __name__ == "__main__":
    main(test)
