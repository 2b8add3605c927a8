# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 240
"""64 requests are at a disk that will never answer, and are carried once its path is shown to be ended.

Nothing shows that they are not done, until the command that was given for it has ended the disk's server.
They stay in flight then, and each is done once by another path. Where the command proves nothing, so does
quiesce: they are named, and the gate is open again.
"""
import contextlib
import signal
import time

from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.proc import Failed, until
from lib.report import main
from lib.slow import SlowDisk

DEPTH = 64
TIMEOUT_MS = 10000


FENCE = """#!/bin/sh
# Ends a server; one that is gone is ended.
kill -KILL "$1" 2>/dev/null || [ ! -d "/proc/$1" ]
"""


def stuck(one, server):
    server.kill(signal.SIGSTOP)
    until(lambda: one.now()["in_flight"] == DEPTH, 60, "requests that are stuck")


def expect(is_so, words):
    if not is_so:
        raise Failed(words)


def carried(daemon, one, server, spare, timeout_ms):
    """How long it took."""
    stuck(one, server)
    begin = time.monotonic()
    daemon.ctl("quiesce", one.id, "--timeout", str(timeout_ms), "--carry", seconds=60)
    took = time.monotonic() - begin
    now = daemon.ctl("show", one.id)["attachment"]
    expect(now["state"] == "quiesced" and now["in_flight"] == DEPTH, f"not carried: {now}")
    expect(len(now["requests"]) == DEPTH and all(r["held"] for r in now["requests"]), f"{now}")
    expect(not server.alive(), "the server was not ended")
    daemon.ctl("resume", one.id)
    until(lambda: one.now()["device"] == str(spare.path), 60, "a spare that takes over")
    one.wait("active")
    return took


def not_carried(daemon, one, server, timeout_ms):
    stuck(one, server)
    begin = time.monotonic()
    done = daemon.ctl("quiesce", one.id, "--timeout", str(timeout_ms), "--carry", check=False)
    took = time.monotonic() - begin
    said = done.stdout + done.stderr
    expect(done.returncode == 5 and "nor can they be cancelled" in said, said)
    expect("the path is not fenced" in said, said)
    now = daemon.ctl("show", one.id)["attachment"]
    expect(now["state"] == "active" and now["in_flight"] == DEPTH, f"not as before: {now}")
    oldest = now["requests"][0]
    expect(oldest["age_ms"] > 0 and oldest["kind"] in ("read", "write", "flush"), f"{oldest}")
    server.kill(signal.SIGCONT)
    before = one.now()["requests_completed"]
    until(lambda: one.now()["requests_completed"] > before + DEPTH, 60, "requests that go on")
    return took


def test(scratch, timeout_ms=TIMEOUT_MS):
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(Daemon(scratch))
        fence = scratch / "fence"
        fence.write_text(FENCE)
        fence.chmod(0o755)
        scenes = []
        for name, command in (("ends", f"{fence} {{}}"), ("fails", "/bin/false {}")):
            image = disk.blank(scratch / f"{name}.image", 8)
            paths = [
                stack.enter_context(SlowDisk(image, scratch, f"{name}{n}", locking="off"))
                for n in range(2)
            ]
            one = daemon.attach(
                paths[0].path, "vm1", name, "--on-error", "hold", "--io-timeout", "0",
                "--spare", paths[1].path, "--allow", "STALE-SPARE,LATE-WRITE",
                "--fence", command.format(paths[0].pid),
            )  # fmt: skip
            history = stack.enter_context(
                History(one.socket, scratch, f"history-{name}", image=image, depth=DEPTH))
            one.wait("active")
            scenes.append((one, paths, history))
        one, (server, spare), _ = scenes[0]
        took = carried(daemon, one, server, spare, timeout_ms)
        one, (server, _), _ = scenes[1]
        not_took = not_carried(daemon, one, server, timeout_ms)
        checked = [history.end() for _, _, history in scenes]
    requests = sum(c.requests for c in checked)
    reads = sum(c.reads_checked for c in checked)
    return (
        f"{DEPTH} requests were carried in {took * 1000:.0f} ms of at most {timeout_ms}, and {DEPTH} "
        f"were not, which took {not_took * 1000:.0f} ms; {requests} requests, {reads} reads checked"
    )


if __name__ == "__main__":
    main(test)
