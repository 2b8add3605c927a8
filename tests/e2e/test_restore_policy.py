# SPDX-License-Identifier: GPL-2.0-or-later
"""How a disk was to be treated travels in the I/O state: what is done on errors, its spares, the command that
ends its path, and how long a request may take.

The command would be run as root, and a file may come from anywhere: it is taken only by --allow. Spares have
names of another host, so they can be mapped as the disk can, or left out; and must show here what they are.
"""
from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.proc import Failed
from lib.report import main

FENCE = "/bin/true /dev/disk/by-id/x 1"
OWN = {"on_error": "hold", "fence": FENCE, "io_timeout_ms": 4321}


def expect(is_so, words):
    if not is_so:
        raise Failed(words)


def leave(daemon, scratch):
    """The file, and the name of the spare there."""
    image, spare, state = disk.blank(scratch / "a.img", 8), scratch / "spare.img", scratch / "state"
    disk.blank(spare, 8)
    one = daemon.attach(
        image, "web1", "data", "--on-error", "hold", "--io-timeout", "4321", "--spare", spare,
        "--allow", "STALE-SPARE,LATE-WRITE", "--fence", FENCE,
    )  # fmt: skip
    with History(one.socket, scratch):
        one.wait("active")
        daemon.ctl("quiesce", "web1", "--timeout", "30000")
        daemon.ctl("save", "web1", "-f", state)
    policy = daemon.ctl("show", state)["iostate"]["attachments"][0]["policy"]
    expect(policy == policy | OWN and policy["spare1"] == one.now()["spares"][0], f"saved: {policy}")
    daemon.ctl("detach", one.id)
    return state, policy["spare1"]


def check_refused(daemon, state, code, status, *words):
    done = daemon.ctl("restore", state, *words, check=False)
    expect(done.returncode == status and code in done.stderr, f"{words}: {done.stderr}")
    expect(not daemon.attachments(), "a refused restore left something")


def come_back(daemon, scratch, state, spare):
    elsewhere = disk.blank(scratch / "elsewhere.img", 8)
    mapped = ("--map", f"{spare}={elsewhere}")
    check_refused(daemon, state, "STATE-FENCE", 4)
    check_refused(daemon, state, FENCE, 4, *mapped, "--allow", "STALE-SPARE")
    check_refused(daemon, state, "STALE-SPARE", 4, *mapped, "--allow", "STATE-FENCE")
    check_refused(daemon, state, "ALLOW", 2, *mapped, "--allow", "STATE-FENCE,GRP-SPLIT")
    check_refused(daemon, state, "MAP", 2, "--map", f"{spare}x={elsewhere}", "--allow", "STATE-FENCE")
    bare = daemon.ctl("restore", state, "--map", f"{spare}=", "--allow", "STATE-FENCE")["attachments"][0]
    expect(bare["spares"] == [] and bare["fence"] == FENCE, f"restored without its spare: {bare}")
    daemon.ctl("detach", bare["id"])
    allowed = "STATE-FENCE,STALE-SPARE,LATE-WRITE"
    shown = daemon.ctl("restore", state, *mapped, "--allow", allowed)["attachments"][0]
    expect(shown == shown | OWN and shown["spares"] == [str(elsewhere)], f"restored: {shown}")
    daemon.kill()
    return daemon.attachments()[0] | {"worker_pid": 0} == shown | {"worker_pid": 0}


def test(scratch):
    for name in ("a", "b"):
        (scratch / name).mkdir()
    with Daemon(scratch / "a") as a:
        state, spare = leave(a, scratch)
    with Daemon(scratch / "b") as b:
        expect(come_back(b, scratch, state, spare), f"it is otherwise after a crash: {b.attachments()}")
    return "a spare, a fence and a timeout came along"


if __name__ == "__main__":
    main(test)
