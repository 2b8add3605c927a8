# SPDX-License-Identifier: GPL-2.0-or-later
"""The history checker (tests/e2e/history_client.c) at work while a test does its worst."""
import base64
import json
import struct
import typing

from guest import blkio, cache

from .proc import Failed, Process, Skipped


BLOCKS = 64  # of one whose promises are told: each is a line


class Checked(typing.NamedTuple):
    requests: int  # of all kinds, each of which ended as it should:
    failed: int  # with an error, as those to blocks that are bad, or well
    reads_checked: int
    sectors_checked: int
    sectors_raced: int  # read while being written: nothing can be said of these
    longest_ms: float  # the longest that a request took
    seconds: float

    def __str__(self):
        return (
            f"{self.requests} requests, {self.reads_checked} reads checked, longest pause "
            f"{self.longest_ms:.0f} ms"
        )


class History(Process):
    """A client that goes on until it is told to end(); a wrong byte or error is a failure.

    The image, if given, is read past iovd at the end, and must have what the history allows.
    """

    ended = []  # what was checked by all that were told to end

    def __init__(self, sock, scratch, name="history", image=None, **options):
        try:
            command = blkio.client("history_client")
        except cache.Unavailable as error:
            raise Skipped(str(error)) from error
        self._until = scratch / f"{name}.over"
        options |= {"until": self._until} | ({"image": image} if image else {})
        words = [f"{key}={value}" for key, value in options.items()]
        super().__init__([*command, sock, *words], scratch / f"{name}.log")

    def slow(self):
        """With slow=MS given: how long each took that took longer, in ms, so far."""
        lines = self.log.read_text().splitlines()
        return [float(line.split()[1]) for line in lines if line.startswith("slow ")]

    def check(self):
        """Fails if it has found a mistake already."""
        if not self.alive():
            raise Failed(self.tail())

    def end(self, seconds=60):
        """No further requests; everything is read once more. What was checked."""
        self.check()
        self._until.touch()
        if self.wait(seconds):
            raise Failed(self.tail())
        checked = _checked(self.log.read_text())
        self.ended.append(checked)
        return checked


def _checked(text):
    return Checked(**json.loads(text.splitlines()[-1]))


class Inside:
    """The same inside a guest that was built with image.qemu_history, at one of its disks. It goes
    wherever the guest goes.

    `promises` is the far end of a port of the guest's (libvirt.PROMISES), where the client tells what
    was flushed: so that another client, after the guest has died, looks for it first.
    """

    def __init__(self, guest, disk, promises=None, life=0, **options):
        self._guest = guest
        self._until = f"/tmp/{disk.rsplit('/', 1)[-1]}.over"
        options |= {"until": self._until, "first": life << 32}
        before = ""
        if promises:
            journal = base64.b64encode(_promised(promises)).decode()
            before = f"echo {journal} | base64 -d >/tmp/journal; "
            options |= {"blocks": BLOCKS, "journal": "/tmp/journal", "tell": "$(echo /dev/vport*p2)"}
        words = " ".join(f"{key}={value}" for key, value in options.items())
        self._number = guest.start(f"{before}exec checker {disk} {words} 2>&1")

    def check(self):
        """Fails if it has found a mistake already."""
        if self._guest.done(self._number):
            raise Failed(f"the history: {self._guest.result(self._number, check=False).output}")

    def end(self, seconds=120):
        """No further requests; everything is read once more. What was checked."""
        self.check()
        self._guest.run(f"touch {self._until}")
        return _checked(self._guest.result(self._number, seconds).output)


def _promised(path):
    """The last line that is whole, as a journal (tests/e2e/history_journal.h)."""
    last = [0] * (1 + BLOCKS)
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        words = line.split()
        if len(words) == BLOCKS + 3 and words[0] == "promise" and all(map(str.isdigit, words[1:])):
            *numbers, total = map(int, words[1:])
            last = numbers if sum(numbers) == total else last
    return struct.pack(f"<{1 + BLOCKS}Q", *last)
