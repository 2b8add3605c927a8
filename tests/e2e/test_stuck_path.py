# SPDX-License-Identifier: GPL-2.0-or-later
"""A file server that is gone holds up who asks for a file of it, and nobody else.

The server here is a FUSE file system whose process reads no request: a look below its mount point
waits until that process ends. It is ours alone, in a mount namespace of its own.
"""
import contextlib
import ctypes
import os
import socket
import subprocess
import threading
import time

from lib.daemon import Daemon
from lib.proc import Failed, Skipped
from lib.report import main
from lib.servers import program

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
ANSWER_MS = 50


def libc(name, *words):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*words) < 0:
        raise OSError(ctypes.get_errno(), name)


@contextlib.contextmanager
def dead_server(folder):
    """A mounted file system that answers nothing; the end of the context is the end of its server."""
    folder.mkdir()
    try:
        libc("unshare", CLONE_NEWNS)
        libc("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc("mount", b"dead", bytes(folder), b"fuse", 0, options.encode())
    except OSError as error:
        raise Skipped(f"no FUSE here: {error}") from error
    try:
        yield
    finally:
        os.close(fd)
        libc("umount2", bytes(folder), 2)


def ask(run):
    """How long an answer takes, in ms: a connection and a call of it."""
    begin = time.monotonic()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(run / "iovd.sock"))
        client.sendall(b'{"method":"org.iovd.Manager.ListDevices"}\0')
        while not client.recv(1 << 16).endswith(b"\0"):
            pass
    return (time.monotonic() - begin) * 1000


def test(scratch):
    folder = scratch / "mnt"
    with dead_server(folder), Daemon(scratch) as daemon:
        words = [program("iovctl"), "-s", scratch / "run" / "iovd.sock"]
        stuck = [
            subprocess.Popen([*words, "attach", folder / name, "vm"], stderr=subprocess.PIPE, text=True)
            for name in ("a.img", "b.img")
        ]
        ended = threading.Event()
        threading.Thread(
            target=lambda: ([process.wait() for process in stuck], ended.set()), daemon=True
        ).start()
        took = []
        while not ended.wait(0.02):
            took.append(ask(scratch / "run"))
        for process in stuck:
            said = process.stderr.read()
            if process.returncode != 1 or "DEV-WEDGED" not in said:
                raise Failed(f"status {process.returncode}: {said}")
        slow = sorted(took)[int(len(took) * 0.9)]
        if len(took) < 20 or slow > ANSWER_MS:
            raise Failed(f"{len(took)} answers, nine of ten within {slow:.1f} ms")
        daemon.wait_answer()
        return f"{len(took)} answers meanwhile, nine of ten within {slow:.1f} ms"


main(test)
