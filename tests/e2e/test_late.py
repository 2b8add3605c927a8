# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""A disk that does not answer has failed, too, and nothing is answered for it falsely.

Its server is stopped: what it was told stays with it. The requests are late then; the guest waits, and
hears no error under either policy. A spare takes over only when the late ones are over: when the fence
has ended the server, or somebody else has.
"""
import contextlib
import signal

from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.proc import Failed, until
from lib.report import main
from lib.slow import SlowDisk

LATE_MS = "1000"
SPARE = ("--allow", "STALE-SPARE,LATE-WRITE")


def is_busy(one):
    before = one.now()["requests_completed"]
    until(lambda: one.now()["requests_completed"] > before + 50, 30, "requests that go on")


def shows(one, state, words):
    def is_so():
        now = one.now()
        return now["state"] == state and words in (now["pending_action"] or "")

    until(is_so, 30, f"{one.name} to be {state}, {words!r}")


def comes_back(daemon, one, server, history):
    """It only was slow: the hold ends by itself, and so does its successor's."""
    server.kill(signal.SIGSTOP)
    shows(one, "held", "no answer for 1000 ms")
    server.kill(signal.SIGCONT)
    one.wait("active")
    is_busy(one)
    server.kill(signal.SIGSTOP)
    shows(one, "held", "no answer for 1000 ms")
    one.kill_worker()
    daemon.wait_restart(daemon.kill())
    server.kill(signal.SIGCONT)
    one.wait("active")
    is_busy(one)
    history.check()


def reported(one, server, history):
    """Nothing is held, and nothing said to the guest."""
    server.kill(signal.SIGSTOP)
    shows(one, "active", "no answer for 1000 ms")
    server.kill(signal.SIGCONT)
    until(lambda: one.now()["pending_action"] is None, 30, "a disk that answers")
    is_busy(one)
    history.check()


def not_fenced(one, server, spare, history):
    """Without a proof it waits, and says so."""
    server.kill(signal.SIGSTOP)
    shows(one, "recovering", "have not ended, and may yet be done")
    server.vanish()
    until(lambda: one.now()["device"] == str(spare.path), 60, "a spare that takes over")
    one.wait("active")
    is_busy(one)
    history.check()


def fenced(one, server, spare, history):
    """The command is the proof."""
    server.kill(signal.SIGSTOP)
    until(lambda: one.now()["device"] == str(spare.path), 60, "a spare that takes over")
    one.wait("active")
    if server.alive():
        raise Failed("the server was not ended")
    is_busy(one)
    history.check()


def refused(daemon, one, server, history):
    """A command that fails proves nothing: it stays held, until a person says what is so."""
    server.kill(signal.SIGSTOP)
    shows(one, "held", "no spare takes over")
    if "not fenced" not in one.now()["pending_action"]:
        raise Failed(f"the reason is not told: {one.now()}")
    server.kill(signal.SIGCONT)
    one.wait("active")
    is_busy(one)
    history.check()


class Scene:
    """One disk, by paths of its own, and its client."""

    def __init__(self, stack, daemon, scratch, name, paths, *words):
        image = disk.blank(scratch / f"{name}.image", 4)
        self.servers = [
            stack.enter_context(SlowDisk(image, scratch, f"{name}{n}", locking="off"))
            for n in range(paths)
        ]
        words = [word.replace("SERVER", str(self.servers[0].pid)) for word in words]
        spares = [w for server in self.servers[1:] for w in ("--spare", server.path, *SPARE)]
        self.one = daemon.attach(self.servers[0].path, "vm1", name, "--io-timeout", LATE_MS,
                                 *words, *spares)
        self.history = stack.enter_context(
            History(self.one.socket, scratch, f"history-{name}", image=image, depth=16))
        self.one.wait("active")
        is_busy(self.one)


def test(scratch):
    hold = ("--on-error", "hold")
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(Daemon(scratch))
        scenes = []

        def scene(*words):
            scenes.append(Scene(stack, daemon, scratch, *words))
            return scenes[-1]

        back = scene("back", 1, *hold)
        comes_back(daemon, back.one, *back.servers, back.history)
        told = scene("told", 1)
        reported(told.one, *told.servers, told.history)
        waits = scene("waits", 2, *hold)
        not_fenced(waits.one, *waits.servers, waits.history)
        fence = scene("fence", 2, *hold, "--fence", "/bin/kill -KILL SERVER")
        fenced(fence.one, *fence.servers, fence.history)
        fails = scene("fails", 2, *hold, "--fence", "/bin/false")
        refused(daemon, fails.one, fails.servers[0], fails.history)
        checked = [one.history.end() for one in scenes]
    requests = sum(c.requests for c in checked)
    return f"{requests} requests, {sum(c.reads_checked for c in checked)} reads checked"


if __name__ == "__main__":
    main(test)
