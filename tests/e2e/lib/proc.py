# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that never outlive the test, deadlines, and waiting on conditions.

A child gets SIGKILL when the test dies, however it dies (PR_SET_PDEATHSIG). Only processes started
here are ever signalled, and by their own handle.
"""
import contextlib
import ctypes
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# The deadlines are made for TCG on a busy machine of two processors; a slower one stretches them.
PATIENCE = float(os.environ.get("IOVD_TEST_PATIENCE", "1"))
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """The test failed; the text says how."""


class Skipped(Exception):
    """The test cannot run here; the text says why."""


class Deadline:
    """A point in time that a wait must not pass."""

    def __init__(self, seconds, what):
        self._end = time.monotonic() + seconds * PATIENCE
        self.what = what

    def left(self):
        """Seconds left; raises when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Failed(f"timed out: {self.what}")
        return left


def end_on_sigterm():
    """Makes SIGTERM unwind like an exception: guests end, folders go. tests/run sends it first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextlib.contextmanager
def scratch(where=None):
    """A directory that is gone afterwards. IOVD_KEEP leaves it, for a look at the logs."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="iovd-e2e-", dir=where))
    try:
        yield path
    finally:
        if os.environ.get("IOVD_KEEP"):
            print(f"# kept {path}")
        else:
            shutil.rmtree(path, ignore_errors=True)


def tmpfs():
    """A directory in memory, for disks whose speed should be that of the server."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Process:
    """A child, in a process group of its own, with its output in a file; a context manager."""

    def __init__(self, argv, log, pass_fds=(), cwd=None, env=None):
        self.log = pathlib.Path(log)
        self.argv = [str(word) for word in argv]
        with open(self.log, "ab") as out:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                env=env,
                pass_fds=pass_fds,
                process_group=0,
                preexec_fn=_die_with_parent,
            )
        self.pid = self._child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def alive(self):
        return self._child.poll() is None

    def kill(self, signum=signal.SIGKILL):
        self._child.send_signal(signum)

    def _signal_group(self, signum):
        """Whether there still was one to signal."""
        try:
            os.killpg(self.pid, signum)
            return True
        except ProcessLookupError:
            return False

    def kill_all(self):
        """Ends it and what it started (User-Mode Linux has helpers, which hold its sockets)."""
        self._signal_group(signal.SIGKILL)
        self._child.wait()
        until(lambda: not self._signal_group(0), 10, f"the end of {self.argv[0]}'s helpers")

    def wait(self, seconds=20):
        """Waits for the end; the exit status."""
        try:
            return self._child.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.argv[0]} did not end within {seconds:g} s") from None

    def stop(self, seconds=10):
        """SIGTERM, then SIGKILL to one that does not obey."""
        if not self.alive():
            return
        self.kill(signal.SIGTERM)
        try:
            self._child.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            self._child.wait()

    def tail(self, lines=15):
        """The last lines of its output, for a message."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n    ".join([f"{self.argv[0]} said:", *text])


def run(argv, seconds=60, check=True, **options):
    """Runs a program to its end; its result, with output as text."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds * PATIENCE,
            preexec_fn=_die_with_parent,
            **options,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{argv[0]} did not end within {seconds:g} s") from None
    if check and done.returncode:
        raise Failed(
            f"{' '.join(map(str, argv))}: status {done.returncode}: "
            f"{(done.stderr or done.stdout).strip()}"
        )
    return done


def until(condition, seconds, what, every=0.02):
    """Waits until condition() is true, for what cannot be waited on directly; returns its value."""
    deadline = Deadline(seconds, what)
    while True:
        value = condition()
        if value:
            return value
        select.select([], [], [], min(every, deadline.left()))


def wait_pid(pid, seconds):
    """Waits for the end of a process that is not our child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([fd], [], [], seconds * PATIENCE)[0]:
            raise Failed(f"process {pid} did not end within {seconds:g} s")
    finally:
        os.close(fd)


def need(program, package):
    """The path of a program, or a skip that names its package."""
    path = shutil.which(program)
    if not path:
        raise Skipped(f"no {program} (package {package})")
    return path
