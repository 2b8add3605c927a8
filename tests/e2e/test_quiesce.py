# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""Quiesce and resume under I/O whose every request is checked, with everything killed meanwhile.

Two disks of one machine are quiesced as one act; workers, iovd and both die while they drain, while
they are quiesced and while they are resumed. When a disk does not answer, the requests that are
stuck are named and the gate is open again, of the other disk too.
"""
import random
import re
import threading
import time

from lib import disk
from lib.daemon import Daemon
from lib.history import History
from lib.proc import Failed, until
from lib.report import main
from lib.slow import SlowDisk

ROUNDS = 6


def expect(status, done, *words):
    """The finished iovctl ended so, and what it said has these words."""
    said = done.stdout + done.stderr
    if done.returncode != status:
        raise Failed(f"exit status {done.returncode}, not {status}: {said}")
    for word in words:
        if not re.search(word, said):
            raise Failed(f"no {word!r} in: {said}")


def expect_already(answer, already):
    if answer["already"] != already:
        raise Failed(f"already is not {already}: {answer}")


def completed(daemon, vm):
    return [a["requests_completed"] for a in daemon.attachments() if a["vm"] == vm]


def states(daemon, vm):
    return {a["state"] for a in daemon.attachments() if a["vm"] == vm}


def is_still(daemon, disks):
    """Quiesced, all of them, with nothing in flight and nothing being completed."""
    for one in disks:
        one.wait("quiesced")
        until(lambda one=one: not one.now()["in_flight"], 10, "nothing in flight")
    before = completed(daemon, "vm1")
    time.sleep(0.05)  # not to wait for something, but for nothing
    if completed(daemon, "vm1") != before:
        raise Failed(f"requests complete while quiesced: {before}, {completed(daemon, 'vm1')}")


def is_busy(daemon, vm="vm1"):
    """Requests are served again, of all."""
    before = completed(daemon, vm)
    until(
        lambda: all(n > m for n, m in zip(completed(daemon, vm), before)), 30, "I/O of all disks"
    )


def in_turn(daemon, disks):
    """As it is meant to be used."""
    expect_already(daemon.ctl("quiesce", "vm1"), False)
    is_still(daemon, disks)
    expect_already(daemon.ctl("quiesce", "vm1"), True)
    expect_already(daemon.ctl("resume", "vm1"), False)
    is_busy(daemon)
    expect_already(daemon.ctl("resume", "vm1"), True)
    daemon.ctl("quiesce", disks[1].id)
    if [one.now()["state"] for one in disks] != ["active", "quiesced"]:
        raise Failed(f"one is quiesced: {daemon.attachments()}")
    daemon.ctl("quiesce", "vm1/disk0")
    is_still(daemon, disks)
    daemon.ctl("resume", "vm1")
    is_busy(daemon)
    expect(10, daemon.ctl("quiesce", "nobody", check=False), "no VM or attachment nobody")


def kill_both(daemon, one):
    worker = one.worker()
    old = daemon.kill()
    one.kill_worker(worker)
    daemon.wait_restart(old)


def killed_while_quiesced(daemon, disks):
    daemon.ctl("quiesce", "vm1")
    for one in disks:
        one.kill_worker()
    is_still(daemon, disks)
    daemon.wait_restart(daemon.kill())
    is_still(daemon, disks)
    kill_both(daemon, disks[0])
    is_still(daemon, disks)
    daemon.stop()
    daemon.start()
    is_still(daemon, disks)
    disks[1].kill_worker()
    is_still(daemon, disks)
    daemon.ctl("resume", "vm1")
    is_busy(daemon)


def killed_at_random(daemon, disks, rounds):
    """Something dies at some moment of a quiesce or resume: then it is as before, or as after."""
    deaths = [
        lambda: daemon.wait_restart(daemon.kill()),
        lambda: disks[0].kill_worker(),
        lambda: kill_both(daemon, disks[1]),
    ]
    for n in range(rounds):
        verb = ["quiesce", "resume"][n // len(deaths) % 2]
        killer = threading.Timer(random.uniform(0, 0.02), deaths[n % len(deaths)])
        killer.start()
        daemon.ctl(verb, "vm1", check=False)  # its daemon may die
        killer.join()
        daemon.wait_answer()
        # Looked at once: that a worker is dead may be known only a moment later.
        ended = until(lambda: states(daemon, "vm1") - {"recovering"}, 30, "workers that serve")
        if ended not in ({"quiesced"}, {"active"}):
            raise Failed(f"{verb} is half done: {daemon.attachments()}")
        if ended == {"quiesced"}:
            is_still(daemon, disks)
        else:
            is_busy(daemon)
    daemon.ctl("resume", "vm1")
    is_busy(daemon)


def killed_while_draining(daemon, slow, one):
    """Its successor goes on draining, and the same command ends well."""
    slow.requests_per_second(60)
    killer = threading.Timer(0.1, one.kill_worker)
    killer.start()
    daemon.ctl("quiesce", "vm2", "--timeout", "20000")
    killer.join()
    one.wait("quiesced")
    daemon.ctl("resume", "vm2")
    is_busy(daemon, "vm2")


def stuck(daemon, slow, one):
    """The requests are named; the gate is open, of the disk that was quick too."""
    slow.requests_per_second(1)
    until(lambda: one.now()["in_flight"] > 4, 30, "requests that are stuck")
    begin = time.monotonic()
    done = daemon.ctl("quiesce", "vm2", "--timeout", "300", check=False)
    took = time.monotonic() - begin
    expect(5, done, r"\d+ requests do not end within 300 ms", rf"{one.id}.*(read|write) \d+\+8 \d+ ms")
    if took > 5:
        raise Failed(f"that took {took:.1f} s")
    if states(daemon, "vm2") != {"active"}:
        raise Failed(f"not as before: {daemon.attachments()}")
    slow.requests_per_second(0)
    is_busy(daemon, "vm2")
    return took


def carried(daemon, slow, one):
    """What of the stuck was never sent stays in flight, and is done after resume. None when the
    kernel had all of them in hand: they are not found to be cancelled then, and end by themselves."""
    slow.requests_per_second(8)
    until(lambda: one.now()["in_flight"] > 12, 30, "requests that are stuck")
    begin = time.monotonic()
    daemon.ctl("quiesce", one.id, "--timeout", "2000", "--carry")
    took = time.monotonic() - begin
    one.wait("quiesced")
    count = one.now()["in_flight"]
    if not count:
        daemon.ctl("resume", one.id)
        return None
    for kill in (one.kill_worker, lambda: daemon.wait_restart(daemon.kill())):
        before = one.now()["requests_completed"]
        kill()
        one.wait("quiesced")
        if (one.now()["in_flight"], one.now()["requests_completed"]) != (count, before):
            raise Failed(f"{count} requests were carried: {one.now()}")
    slow.requests_per_second(0)
    daemon.ctl("resume", one.id)
    is_busy(daemon, "vm2")
    return count, took


def taken_up_again(daemon, slow, one):
    """Without a kill, the worker that carried them does them itself."""
    slow.requests_per_second(8)
    until(lambda: one.now()["in_flight"] > 12, 30, "requests that are stuck")
    daemon.ctl("quiesce", one.id, "--timeout", "2000", "--carry")
    restarts = one.now()["restarts"]
    slow.requests_per_second(0)
    daemon.ctl("resume", one.id)
    is_busy(daemon, "vm2")
    if one.now()["restarts"] != restarts:
        raise Failed(f"a worker died: {one.now()}")


def not_carried(daemon, slow, one):
    """What was sent and does not end can be neither: truthfully failed, and open again."""
    slow.requests_per_second(1)
    until(lambda: one.now()["in_flight"] > 12, 30, "requests that are stuck")
    done = daemon.ctl("quiesce", one.id, "--timeout", "100", "--carry", check=False)
    if done.returncode:
        expect(5, done, "nor can they be cancelled", rf"{one.id}.*\d+\+8 \d+ ms")
    else:
        daemon.ctl("resume", one.id)
    slow.requests_per_second(0)
    is_busy(daemon, "vm2")
    return done.returncode


def test(scratch, rounds=ROUNDS):
    images = [disk.blank(scratch / f"{n}.img", 8) for n in range(4)]
    with SlowDisk(images[3], scratch) as slow, Daemon(scratch) as daemon:
        disks = [
            daemon.attach(image, vm, f"disk{n}")
            for n, (image, vm) in enumerate(zip([*images[:3], slow.path], ["vm1"] * 2 + ["vm2"] * 2))
        ]
        histories = [
            History(one.socket, scratch, f"h{n}", image=images[n], seed=n, depth=16)
            for n, one in enumerate(disks[:2])
        ]
        for one in disks[:2]:
            one.wait("active")
        in_turn(daemon, disks[:2])
        killed_while_quiesced(daemon, disks[:2])
        killed_at_random(daemon, disks[:2], rounds)
        histories += [
            History(one.socket, scratch, f"h{n}", seed=n, depth=16)
            for n, one in enumerate(disks[2:], 2)
        ]
        for one in disks[2:]:
            one.wait("active")
        killed_while_draining(daemon, slow, disks[3])
        took = stuck(daemon, slow, disks[3])
        count, carry_took = until(
            lambda: carried(daemon, slow, disks[3]), 60, "requests that were never sent"
        )
        taken_up_again(daemon, slow, disks[3])
        until(lambda: not_carried(daemon, slow, disks[3]), 60, "a request that was sent")
        checked = [history.end() for history in histories]
    requests = sum(c.requests for c in checked)
    reads = sum(c.reads_checked for c in checked)
    return (
        f"{requests} requests, {reads} reads checked, longest pause "
        f"{max(c.longest_ms for c in checked):.0f} ms; a stuck quiesce was undone in {took:.2f} s, "
        f"{count} requests carried in {carry_took:.2f} s"
    )


if __name__ == "__main__":
    main(test)
