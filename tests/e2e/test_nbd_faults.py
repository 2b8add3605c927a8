# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""NBD servers that fail, hang, die, come back as something else, or lie; the guest only waits.

Under --on-error hold the requests are kept and done again when recover says so, on a new connection
to the same server or to another one. What a server that is gone may still do is never guessed: it is
asked of the person (NBD-LATE). The client checks every read, and fails on the first error that
reaches it.
"""
import contextlib
import os

from lib import disk
from lib.daemon import Daemon, kill_pid
from lib.history import History
from lib.nbd import Liar, Nbdkit, QemuNbd, greet, relays, wait_gone
from lib.proc import Failed, until
from lib.report import main

HOLD = ("--on-error", "hold")
DEPTH = 16


def expect(status, done, *words):
    """The finished iovctl ended so, and what it said has these words."""
    said = done.stdout + done.stderr
    missing = [word for word in words if word not in said]
    if done.returncode != status or missing:
        raise Failed(f"exit status {done.returncode}, not {status} with {words}: {said}")


def recover(daemon, one, *words):
    return daemon.ctl("recover", one.id, *words, check=False)


def is_busy(one):
    before = one.now()["requests_completed"]
    until(lambda: one.now()["requests_completed"] > before + 50, 30, "requests that go on")


def is_held(one, *words):
    one.wait("held")
    now = one.now()
    if not now["in_flight"] or not all(word in now["pending_action"] for word in words):
        raise Failed(f"held, and not as it should be: {now}")


def freeze_with_writes(daemon, one, server):
    """The server stops in the middle of everything, with writes among what it has not answered.

    A write that begins while a flush is under way waits for that in the kernel, and is not sent.
    """

    def has_writes():
        server.freeze()
        stuck = daemon.ctl("quiesce", one.id, "--timeout", "100", check=False)
        if "write" in stuck.stderr and "flush" not in stuck.stderr:
            return True
        server.thaw()
        return False

    until(has_writes, 30, "writes that are stuck")


@contextlib.contextmanager
def scene(daemon, scratch, name, server):
    """A disk on that server, and a client at work on it; what was checked is in the list."""
    one = daemon.attach(server.uri, "vm1", name, *HOLD)
    checked = []
    with History(one.socket, scratch, name, depth=DEPTH) as history:
        one.wait("active")
        is_busy(one)
        yield one, checked
        is_busy(one)
        checked.append(history.end())
    daemon.ctl("detach", one.id)


def errors(daemon, scratch):
    """EIO for some, then for all; it comes back by itself, and only recover goes on."""
    image, trigger = disk.blank(scratch / "eio.img", 4), scratch / "eio"
    filters = ("error", "error=EIO", "error-rate=10%", f"error-file={trigger}")
    with Nbdkit(image, scratch, "eio", filters=filters) as server, \
            scene(daemon, scratch, "eio", server) as (one, checked):  # fmt: skip
        for _ in range(3):
            trigger.touch()
            is_held(one, "Input/output error")
            trigger.unlink()
            one.kill_worker()
            daemon.wait_restart(daemon.kill())
            is_held(one, "Input/output error")
            daemon.ctl("recover", one.id)
            is_busy(one)
    return checked[0]


def slow(daemon, scratch):
    """A server that takes its time: a quiesce that cannot wait so long is as if it had not been."""
    image = disk.blank(scratch / "slow.img", 4)
    filters = ("delay", "rdelay=500ms", "wdelay=500ms")
    with Nbdkit(image, scratch, "slow", filters=filters) as server:
        one = daemon.attach(server.uri, "vm1", "slow")
        with History(one.socket, scratch, "slow", depth=DEPTH, blocks=16) as history:
            one.wait("active")
            until(lambda: one.now()["in_flight"], 20, "requests at the server")
            server.freeze()
            for option in ((), ("--carry",)):
                stuck = daemon.ctl("quiesce", one.id, "--timeout", "200", *option, check=False)
                expect(5, stuck, "requests do not end within 200 ms")
                one.wait("active")
            server.thaw()
            daemon.ctl("quiesce", one.id, "--timeout", "25000")
            one.wait("quiesced")
            daemon.ctl("resume", one.id)
            checked = history.end()
        daemon.ctl("detach", one.id)
    return checked


def relay_dies(one, uri):
    """The process that spoke with the server, and with it what it knew."""
    pid, = relays(uri)
    kill_pid(pid, "iovd-nbd")
    is_held(one)


def died(daemon, scratch):
    """kill -9 under load; the same server comes back, then another one, with room for one client."""
    image = disk.blank(scratch / "died.img", 4)
    with contextlib.ExitStack() as later, Nbdkit(image, scratch, "died") as server, \
            scene(daemon, scratch, "died", server) as (one, checked):  # fmt: skip
        freeze_with_writes(daemon, one, server)
        one.kill_worker()
        server.die()
        is_held(one)
        expect(1, recover(daemon, one), "NBD-CONNECT")
        later.enter_context(Nbdkit(image, scratch, "died"))
        expect(4, recover(daemon, one), "NBD-LATE", "lost")
        daemon.wait_restart(daemon.kill())
        expect(4, recover(daemon, one), "NBD-LATE", "lost")
        is_held(one)
        daemon.ctl("recover", one.id, "--allow", "NBD-LATE")
        is_busy(one)
        other = later.enter_context(QemuNbd(image, scratch))
        expect(4, recover(daemon, one, "--to", other.uri), "NOT-HELD")
        relay_dies(one, server.uri)
        expect(4, recover(daemon, one, "--to", other.uri), "STALE-SPARE")
        expect(4, recover(daemon, one, "--to", other.uri, "--allow", "STALE-SPARE"), "NBD-LATE")
        daemon.ctl("recover", one.id, "--to", other.uri, "--allow", "STALE-SPARE,NBD-LATE")
        is_busy(one)
    return checked[0]


def other_volumes(daemon, scratch):
    """What comes back is smaller, read-only, or nothing that can be understood."""
    image = disk.blank(scratch / "volume.img", 4)
    with contextlib.ExitStack() as later, Nbdkit(image, scratch, "volume") as server, \
            scene(daemon, scratch, "volume", server) as (one, checked):  # fmt: skip
        freeze_with_writes(daemon, one, server)
        server.die()
        is_held(one)
        with Nbdkit(disk.blank(scratch / "short.img", 3), scratch, "volume"):
            expect(4, recover(daemon, one, "--allow", "NBD-LATE"), "DEV-SIZE")
        with Nbdkit(image, scratch, "volume", readonly=True):
            expect(4, recover(daemon, one, "--allow", "NBD-LATE"), "DEV-READONLY")
        is_held(one)
        later.enter_context(Nbdkit(image, scratch, "volume"))
        daemon.ctl("recover", one.id, "--allow", "NBD-LATE")
    return checked[0]


def garbage(daemon, scratch):
    """A server that answers requests with noise: held, and the disk beside it does not notice."""

    def talk(connection, _):
        greet(connection, 4 << 20)
        if connection.recv(4096):
            connection.sendall(os.urandom(4096))
        wait_gone(connection)

    with Liar(talk) as liar:
        one = daemon.attach(liar.uri, "vm2", "noise", *HOLD)
        with History(one.socket, scratch, "noise"):
            is_held(one)
            daemon.ctl("recover", one.id, "--allow", "NBD-LATE")
            is_held(one)
        daemon.ctl("detach", one.id)


def test(scratch):
    with Daemon(scratch) as daemon:
        beside = disk.blank(scratch / "beside.img", 4)
        with Nbdkit(beside, scratch, "beside") as server, \
                scene(daemon, scratch, "beside", server) as (_, untouched):  # fmt: skip
            done = [scene_(daemon, scratch) for scene_ in (errors, slow, died, other_volumes)]
            garbage(daemon, scratch)
    total = sum(checked.requests for checked in done)
    return f"{total} requests; beside them: {untouched[0]}"


if __name__ == "__main__":
    main(test)
