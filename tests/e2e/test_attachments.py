# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""Attachments: made, refused, taken back; and any part of iovd killed at any time."""
import os
import pathlib
import sqlite3
import subprocess

from lib import report
from lib.daemon import Daemon, kill_pid
from lib.proc import Failed, until

SIZE = 8 << 20


def expect(condition, what):
    if not condition:
        raise Failed(what)


def disk(scratch, name, size=SIZE):
    path = scratch / name
    with path.open("wb") as image:
        image.truncate(size)
    return path


def refused(daemon, status, code, *words):
    """The command ends with this exit status and says this code."""
    done = daemon.ctl(*words, check=False)
    expect(done.returncode == status and f"[{code}]" in done.stderr + done.stdout
           or done.returncode == status and f'"{code}"' in done.stderr + done.stdout,
           f"iovctl {words}: exit {done.returncode}, not {status} with {code}:\n"
           f"{done.stdout}{done.stderr}")


def test_commands(daemon, scratch):
    """What attach and detach do, say and refuse."""
    image = disk(scratch, "a.img")
    first = daemon.attach(image, "web1", "root", "--queues", "3", "--owner", "nobody")
    expect(first.shown["state"] == "ready", f"not ready: {first.shown}")
    expect(any("num-queues=3" in word for word in first.vmm_args), f"{first.vmm_args}")
    socket = pathlib.Path(first.socket)
    mode = socket.stat()
    expect(mode.st_mode & 0o777 == 0o600 and mode.st_uid == 65534, f"socket: {mode}")
    for folder in (socket.parent, socket.parent.parent):
        expect(folder.stat().st_mode & 0o777 == 0o711, f"{folder}: {folder.stat()}")

    again = daemon.ctl("attach", image, "web1")
    expect(again["already"] and again["attachment"]["id"] == first.id, f"{again}")
    link = scratch / "link.img"
    link.symlink_to(image)
    expect(daemon.ctl("attach", link, "web1")["already"], "the same file by another name")

    hard = scratch / "hard.img"
    os.link(image, hard)
    refused(daemon, 4, "DEV-TAKEN", "attach", image, "web2")
    refused(daemon, 4, "DEV-TAKEN", "attach", hard, "web2")
    refused(daemon, 4, "DEV-TAKEN", "attach", image, "web1", "--readonly")
    refused(daemon, 4, "NAME-TAKEN", "attach", disk(scratch, "b.img"), "web1", "--as", "root")
    refused(daemon, 4, "DEV-EMPTY", "attach", disk(scratch, "empty.img", 0), "web1")
    refused(daemon, 2, "DEV-NAME", "attach", "/dev/null", "web1")
    refused(daemon, 10, "NO-SUCH", "attach", scratch / "none.img", "web1")
    refused(daemon, 2, "NAME", "attach", scratch / "b.img", "../web")
    refused(daemon, 2, "NAME", "attach", scratch / "b.img", "web1", "--as", ".hidden")
    refused(daemon, 10, "USER", "attach", scratch / "b.img", "web1", "--owner", "no-such-user")
    refused(daemon, 10, "NO-SUCH", "detach", "a999")

    plan = daemon.ctl("attach", scratch / "b.img", "web1", "--dry-run")["plan"]
    expect(any("paravirt" in line for line in plan), f"{plan}")
    expect(len(daemon.attachments()) == 1, "a dry run changed something")

    vms = daemon.ctl("list", "vms")["vms"]
    expect([(vm["name"], vm["attachments"]) for vm in vms] == [("web1", [first.id])], f"{vms}")
    expect(daemon.ctl("show", "web1/root")["attachment"]["id"] == first.id, "show")

    daemon.ctl("detach", "root")
    expect(daemon.attachments() == [], "detached, and still there")
    expect(not socket.parent.exists(), "the VM's folder is left")
    second = daemon.attach(image, "web1", "root")
    expect(second.id != first.id, "an id was used twice")
    daemon.ctl("detach", second.id)


def test_worker_dies(daemon, scratch):
    """However often: it is restarted at once, and never given up."""
    attachment = daemon.attach(disk(scratch, "w.img"), "web1", "w")
    kills = 60
    for n in range(kills):
        pid = attachment.worker()
        attachment.kill_worker(pid)
        until(lambda dead=pid: attachment.now()["worker_pid"] not in (dead, None), 20,
              f"a successor after kill {n}")
    attachment.wait("ready")
    expect(attachment.now()["restarts"] == kills, f"{attachment.now()}")
    daemon.ctl("detach", attachment.id)


def test_daemon_dies(daemon, scratch):
    """The list is the same before and after."""
    names = ["x", "y", "z"]
    for name in names:
        daemon.attach(disk(scratch, f"{name}.img"), "web1", name)
    before = daemon.settled()
    for _ in range(10):
        daemon.kill()
        expect(daemon.settled() == before, f"not the same:\n{before}\n{daemon.settled()}")
    daemon.stop()
    for attachment in before:
        expect(pathlib.Path(f"/proc/{attachment['worker_pid']}").exists(), "a worker ended")
    daemon.start()
    expect(daemon.settled() == before, f"not adopted as it was:\n{before}\n{daemon.settled()}")

    # A worker that dies while nobody is there is restarted when somebody is.
    victim = before[0]["worker_pid"]
    daemon.stop()
    kill_pid(victim, "iov-worker")
    daemon.start()
    until(lambda: all(a["state"] == "ready" for a in daemon.attachments()), 20, "all ready")
    expect([a["worker_pid"] for a in daemon.settled()][1:] ==
           [a["worker_pid"] for a in before][1:], "other workers were touched")


def test_all_end(daemon, scratch):
    """After --stop-all, or a reboot, the next start makes all serve again."""
    before = [(a["id"], a["socket"]) for a in daemon.attachments()]
    expect(len(before) == 3, f"{before}")
    daemon.stop_all()
    daemon.start()
    until(lambda: all(a["state"] == "ready" for a in daemon.attachments()), 20, "all ready")
    after = [(a["id"], a["socket"]) for a in daemon.attachments()]
    expect(after == before, f"{before} became {after}")

    # One whose disk is gone says so, and gets better.
    daemon.stop()
    daemon.stop_all()
    image = scratch / "x.img"
    image.rename(scratch / "away.img")
    daemon.start()
    until(lambda: daemon.attachments()[0]["state"] == "failed", 20, "x to fail")
    expect("x.img" in daemon.attachments()[0]["pending_action"], "no reason is given")
    (scratch / "away.img").rename(image)
    until(lambda: daemon.attachments()[0]["state"] == "ready", 60, "x to get better")


def test_damaged_store(daemon, scratch):
    """The old file is kept; attachments are rebuilt from the workers that still run."""
    before = daemon.settled()
    expect(len(before) == 3, f"{before}")
    state = scratch / "state"
    daemon.stop()
    for junk in (b"x" * 4096, b"", None):
        database = state / "iovd.db"
        if junk is None:  # another program's
            database.unlink()
            with sqlite3.connect(database) as other:
                other.execute("CREATE TABLE t (x)")
        elif junk:
            with database.open("r+b") as file:
                file.write(junk)
        else:  # lost
            database.unlink()
        kept = len(list(state.glob("iovd.db.damaged-*[0-9]")))
        daemon.start()
        expect(daemon.settled() == before, f"not rebuilt:\n{before}\n{daemon.settled()}")
        if junk != b"":
            now = len(list(state.glob("iovd.db.damaged-*[0-9]")))
            expect(now == kept + 1, f"{now} files kept, not {kept + 1}")
        daemon.stop()
    daemon.start()
    daemon.kill()
    expect(daemon.settled() == before, "rebuilt, but not kept")
    for attachment in before:
        daemon.ctl("detach", attachment["id"])
    last = max(int(a["id"][1:]) for a in before)
    new = daemon.attach(disk(scratch, "new.img"), "web1", "new")
    expect(int(new.id[1:]) > last, "an id was used twice")
    daemon.ctl("detach", new.id)


def points(daemon, fault, *words):
    """The fault points that a command passes."""
    fault.write_text("list")
    at = len(daemon.log())
    daemon.ctl(*words)
    fault.unlink()
    return [line.split("fault point: ")[1] for line in daemon.log()[at:].splitlines()
            if "fault point: " in line]


def host_state(daemon, scratch):
    """All that an attachment leaves on the host."""
    run = scratch / "run"
    return {
        "attachments": len(daemon.attachments()),
        "sockets": len(list(run.glob("vm/*/*.sock"))),
        "workers": len(list(run.glob("keeper/*.sock"))),
    }


def test_crash_sweep(daemon, scratch, fault):
    """kill -9 of the daemon at every point of attach and detach: as before it, or as after it."""
    image = disk(scratch, "sweep.img")
    attach = ("attach", image, "web1", "--as", "sweep")
    detach = ("detach", "sweep")
    before = host_state(daemon, scratch)
    passed = {words: points(daemon, fault, *words) for words in (attach, detach)}
    after = {key: count + 1 for key, count in before.items()}
    swept = 0
    for words, undo in ((attach, detach), (detach, attach)):
        for point in passed[words]:
            if words == detach and host_state(daemon, scratch) == before:
                daemon.ctl(*attach)
            fault.write_text(point)
            daemon.ctl(*words, check=False)
            until(lambda: not fault.exists(), 20, f"{point} to be reached")
            until(lambda: host_state(daemon, scratch) in (before, after), 30,
                  f"before or after, at {point}")
            state = host_state(daemon, scratch)
            if state == after:
                until(lambda: daemon.attachments()[-1]["state"] == "ready", 20, "it to serve")
            if words == attach and state == after:
                daemon.ctl(*undo)
            swept += 1
    if host_state(daemon, scratch) == after:
        daemon.ctl(*detach)
    expect(swept > 15, f"only {swept} points were found")
    return f"killed at {swept} points"


def test_full_store(daemon, scratch):
    """No room: the command fails, in words, and what runs goes on."""
    attachment = daemon.attach(disk(scratch, "f.img"), "web1", "f")
    pid = daemon.pid()
    limits = subprocess.run(["prlimit", "--pid", str(pid), "--fsize=4096:"], check=False)
    expect(limits.returncode == 0, "prlimit")
    refused(daemon, 1, "STORE-IO", "attach", disk(scratch, "g.img"), "web1", "--as", "g")
    expect(daemon.pid() == pid, "the daemon ended")
    expect(len(daemon.attachments()) == 1, f"half done: {daemon.attachments()}")
    attachment.kill_worker()
    attachment.wait("ready")
    subprocess.run(["prlimit", "--pid", str(pid), "--fsize=unlimited:"], check=True)
    second = daemon.attach(scratch / "g.img", "web1", "g")
    for one in (attachment, second):
        daemon.ctl("detach", one.id)


def test(scratch):
    fault = scratch / "fault"
    os.environ["IOVD_FAULT"] = str(fault)
    notes = []
    with Daemon(scratch) as daemon:
        for check, args in (
            (test_commands, ()),
            (test_worker_dies, ()),
            (test_crash_sweep, (fault,)),
            (test_full_store, ()),
            (test_daemon_dies, ()),
            (test_all_end, ()),
            (test_damaged_store, ()),
        ):
            try:
                notes.append(check(daemon, scratch, *args))
            except Failed as error:
                raise Failed(f"{check.__name__}: {error}") from error
            print(f"  {check.__name__}", flush=True)
    return "; ".join(filter(None, notes))


report.main(test)
