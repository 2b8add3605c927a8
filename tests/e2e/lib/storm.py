# SPDX-License-Identifier: GPL-2.0-or-later
"""Kills at random moments while a guest writes and verifies: the heart of several tests."""
import random
import time
import typing

from . import jobs
from .proc import Deadline


class Storm(typing.NamedTuple):
    kills: int
    written: int
    verified: int
    longest_ms: float

    def __str__(self):
        return (
            f"{self.kills} kills, {self.written >> 20} MiB written, {self.verified >> 20} MiB "
            f"verified, longest pause {self.longest_ms:.0f} ms"
        )


def _let_pass(guest, seconds):
    """Lets the guest work for a random while; what it says is taken in."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        guest.pump(left)


def storm(guest, filename, kills, kill, mib=32, gap=(0.02, 0.6), seconds=600, progress=None):
    """Runs verified writes on a file or disk of the guest, one job after the other, and calls
    kill() at random moments until it was called `kills` times and the last job has ended well."""
    deadline = Deadline(seconds, f"{kills} kills under I/O")
    done, works = 0, []
    while done < kills:
        number = guest.start(jobs.verify(filename, mib))
        while not guest.done(number) and done < kills:
            _let_pass(guest, min(random.uniform(*gap), deadline.left()))
            if guest.done(number):
                break
            kill()
            done += 1
            if progress:
                progress(done)
        works.append(jobs.work(guest.result(number, deadline.left())))
    return Storm(
        done,
        sum(work.written for work in works),
        sum(work.verified for work in works),
        max(work.longest_ms for work in works),
    )
