# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# needs: systemd history
# timeout: 240
"""What an administrator does to the service while guests are at their disks: none of them notices."""
import os
import pathlib

import inside
from inside import expect, expect_equal, proc, wait_for
from lib import disk
from lib.history import History
from service import Service, journal, prop, systemctl, verify

DISKS = 2
KEYS = ("state", "worker_pid", "restarts")


def processor_time(pid):
    """In ticks; of a process that is there."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def check_units():
    expect_equal(verify(), [], "systemd-analyze verify")
    security = proc.run(["systemd-analyze", "security", "--no-pager", "iovd"]).stdout
    print(security.splitlines()[-1])


def check_activation(iovd):
    """The socket is there before the service, and its first client starts that."""
    expect_equal(prop("ActiveState"), "inactive", "the service with nothing but its socket")
    iovd.ok("list", "attachments")
    expect_equal(prop("ActiveState"), "active", "the service, as its socket was used")
    stat = pathlib.Path("/run/iovd/iovd.sock").stat()
    expect_equal(stat.st_mode & 0o777, 0o660, "mode of the socket")


class Guests:
    """Clients at disks of their own, whose workers must stay."""

    def __init__(self, iovd, scratch):
        self._iovd = iovd
        images = [disk.blank(scratch / f"{n}.img", 8) for n in range(DISKS)]
        self.disks = [iovd.attach(image, "vm1", f"disk{n}") for n, image in enumerate(images)]
        self._clients = [
            History(one.socket, scratch, f"client{n}", image=images[n], depth=4)
            for n, one in enumerate(self.disks)
        ]
        for one in self.disks:
            one.wait("active")
        self.pids = [a["worker_pid"] for a in iovd.attachments()]
        for pid in (*self.pids, *(client.pid for client in self._clients)):
            os.setpriority(os.PRIO_PROCESS, pid, 19)  # one processor: they would have most of it

    def check_served(self, what):
        """Every worker is at work just now."""
        for client, pid in zip(self._clients, self.pids):
            client.check()
            before = processor_time(pid)
            wait_for(lambda: processor_time(pid) > before, f"{what}: work of {pid}")

    def check_same(self, what):
        self.check_served(what)
        seen = [tuple(a[key] for key in KEYS) for a in self._iovd.attachments()]
        expect_equal(seen, [("active", pid, 0) for pid in self.pids], f"{what}: attachments")

    def end(self):
        return [client.end() for client in self._clients]


def restart(iovd):
    systemctl("restart", "iovd")


def reload_socket(iovd):
    """Both are new then, the socket file also."""
    systemctl("restart", "iovd.socket", "iovd.service")


def signal_main(iovd):
    """An end that nobody asked systemd for: of the keeper, in its own order."""
    systemctl("kill", "--kill-whom=main", "iovd")
    wait_for(lambda: prop("ActiveState") == "inactive", "the end of the service")
    iovd.start()


def kill_main(iovd):
    """Beyond what is promised, and yet: the next keeper finds all it needs."""
    before = prop("MainPID")
    systemctl("kill", "--kill-whom=main", "--signal=KILL", "iovd")
    wait_for(lambda: prop("MainPID") not in ("0", before), "systemd to start another")


def test_stop(iovd, guests):
    before = prop("MainPID")
    systemctl("stop", "iovd")
    expect_equal(prop("ActiveState"), "inactive", "state of the stopped service")
    expect(not pathlib.Path(f"/proc/{before}").exists(), "the keeper is there after a stop")
    guests.check_served("stopped")
    iovd.start()
    expect(prop("MainPID") != before, "the same keeper")
    guests.check_same("started again")


def test_memory(iovd, guests):
    """The kernel's OOM killer takes one worker: systemd takes notice, and leaves the others alone."""
    victim = guests.pids[0]
    keeper = prop("MainPID")
    pathlib.Path(f"/proc/{victim}/oom_score_adj").write_text("1000")
    pathlib.Path("/proc/sysrq-trigger").write_text("f")
    wait_for(lambda: "OOM killer" in journal(), "systemd to see it")
    first = lambda: iovd.attachments()[0]  # noqa: E731
    wait_for(lambda: first()["worker_pid"] not in (None, victim), "another worker")
    wait_for(lambda: first()["state"] == "active", "it to be active")
    guests.pids[0] = first()["worker_pid"]
    guests.check_served("after it ran out of memory")
    seen = [tuple(a[key] for key in KEYS) for a in iovd.attachments()]
    expect_equal(seen, [("active", pid, n) for pid, n in zip(guests.pids, (1, 0))], "attachments")
    expect_equal((prop("ActiveState"), prop("MainPID")), ("active", keeper), "the service")


def test(scratch):
    check_units()
    with Service("start", "iovd.socket") as iovd:
        check_activation(iovd)
        guests = Guests(iovd, scratch)
        test_stop(iovd, guests)
        for act in (restart, reload_socket, signal_main, kill_main):
            act(iovd)
            iovd.wait_active()
            guests.check_same(act.__name__)
        test_memory(iovd, guests)
        checked = guests.end()
    return "; ".join(map(str, checked))


inside.main(test)
