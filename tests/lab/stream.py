# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP stream between a guest and this host that never rests: numbered lines go out, the guest's echo
brings them back. What is measured is the longest silence; what is checked is each byte."""
import os
import select
import socket
import threading
import time

from inside import Failed, expect

EVERY = 0.02  # seconds between two lines
LINE = b"%015d\n"


class Stream:
    """The host's end, while the context lasts; the guest connects (`nc ADDRESS PORT -e cat`)."""

    def __init__(self, address, port=5001):
        self._listen = socket.create_server((address, port))
        self._lock = threading.Lock()
        self._back, self._last, self._longest = 0, None, 0.0
        self._failure = None
        self._wake, self._end = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._end)
        self._thread.join()
        os.close(self._wake)
        self._listen.close()

    def _run(self):
        try:
            readable, _, _ = select.select([self._listen, self._wake], [], [])
            if self._wake in readable:
                return
            with self._listen.accept()[0] as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._talk(connection)
        except (OSError, Failed) as error:
            self._failure = str(error) or repr(error)

    def _talk(self, connection):
        sent, rest, due = 0, b"", time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                connection.sendall(LINE % sent)
                sent, due = sent + 1, now + EVERY
            readable, _, _ = select.select([connection, self._wake], [], [], max(0, due - now))
            if self._wake in readable:
                return
            if connection in readable:
                rest = self._take(rest + self._read(connection))

    @staticmethod
    def _read(connection):
        data = connection.recv(1 << 16)
        expect(data, "the guest has closed the stream")
        return data

    def _take(self, data):
        """Whole lines, each the next one; what is left."""
        now = time.monotonic()
        with self._lock:
            if self._last is not None:
                self._longest = max(self._longest, now - self._last)
            self._last = now
            while len(data) >= len(LINE % 0):
                line, data = data[:len(LINE % 0)], data[len(LINE % 0):]
                expect(line == LINE % self._back, f"{line} came back, not {LINE % self._back}")
                self._back += 1
        return data

    @property
    def back(self):
        """How many lines have come back; fails where the stream has ended."""
        expect(self._failure is None, f"the stream: {self._failure}")
        with self._lock:
            return self._back

    def longest(self):
        """The longest silence since this was asked last, in seconds."""
        expect(self._failure is None, f"the stream: {self._failure}")
        with self._lock:
            now, longest = time.monotonic(), self._longest
            self._longest = 0.0
            return max(longest, now - self._last) if self._last else longest
