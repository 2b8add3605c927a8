# SPDX-License-Identifier: GPL-2.0-or-later
"""Attachments whose disk fails: what is to be seen of them, here and in lab hosts."""
from .proc import Failed, until

HOLD = ("--on-error", "hold")


def expect(status, done, *words):
    """The finished iovctl ended so, and what it said has these words."""
    said = done.stdout + done.stderr
    if done.returncode != status:
        raise Failed(f"exit status {done.returncode}, not {status}: {said}")
    for word in words:
        if word not in said:
            raise Failed(f"no {word!r} in: {said}")


def is_busy(one):
    before = one.now()["requests_completed"]
    until(lambda: one.now()["requests_completed"] > before + 50, 30, "requests that go on")


def is_held(one):
    one.wait("held")
    if not one.now()["in_flight"]:
        raise Failed(f"held, and nothing in flight: {one.now()}")


def kill_all(daemon, one):
    """Everything that may die, while it is held: it stays so."""
    one.kill_worker()
    is_held(one)
    daemon.wait_restart(daemon.kill())
    is_held(one)
    worker = one.worker()
    old = daemon.kill()
    one.kill_worker(worker)
    daemon.wait_restart(old)
    is_held(one)
    daemon.stop()
    daemon.start()
    is_held(one)
