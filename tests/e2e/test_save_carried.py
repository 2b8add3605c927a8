# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 420
"""A guest is saved with 64 requests in flight that its disk will never do: the disk's server is ended, which
proves it, they are recorded, and done under another iovd that has a better way to the disk, each once and
before anything new. The guest, which waits for them all the time, then has all that it wrote.

With split rings and a file that is throttled until nothing passes, and the machine stopped before
the state is saved: which it only is when the state has been stored. With packed rings and an NBD server
that takes its time, and memory that is sent away while the guest runs.
"""
import os
import time

from lib import disk, jobs
from lib.daemon import Attachment
from lib.guest import Qemu
from lib.nbd import Nbdkit
from lib.proc import until
from lib.report import main
from lib.slow import SlowDisk
from test_save_restore import PATIENT, PREPARE, QUEUES, expect, host, lasting, words
from test_save_restore import lose_all_but_the_store

DEPTH = 64
TIMEOUT_MS = 8000
# A process that is dead and not yet waited for has no program any more.
FENCE = """#!/bin/sh
kill -9 "$(cat "$1")"
while readlink "/proc/$(cat "$1")/exe"; do sleep 0.01; done
exit 0
"""


class Throttled:
    """A file whose server, once it is stuck, does a byte a second."""

    packed, stops_first = False, True

    def __init__(self, image, scratch):
        self._server = SlowDisk(image, scratch)
        self.name, self.elsewhere = self._server.path, scratch / "there.img"
        os.link(image, self.elsewhere)

    def pid(self):
        return self._server.pid

    def stick(self, daemon, one):
        self._server.bytes_per_second(1)

    def end(self):
        self._server.stop()


class Delayed:
    """An NBD volume whose server, once it is stuck, lets each write wait."""

    packed, stops_first = True, False

    def __init__(self, image, scratch):
        self._image, self._scratch = image, scratch
        self._server = Nbdkit(image, scratch, "server")
        self._other = Nbdkit(image, scratch, "other")
        self.name, self.elsewhere = self._server.uri, self._other.uri

    def pid(self):
        return self._server.pid

    def stick(self, daemon, one):
        self._server.die()
        one.wait("held")
        self._server = Nbdkit(self._image, self._scratch, "server", filters=("delay", "wdelay=100"))
        daemon.ctl("recover", one.id, "--allow", "NBD-LATE")

    def end(self):
        self._server.stop()
        self._other.stop()


def attach(daemon, volume, scratch):
    fence, pid = scratch / "fence", scratch / "pid"
    fence.write_text(FENCE)
    fence.chmod(0o700)
    pid.write_text(str(volume.pid()))
    return daemon.attach(volume.name, "web1", "data", "--queues", str(QUEUES), "--on-error", "hold",
                         "--io-timeout", "0", "--fence", f"{fence} {pid}")  # fmt: skip


def carry(daemon, one, timeout_ms):
    """How long it took, in milliseconds."""
    until(lambda: one.now()["in_flight"] >= DEPTH, 60, "requests that are stuck")
    begin = time.monotonic()
    daemon.ctl("quiesce", "web1", "--timeout", str(timeout_ms), "--carry", seconds=60)
    took = (time.monotonic() - begin) * 1000
    now = daemon.ctl("show", one.id)["attachment"]
    expect(now["state"] == "quiesced" and now["in_flight"] >= DEPTH, f"not carried: {now}")
    expect(all(request["held"] for request in now["requests"]), f"with the host: {now}")
    return took


def stop_and_store(daemon, guest, state):
    """The machine only stops when what is carried is on a disk."""
    guest.qmp.begin("stop")
    expect(guest.qmp.is_silent(1), "it has stopped with requests that nobody has stored")
    daemon.ctl("save", "web1", "-f", state)
    guest.qmp.result("stop")


def save(daemon, one, guest, scratch, stops_first):
    """Both files, and how many requests are in the one."""
    state, again, memory = (scratch / f"web1.{end}" for end in ("state", "again", "memory"))
    carried = one.now()["in_flight"]
    if stops_first:
        stop_and_store(daemon, guest, state)
    else:
        daemon.ctl("save", "web1", "-f", state)
    guest.qmp.command("migrate-set-capabilities",
                      capabilities=[{"capability": "events", "state": True}])
    guest.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    guest.qmp.command("migrate", uri=f"file:{memory}")
    guest.qmp.event("MIGRATION", 120, lambda data: data["status"] == "completed")
    daemon.ctl("save", "web1", "-f", again)
    first, second = (daemon.ctl("show", path)["iostate"] for path in (state, again))
    expect(lasting(first) == lasting(second), f"it moved: {first}\n{second}")
    requests = first["attachments"][0]["requests"]
    expect(len(requests) == carried, f"{carried} requests carried, recorded: {requests}")
    return state, memory, carried


def leave(scratch, volume, timeout_ms):
    """On the first host; the guest and its fio, how long the quiesce took, and what was saved."""
    with host(scratch, "a") as a:
        here = attach(a, volume, scratch)
        with Qemu(scratch, words(here, volume.packed), name="source", cpus=QUEUES, append=PATIENT) as source:
            source.run(PREPARE)
            work = source.start(jobs.verify("/mnt/work", 8, loops=4, iodepth=DEPTH))
            source.pump(1)
            volume.stick(a, here)
            (scratch / "pid").write_text(str(volume.pid()))
            took = carry(a, here, timeout_ms)
            saved = save(a, here, source, scratch, volume.stops_first)
            source.pump(0.1)  # what it had said
            expect(not source.done(work), "the work was over before it was saved")
        a.ctl("detach", here.id)
        return source, work, took, *saved


def round_trip(scratch, kind, timeout_ms):
    """How long the quiesce took, and a note."""
    image = disk.ext4(scratch / "image", 256)
    volume = kind(image, scratch)
    try:
        source, work, took, state, memory, count = leave(scratch, volume, timeout_ms)
        with host(scratch, "b") as b:
            restored = b.ctl("restore", state, "--map", f"data={volume.elsewhere}",
                             "--allow", "STATE-FENCE")["attachments"]  # fmt: skip
            now = Attachment(b, restored[0])
            lose_all_but_the_store(b, now)
            done = go_on(scratch, now, volume, source, work, memory)
            then = b.ctl("show", now.id)["attachment"]
            expect(then["replayed"] == count, f"{count} carried, and then: {then}")
            b.ctl("detach", now.id)
    finally:
        volume.end()
    disk.fsck(image)
    return took, f"{count} carried in {took:.0f} ms of {timeout_ms}, {done.verified >> 20} MiB verified"


def go_on(scratch, now, volume, source, work, memory):
    with Qemu(scratch, words(now, volume.packed), name="destination", cpus=QUEUES,
              incoming=f"file:{memory}") as guest:  # fmt: skip
        if volume.stops_first:
            until(lambda: guest.qmp.command("query-status")["status"] == "paused", 120, "the guest")
            expect(now.now()["state"] == "incoming", f"it does not run yet: {now.now()}")
            guest.qmp.command("cont")
        else:
            guest.qmp.event("RESUME", 120)
        guest.adopt(source)
        now.wait("active")
        done = jobs.work(guest.result(work, 240))
        guest.run("cd /mnt && echo 3 >/proc/sys/vm/drop_caches && sha256sum -c sums")
        guest.run("cd / && umount /mnt")
        guest.expect_no_complaints()
        return done


def test(scratch, timeout_ms=TIMEOUT_MS, at_most_ms=None):
    notes = []
    for name, kind in (("file", Throttled), ("volume", Delayed)):
        (scratch / name).mkdir()
        took, note = round_trip(scratch / name, kind, timeout_ms)
        expect(not at_most_ms or took <= at_most_ms, f"it took {took:.0f} ms")
        notes.append(f"{name}: {note}")
    return "; ".join(notes)


if __name__ == "__main__":
    main(test)
