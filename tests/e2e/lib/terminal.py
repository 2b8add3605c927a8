# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal of a given size, with a program in it: what it prints there, and keys for it."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios

from .proc import Deadline, Failed


class Terminal:
    """A child whose standard input and output are a terminal; a context manager that ends it."""

    def __init__(self, argv, columns=80, rows=24, **env):
        self._fd, theirs = pty.openpty()
        self.resize(columns, rows)
        words = [str(word) for word in argv]
        env = {"TERM": "xterm", "PATH": os.environ["PATH"], **env}
        self.child = subprocess.Popen(words, stdin=theirs, stdout=theirs, env=env)
        os.close(theirs)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self._fd)

    def resize(self, columns, rows):
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "child"):
            self.child.send_signal(signal.SIGWINCH)

    def press(self, keys):
        os.write(self._fd, keys.encode())

    def _read(self, seconds):
        """More text; "" when there is no more to come."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return None
        try:
            return os.read(self._fd, 65536).decode(errors="replace")
        except OSError:  # how the end of a terminal reads
            return ""

    def wait(self, found, what, seconds=30):
        """Reads until found(text since the last wait) is true; that text."""
        deadline = Deadline(seconds, what)
        while not found(self.text):
            more = self._read(deadline.left())
            if more == "":
                raise Failed(f"{what}: it ended: {self.text}")
            self.text += more or ""
        text, self.text = self.text, ""
        return text

    def end(self, seconds=30):
        """All that is left to read, until it ends; and its exit status."""
        deadline = Deadline(seconds, "a program to end")
        while (more := self._read(deadline.left())) != "":
            self.text += more or ""
        return self.text, self.child.wait(deadline.left())


def run(argv, columns=80, rows=24, **env):
    """What it prints on such a terminal."""
    with Terminal(argv, columns, rows, **env) as terminal:
        return terminal.end()[0].replace("\r\n", "\n")
