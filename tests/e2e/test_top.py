# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 180
"""iovctl top: what it measures is what its disks do; on a terminal of any size, with keys; for scripts; and
with a daemon that is away for a while."""
import json
import re
import subprocess

from lib import disk, proc, report
from lib.daemon import Daemon
from lib.history import History
from lib.proc import Failed, until
from lib.servers import program
from lib.slow import SlowDisk
from lib.terminal import Terminal

RATE = 100  # requests a second that the slow disk does, more or less
DEPTH = 16  # and how many it is given at once
ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
LONG = "database-of-the-house"  # a machine whose name does not fit into 80 columns
FRAME = "\x1b[H\x1b[2J"
TITLES = ("ATTACHMENT", "DEVICE", "STATE", "RATE/S", "LATENCY", "IN FLIGHT", "DONE", "FAILED",
          "RESTARTS", "FAULTS")


def expect(condition, what):
    if not condition:
        raise Failed(what)


def argv(daemon, *words):
    return [str(program("iovctl")), "-s", str(daemon.socket), *words]


def measure(daemon, *words):
    """One document for each measurement; {name: row} of the last one."""
    lines = proc.run(argv(daemon, "-o", "json", "top", *words), 120).stdout.splitlines()
    last = json.loads(lines[-1])
    expect(last["schema"] == "iovd.top/1", last)
    return len(lines), last["interval_ms"], {row["name"]: row for row in last["attachments"]}


def test_figures(daemon, fast, slow):
    """Rate, latency and how many are in flight belong together, whatever the load of the machine."""
    before = slow.now()["requests_completed"]
    count, interval, rows = measure(daemon, "-n", "2", "--interval", "2000")
    after = slow.now()["requests_completed"]
    one = rows["slow"]
    expect(count == 2 and interval >= 2000, f"{count} measurements, {interval} ms")
    expect(one["requests_per_second"], f"it does nothing: {one}")
    expect(one["requests_per_second"] * interval / 1000 <= after - before + 1, f"more than were done: {one}")
    depth = one["requests_per_second"] * one["latency_us"] / 1e6
    expect(DEPTH / 8 < depth < DEPTH * 2, f"{depth} in flight on average: {one}")
    expect(rows["fast"]["latency_us"] < one["latency_us"], f"{rows}")
    expect(rows["idle"]["requests_per_second"] == 0 and rows["idle"]["latency_us"] is None, f"{rows}")
    expect(rows["fast"]["restarts"] == 0, f"{rows}")
    readable = daemon.ctl("list", "faults")["log"]["readable"]
    expect(all(row["faults"] == (0 if readable else None) for row in rows.values()), f"{rows}")
    worker = fast.worker()
    fast.kill_worker(worker)
    until(lambda: fast.worker() != worker, 30, "the next worker")
    expect(measure(daemon, "-n", "1")[2]["fast"]["restarts"] == 1, "a restart is not counted")
    return depth


def test_forms(daemon):
    table = proc.run(argv(daemon, "top", "-n", "1")).stdout
    lines = table.splitlines()
    expect(re.split(r"  +", lines[1]) == list(TITLES) and len(lines) == 5, table)
    expect(lines[0].startswith("3 attachments, "), table)
    plain = proc.run(argv(daemon, "-o", "plain", "top", "-n", "1", "--interval", "200")).stdout
    expect([len(line.split("\t")) for line in plain.splitlines()] == [9, 9, 9], plain)
    for words in (("-n", "0"), ("--interval", "1"), ("-n", "x")):
        done = subprocess.run(argv(daemon, "top", *words), capture_output=True)
        expect(done.returncode == 2, f"{words}: status {done.returncode}")


def frames(text):
    """The screens that were drawn, as lines without escapes."""
    return [ESCAPE.sub("", f).replace("\r", "").split("\n") for f in text.split(FRAME)[1:]]


def drawn(screen, found, what):
    """Waits for a whole screen (its last line has the keys) that is as it should be."""
    text = ""

    def is_there(more):
        return any(found(f) for f in frames(text + more) if "q quit" in f[-1])

    text = screen.wait(is_there, what)
    return next(f for f in reversed(frames(text)) if "q quit" in f[-1] and found(f))


def test_screen(daemon):
    """All columns where there is room, the important ones where not; never a line too long."""
    with Terminal(argv(daemon, "top", "--interval", "200"), 120, 20, LC_ALL="C.UTF-8") as screen:
        frame = drawn(screen, lambda f: re.split("  +", f[1]) == list(TITLES), "all columns")
        names = sorted(line.split()[0] for line in frame[2:5])
        expect(names == [f"{LONG}/idle", "web1/fast", "web1/slow"], f"{frame}")
        for columns, rows in ((80, 20), (40, 6), (20, 3), (200, 50)):
            screen.resize(columns, rows)
            frame = drawn(screen, lambda f, c=columns, r=rows: max(map(len, f)) <= c and len(f) <= r,
                          f"a screen of {columns} columns and {rows} rows")
            expect(frame[0].startswith("3 attachments"), f"{frame}")
            if columns == 80:  # names have the room that columns left when they went
                expect(len(frame[1]) == 80 and any("…" in line for line in frame), f"{frame}")
        screen.press("s")
        drawn(screen, lambda f: "sort: latency" in f[-1], "another order")
        screen.press("p")
        drawn(screen, lambda f: "goes on" in f[-1], "a pause")
        screen.press("p+")
        drawn(screen, lambda f: "pause" in f[-1] and "every 0.4 s" in f[-1], "a longer interval")
        daemon.stop()
        drawn(screen, lambda f: "no daemon answers" in f[0], "it to say that the daemon is away")
        daemon.start()
        drawn(screen, lambda f: f[0].startswith("3 attachments"), "the daemon's next words")
        screen.press("q")
        text, status = screen.end()
        expect(status == 0 and text.rstrip().endswith("\x1b[?1049l"), f"{status}: {text[-80:]!r}")


def test(scratch):
    images = {name: disk.blank(scratch / f"{name}.img", 16) for name in ("fast", "slow", "idle")}
    with Daemon(scratch) as daemon, SlowDisk(images["slow"], scratch, "throttled") as throttled:
        throttled.requests_per_second(RATE)
        fast = daemon.attach(images["fast"], "web1", "fast")
        slow = daemon.attach(throttled.path, "web1", "slow")
        daemon.attach(images["idle"], LONG, "idle")
        clients = [History(one.socket, scratch, one.name, depth=DEPTH) for one in (fast, slow)]
        for one in (fast, slow):
            until(lambda one=one: one.now()["requests_completed"] > RATE, 60, "requests")
        depth = test_figures(daemon, fast, slow)
        test_forms(daemon)
        test_screen(daemon)
        throttled.requests_per_second(0)
        for client in clients:
            client.end()
    return f"{depth:.1f} in flight by rate and latency"


report.main(test, proc.tmpfs())
