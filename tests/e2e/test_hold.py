# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""Disks fail, and the guest only waits: EIO, a disk that vanishes, a full file system.

Under --on-error hold the requests are kept, through the death of worker and iovd, and done again
when the disk is back or another path to it is given. The client checks every read, and fails on the
first error that reaches it.
"""
import contextlib

from lib import disk, mounts, proc
from lib.daemon import Daemon
from lib.held import HOLD, expect, is_busy, is_held, kill_all
from lib.history import History
from lib.proc import Failed, until
from lib.report import main
from lib.slow import SlowDisk


def input_output_error(daemon, one, history, slow):
    """EIO; it comes back by itself, and only recover goes on."""
    slow.fails(True)
    is_held(one)
    if "Input/output error" not in one.now()["pending_action"]:
        raise Failed(f"the reason is not told: {one.now()}")
    kill_all(daemon, one)
    daemon.ctl("recover", one.id)
    is_held(one)  # it was too early
    expect(5, daemon.ctl("quiesce", one.id, "--timeout", "100", check=False), "do not end")
    slow.fails(False)
    daemon.ctl("recover", one.id)
    is_busy(one)
    expect(0, daemon.ctl("recover", one.id, check=False), '"already":true')
    history.check()


def vanished(daemon, scratch):
    """The disk's server dies; another one serves the same image at the same place."""
    image = disk.blank(scratch / "gone.img", 1)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(SlowDisk(image, scratch, "vanishes"))
        one = daemon.attach(first.path, "vm4", "gone", *HOLD)
        history = stack.enter_context(History(one.socket, scratch, "gone", image=image, depth=16))
        is_busy(one)
        first.vanish()
        is_held(one)
        one.kill_worker()  # no other can start
        until(lambda: "cannot start" in (one.now()["pending_action"] or ""), 60, "it to be tried")
        is_held(one)
        daemon.wait_restart(daemon.kill())
        is_held(one)
        stack.enter_context(SlowDisk(image, scratch, "vanishes"))
        daemon.ctl("recover", one.id)
        is_busy(one)
        checked = history.end()
        daemon.ctl("detach", one.id)
        return checked


def other_path(daemon, one, history, slow, image):
    """The same data by another way; that it is the same, nobody can see."""
    slow.fails(True)
    is_held(one)
    expect(4, daemon.ctl("recover", one.id, "--to", image, check=False), "HOST-USE")
    slow.vanish()
    expect(4, daemon.ctl("recover", one.id, "--to", image, check=False), "STALE-SPARE")
    small = disk.blank(image.with_name("small.img"), 1)
    refused = daemon.ctl("recover", one.id, "--to", small, "--allow", "STALE-SPARE", check=False)
    expect(4, refused, "DEV-SIZE")
    is_held(one)
    allow = "STALE-SPARE,LATE-WRITE"
    moved = daemon.ctl("recover", one.id, "--to", image, "--allow", allow)["attachment"]
    if moved["device"] != str(image):
        raise Failed(f"it did not move: {moved}")
    is_busy(one)
    history.check()
    one.kill_worker()
    daemon.wait_restart(daemon.kill())
    if one.now()["device"] != str(image):
        raise Failed(f"it moved back: {one.now()}")
    is_busy(one)
    expect(4, daemon.ctl("recover", one.id, "--to", small, check=False), "NOT-HELD")


def full_file_system(daemon, scratch):
    """ENOSPC; more room is made."""
    with mounts.memory(scratch / "small", 512) as folder:
        one = daemon.attach(disk.blank(folder / "full.img", 1), "vm2", "full", *HOLD)
        with History(one.socket, scratch, "full", depth=16) as history:
            is_held(one)
            if "No space left" not in one.now()["pending_action"]:
                raise Failed(f"the reason is not told: {one.now()}")
            one.kill_worker()
            proc.run(["mount", "-o", "remount,size=4m", folder])
            is_held(one)
            daemon.ctl("recover", one.id)
            is_busy(one)
            checked = history.end()
        daemon.ctl("detach", one.id)
        return checked


def reported(daemon, scratch):
    """Without the policy the client hears of it at once."""
    with SlowDisk(disk.blank(scratch / "told.img", 1), scratch, "fails") as slow:
        one = daemon.attach(slow.path, "vm3", "told")
        with History(one.socket, scratch, "told") as history:
            is_busy(one)
            slow.fails(True)
            if history.wait(30) == 0 or "Input/output error" not in history.log.read_text():
                raise Failed(f"nothing was told: {history.tail()}")
        daemon.ctl("detach", one.id)


def test(scratch):
    image = disk.blank(scratch / "disk.img", 4)
    with SlowDisk(image, scratch) as slow, Daemon(scratch) as daemon:
        full = full_file_system(daemon, scratch)
        one = daemon.attach(slow.path, "vm1", "disk0", *HOLD)
        with History(one.socket, scratch, image=image, depth=16) as history:
            one.wait("active")
            is_busy(one)
            input_output_error(daemon, one, history, slow)
            other_path(daemon, one, history, slow, image)
            checked = history.end()
        reported(daemon, scratch)
        gone = vanished(daemon, scratch)
    return f"{checked}; a disk that vanished: {gone}; a full file system: {full}"


if __name__ == "__main__":
    main(test)
