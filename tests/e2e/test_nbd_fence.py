# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""NBD requests that are stuck behind a command that ends the server (--fence).

The command's word is the proof that a server which did not answer will not do later what it was sent:
nobody is asked about late writes then. 64 requests that nbdkit delays are carried by a quiesce in a
fraction of the time that they would take, and each is done once, by another server, before anything
new; the client checks every read, and the image is read past all of it in the end.
"""
import time

from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.nbd import Nbdkit
from lib.proc import Failed, until
from lib.report import main

DEPTH = 64
TIMEOUT_MS = 5000
# A process that is dead and not yet waited for has no program any more.
END = """#!/bin/sh
kill -9 "$1"
while readlink "/proc/$1/exe"; do sleep 0.01; done
exit 0
"""


def fence(scratch, server):
    script = scratch / "fence"
    script.write_text(END)
    script.chmod(0o700)
    return "--fence", f"{script} {server.pid}"


def attach(daemon, scratch, server, name):
    return daemon.attach(server.uri, "vm1", name, "--on-error", "hold", *fence(scratch, server))


def go_on(daemon, one, history, other):
    """The volume is the same one, which nobody but us can know; that nothing comes late is proven."""
    daemon.ctl("recover", one.id, "--to", other.uri, "--allow", "STALE-SPARE")
    before = one.now()["requests_completed"]
    until(lambda: one.now()["requests_completed"] > before + DEPTH, 30, "requests that go on")
    checked = history.end()
    daemon.ctl("detach", one.id)
    return checked


def sent(server):
    """How many requests that take their time the server has got."""
    commands = server.commands()
    return commands["Read"] + commands["Write"]


def late(daemon, scratch):
    """The server hangs, and never answers what it has."""
    image = disk.blank(scratch / "late.img", 4)
    with Nbdkit(image, scratch, "late") as server, Nbdkit(image, scratch, "other") as other:
        one = attach(daemon, scratch, server, "late")
        with History(one.socket, scratch, "late", image=image, depth=16) as history:
            until(lambda: one.now()["requests_completed"] > 100, 30, "requests")
            server.freeze()
            until(lambda: one.now()["in_flight"] == 16, 30, "requests that are stuck")
            server.die()
            one.wait("held")
            return go_on(daemon, one, history, other)


def carried(daemon, scratch, timeout_ms):
    """How long the quiesce took, in milliseconds, and what was checked."""
    image = disk.blank(scratch / "stuck.img", 4)
    slow = ("delay", "rdelay=100", "wdelay=100")
    with Nbdkit(image, scratch, "stuck", filters=slow) as server, \
            Nbdkit(image, scratch, "free") as other:  # fmt: skip
        one = attach(daemon, scratch, server, "stuck")
        with History(one.socket, scratch, "stuck", image=image, depth=DEPTH) as history:
            until(lambda: sent(server) == DEPTH, 60, "requests at the server")
            begin = time.monotonic()
            daemon.ctl("quiesce", one.id, "--carry", "--timeout", str(timeout_ms))
            took = time.monotonic() - begin
            now = one.now()
            if now["state"] != "quiesced" or now["in_flight"] != DEPTH:
                raise Failed(f"not all are carried: {now}")
            daemon.ctl("resume", one.id)
            one.wait("held", 5)
            return took * 1000, go_on(daemon, one, history, other)


def test(scratch, timeout_ms=TIMEOUT_MS):
    with Daemon(scratch) as daemon:
        hung = late(daemon, scratch)
        took, checked = carried(daemon, scratch, timeout_ms)
    return f"{DEPTH} carried in {took:.0f} ms, then {checked}; a server that hung: {hung}"


if __name__ == "__main__":
    main(test)
