# SPDX-License-Identifier: GPL-2.0-or-later
"""The history checker (tests/e2e/history_client.c) at work while a test does its worst."""
import json
import typing

from guest import blkio, cache

from .proc import Failed, Process, Skipped


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
        checked = Checked(**json.loads(self.log.read_text().splitlines()[-1]))
        self.ended.append(checked)
        return checked
