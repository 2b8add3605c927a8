# SPDX-License-Identifier: GPL-2.0-or-later
"""iovd with folders of its own, and its attachments; and how to kill any part of it."""
import contextlib
import json
import os
import pathlib
import signal

from . import proc
from .proc import Failed, Process, until
from .servers import program

# What changes from one look to the next while all is well.
VOLATILE = ("in_flight", "requests_completed", "requests_failed", "requests_timed", "timed_ms")


def kill_pid(pid, comm, signum=signal.SIGKILL):
    """Signals a process that is not our child, if it is still the program it should be."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # One that was just forked still has its parent's name.
        name = pathlib.Path(f"/proc/{pid}/comm")
        until(lambda: name.read_text().strip() == comm[:15], 5, f"process {pid} to be a {comm}")
        signal.pidfd_send_signal(fd, signum)
        return True
    except (FileNotFoundError, ProcessLookupError):
        return False
    finally:
        os.close(fd)


class Attachment:
    """One attachment, as `attach` printed it; what may change is asked for anew."""

    def __init__(self, daemon, shown):
        self._daemon = daemon
        self.shown = shown
        self.id, self.name, self.socket = shown["id"], shown["name"], shown["socket"]
        self.vmm_args = shown["vmm_args"]

    def now(self):
        return next(a for a in self._daemon.attachments() if a["id"] == self.id)

    def wait(self, state, seconds=30):
        what = f"attachment {self.name} to be {state}"
        until(lambda: self.now()["state"] == state, seconds, what)

    def worker(self, seconds=30):
        """The pid of the worker that serves it; waits while there is none."""
        return until(lambda: self.now()["worker_pid"], seconds, f"a worker of {self.name}")

    def kill_worker(self, pid=None):
        """kill -9, whatever the worker is doing, be it taking over from the last one killed."""
        kill_pid(pid or self.worker(), "iov-worker")


class Daemon:
    """A whole iovd: keeper, daemon, workers. The end of the context ends all of them. `prefix`:
    words that start it, as in a namespace."""

    def __init__(self, scratch, log="iovd.log", libvirt="none", settings="", prefix=()):
        self._prefix = list(prefix)
        self._words = [f"--state-dir={scratch}/state", f"--runtime-dir={scratch}/run"]
        self._words += [f"--libvirt={libvirt}"]
        if settings:
            (scratch / "iovd.conf").write_text(settings)
            self._words += [f"--config={scratch}/iovd.conf"]
        self._run = scratch / "run"
        self._log = scratch / log
        self._keeper = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        try:
            self.stop_all()
        finally:
            self._keeper.kill_all()

    def start(self):
        """Starts keeper and daemon; running workers are adopted."""
        self._keeper = Process([*self._prefix, program("iovd"), *self._words], self._log)
        try:
            self.wait_answer()
        except BaseException:
            self._keeper.stop()
            raise

    def stop(self):
        """SIGTERM to the keeper: it and the daemon end, workers go on."""
        self._keeper.kill(signal.SIGTERM)
        if self._keeper.wait(30):
            raise Failed(f"the keeper did not end well\n    {self.tail()}")

    def stop_all(self):
        """Ends all of it, workers too."""
        proc.run([program("iovd"), *self._words, "--stop-all"], 60)

    @property
    def socket(self):
        return self._run / "iovd.sock"

    def tail(self):
        return self._keeper.tail()

    def log(self):
        return self._log.read_text(errors="replace")

    def ctl(self, *words, check=True, seconds=30):
        """iovctl; the JSON document it prints, or with check off the finished process."""
        argv = [program("iovctl"), "-s", self.socket, "-o", "json", *words]
        done = proc.run(argv, seconds, check)
        return json.loads(done.stdout) if check else done

    def _answers(self):
        if not self._keeper.alive():
            raise Failed(f"iovd ended at its start\n    {self.tail()}")
        return self.ctl("list", "attachments", check=False).returncode == 0

    def wait_answer(self, seconds=30):
        until(self._answers, seconds, "iovd to answer")

    def attachments(self):
        """All attachments; waits for a daemon that is just being restarted."""
        self.wait_answer()
        return self.ctl("list", "attachments")["attachments"]

    def settled(self):
        """The attachments without what changes all the time: must survive anything done to iovd."""
        return [
            {key: value for key, value in attachment.items() if key not in VOLATILE}
            for attachment in self.attachments()
        ]

    def attach(self, device, vm, name, *words):
        """Gives a disk to a VM; an Attachment."""
        shown = self.ctl("attach", device, vm, "--as", name, *words)
        return Attachment(self, shown.get("attachment", shown))

    def pid(self):
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self._run / "iovd.pid").read_text())
        return 0

    def kill(self):
        """kill -9 of the daemon; the pid that was."""
        pid = until(self.pid, 20, "iovd.pid")
        kill_pid(pid, "iovd")
        return pid

    def wait_restart(self, old, seconds=30):
        """Waits until another daemon than the killed one answers."""
        until(lambda: self.pid() not in (0, old), seconds, "a new iovd")
        self.wait_answer(seconds)
