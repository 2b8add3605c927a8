# SPDX-License-Identifier: GPL-2.0-or-later
"""The test's end of the command channel that a guest's init serves (tests/guest/init).

One line in, one line out, matched by a number, so that commands may overlap. All waiting is on the
socket, with a deadline; the end of the socket is the end of the guest.
"""
import base64
import contextlib
import select
import typing

from .proc import Deadline, Failed

_POKE_SECONDS = 5
# Requests that the guest's disks have not answered, who waits, and what its kernel said.
_LOOK = (
    "grep -v '^ *0 *0$' /sys/block/*/inflight; ps -o pid,stat,args | grep -v ']$'; dmesg | tail -8"
)


class Result(typing.NamedTuple):
    status: int
    output: str


class Channel:
    def __init__(self, sock, describe):
        """`sock` is connected; describe() tells what the guest said last, for messages."""
        self._sock = sock
        self._describe = describe
        self._pending = b""
        self._replies = {}
        self._scripts = {}
        self._serial = 0
        self.boots = 0

    def _line(self, line):
        words = line.split()
        if line == "ready":
            self.boots += 1
        elif len(words) in (2, 3) and words[0].isdigit():
            output = base64.b64decode("".join(words[2:])).decode(errors="replace")
            self._replies[int(words[0])] = Result(int(words[1]), output)

    def pump(self, seconds):
        """Takes in what arrives within that time, at most one read; True when something did."""
        if not select.select([self._sock], [], [], seconds)[0]:
            return False
        data = self._sock.recv(1 << 16)
        if not data:
            raise Failed(f"the guest is gone\n    {self._describe()}")
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._line(line.decode(errors="replace").strip("\r\0 "))
        return True

    def _wait(self, condition, seconds, what):
        deadline = Deadline(seconds, what)
        while not condition():
            try:
                self.pump(deadline.left())
            except Failed as error:
                seen = self._describe()
                raise Failed(f"{error}\n    {seen}\n    {self._poke(condition)}") from None

    def _poke(self, condition):
        """Speaks to a guest that let us wait: an interrupt that QEMU lost is made up for by the next
        one, and a guest that only slept goes on. What it sees itself is told, too."""
        try:
            number = self.start(_LOOK)
            deadline = Deadline(_POKE_SECONDS, "poked")
            while not (condition() and number in self._replies):
                self.pump(deadline.left())
        except (Failed, OSError):
            pass
        if number not in self._replies:
            return "poked, it does not answer"
        done = ", and has done now what was waited for" * condition()
        return f"poked, it answers{done}:\n{self._replies[number].output}"

    def wait_ready(self, boots, seconds):
        """Waits until init has come up for the given time."""
        self._wait(lambda: self.boots >= boots, seconds, f"boot {boots} of the guest")

    def adopt(self, other):
        """Continues another channel's conversation: the guest moved here, its commands go on.
        What it had still said there is taken in first."""
        with contextlib.suppress(Failed):  # that end may be closed already
            while other._sock.fileno() >= 0 and other.pump(0):
                pass
        self._replies, self._scripts = other._replies, other._scripts
        self._serial, self.boots = other._serial, other.boots

    def start(self, script):
        """Sends a script; the number to ask for its result by."""
        self._serial += 1
        self._scripts[self._serial] = script
        self._sock.sendall(b"%d %s\n" % (self._serial, base64.b64encode(script.encode())))
        return self._serial

    def done(self, number):
        """Whether the result is there already."""
        return number in self._replies

    def result(self, number, seconds):
        """Waits for the result of a started script."""
        what = f"in the guest: {self._scripts[number].strip()}"
        self._wait(lambda: number in self._replies, seconds, what)
        return self._replies.pop(number)

    def script(self, number):
        return self._scripts[number].strip()
