# SPDX-License-Identifier: GPL-2.0-or-later
"""Quiesce --carry of disks that are held already, because their requests have failed.

Past the page cache the kernel has given them up, and nobody else ever had them: they are carried at once, and
done once when the disk is back. What went through the page cache may be written later, and a server on the
network may do later what it was sent: without a command that rules that out the quiesce fails, says so, and
the disk is held as before. All of it is checked against the history of the disk.
"""
import contextlib
import functools

from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.nbd import Nbdkit
from lib.proc import Failed, until
from lib.report import main
from lib.slow import SlowDisk

DEPTH = 16


def expect(is_so, words):
    if not is_so:
        raise Failed(words)


def carried(daemon, one):
    words = ("quiesce", one.id, "--carry", "--timeout", "20000")
    daemon.ctl(*words, seconds=60)
    expect(daemon.ctl(*words)["already"], "it is not quiesced")
    now = daemon.ctl("show", one.id)["attachment"]
    expect(now["in_flight"] and now["in_flight"] == len(now["requests"]), f"not carried: {now}")
    expect(all(request["held"] for request in now["requests"]), f"with the host: {now}")
    daemon.ctl("resume", one.id)
    one.wait("held")


def not_carried(daemon, one):
    before = one.now()["in_flight"]
    done = daemon.ctl("quiesce", one.id, "--carry", "--timeout", "500", check=False, seconds=60)
    expect(done.returncode == 5 and "may be done later" in done.stderr, f"carried: {done.stderr}")
    one.wait("held")
    expect(one.now()["in_flight"] == before, f"not as before: {one.now()}")


def scene(daemon, scratch, name, device, words, fail, mend, check):
    """`device` fails, is held, is asked to carry, and goes on."""
    one = daemon.attach(device, "vm1", name, "--on-error", "hold", *words)
    with History(one.socket, scratch, name, image=scratch / f"{name}.img", depth=DEPTH) as history:
        until(lambda: one.now()["requests_completed"] > 100, 60, "requests")
        fail()
        one.wait("held")
        check(daemon, one)
        mend()
        daemon.ctl("recover", one.id, "--allow", "NBD-LATE")
        before = one.now()["requests_completed"]
        until(lambda: one.now()["requests_completed"] > before + DEPTH, 60, "requests that go on")
        checked = history.end()
    daemon.ctl("detach", one.id)
    return checked


def on_a_file(daemon, scratch, name, words, check):
    image = disk.blank(scratch / f"{name}.img", 4)
    with SlowDisk(image, scratch, f"{name}-fuse", locking="off") as slow:
        fails = functools.partial(slow.fails, True), functools.partial(slow.fails, False)
        return scene(daemon, scratch, name, slow.path, words, *fails, check)


def on_a_volume(daemon, scratch, name, check):
    image = disk.blank(scratch / f"{name}.img", 4)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Nbdkit(image, scratch, "server"))
        again = functools.partial(Nbdkit, image, scratch, "server")
        return scene(daemon, scratch, name, server.uri, (), server.die,
                     lambda: stack.enter_context(again()), check)  # fmt: skip


def test(scratch):
    with Daemon(scratch) as daemon:
        all_of_them = {
            "direct": on_a_file(daemon, scratch, "direct", ("--cache", "none"), carried),
            "cached": on_a_file(daemon, scratch, "cached", ("--cache", "writeback"), not_carried),
            "NBD": on_a_volume(daemon, scratch, "nbd", not_carried),
        }
    return "; ".join(f"{name}: {checked}" for name, checked in all_of_them.items())


if __name__ == "__main__":
    main(test)
