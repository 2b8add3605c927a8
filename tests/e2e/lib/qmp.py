# SPDX-License-Identifier: GPL-2.0-or-later
"""A small client of QEMU's monitor protocol."""
import json
import select
import socket

from .proc import Deadline, Failed, until


class Qmp:
    def __init__(self, path):
        self._sock = socket.socket(socket.AF_UNIX)
        until(lambda: path.exists(), 20, "QEMU's monitor socket")
        self._sock.connect(str(path))
        self._pending = b""
        self._events = []
        self.last = {}  # the last event of each name that was read
        self._read(Deadline(20, "QEMU's greeting"))
        self.command("qmp_capabilities")

    def close(self):
        self._sock.close()

    def _read(self, deadline):
        """The next message."""
        while b"\n" not in self._pending:
            if not select.select([self._sock], [], [], deadline.left())[0]:
                continue
            data = self._sock.recv(1 << 16)
            if not data:
                raise Failed(f"QEMU closed its monitor: {deadline.what}")
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        message = json.loads(line)
        if "event" in message:
            self.last[message["event"]] = message
        return message

    def begin(self, name, **arguments):
        """Sends a command, whose result() is asked for later."""
        self._sock.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())

    def is_silent(self, seconds):
        """Whether nothing comes for so long."""
        return not self._pending and not select.select([self._sock], [], [], seconds)[0]

    def result(self, name, seconds=30):
        """What the command that was begun has returned. An error of QEMU's is a failure of the test."""
        deadline = Deadline(seconds, f"QMP {name}")
        while True:
            message = self._read(deadline)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise Failed(f"QMP {name}: {message['error']['desc']}")
            if "event" in message:
                self._events.append(message)

    def command(self, name, seconds=30, **arguments):
        """Runs a command; its return value."""
        self.begin(name, **arguments)
        return self.result(name, seconds)

    def event(self, name, seconds=30, match=lambda data: True):
        """Waits for an event whose data match; events are consumed in order."""
        deadline = Deadline(seconds, f"QMP event {name}")
        while True:
            message = self._events.pop(0) if self._events else self._read(deadline)
            if message.get("event") == name and match(message.get("data", {})):
                return message
