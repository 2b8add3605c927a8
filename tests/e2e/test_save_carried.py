# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 420
"""A guest is saved with requests in flight that its disk does not do: they are cancelled, recorded,
and done under another iovd that has a better way to the disk, each once and before anything new. The
guest, which waits for them all the time, then has all that it wrote; with split and with packed rings.
"""
import os

from lib import disk, jobs
from lib.daemon import Attachment
from lib.guest import Qemu
from lib.proc import until
from lib.report import main
from lib.slow import SlowDisk
from test_save_restore import PATIENT, PREPARE, QUEUES, expect, host, lasting, words
from test_save_restore import lose_all_but_the_store


def carry(daemon, one):
    """How many are carried; none when the kernel had all in hand, which are waited for then."""
    until(lambda: one.now()["in_flight"] > 12, 60, "requests that are stuck")
    daemon.ctl("quiesce", "web1", "--timeout", "20000", "--carry", seconds=60)
    carried = one.now()["in_flight"]
    if not carried:
        daemon.ctl("resume", "web1")
    return carried


def save(daemon, one, guest, scratch):
    """Stopped first: while the memory of a guest that runs is sent away, nothing may be left behind."""
    state, again, memory = (scratch / f"web1.{end}" for end in ("state", "again", "memory"))
    carried = until(lambda: carry(daemon, one), 60, "requests that were never sent")
    daemon.ctl("save", "web1", "-f", state)
    guest.qmp.command("stop")
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
    return state, memory, len(requests)


def leave(scratch, image, packed):
    """On the first host; the guest and its fio, the files, and how many requests are in flight."""
    with SlowDisk(image, scratch) as slow, host(scratch, "a") as a:
        here = a.attach(slow.path, "web1", "data", "--queues", str(QUEUES))
        with Qemu(scratch, words(here, packed), name="source", cpus=QUEUES, append=PATIENT) as source:
            source.run(PREPARE)
            work = source.start(jobs.verify("/mnt/work", 8, loops=4))
            source.pump(1)
            slow.requests_per_second(8)
            saved = save(a, here, source, scratch)
            source.pump(0.1)  # what it had said
            expect(not source.done(work), "the work was over before it was saved")
        slow.requests_per_second(0)
        a.ctl("detach", here.id)
        return source, work, slow.path, *saved


def round_trip(scratch, packed):
    image, there = scratch / "image", scratch / "there.img"
    disk.ext4(image, 256)
    source, work, name, state, memory, count = leave(scratch, image, packed)
    os.link(image, there)
    with host(scratch, "b") as b:
        now = Attachment(b, b.ctl("restore", state, "--map", f"{name}={there}")["attachments"][0])
        lose_all_but_the_store(b, now)
        with Qemu(scratch, words(now, packed), name="destination", cpus=QUEUES,
                  incoming=f"file:{memory}") as guest:
            until(lambda: guest.qmp.command("query-status")["status"] == "paused", 120, "the guest")
            expect(now.now()["state"] == "incoming", f"it does not run yet: {now.now()}")
            guest.qmp.command("cont")
            guest.adopt(source)
            now.wait("active")
            done = jobs.work(guest.result(work, 240))
            guest.run("cd /mnt && echo 3 >/proc/sys/vm/drop_caches && sha256sum -c sums")
            guest.run("cd / && umount /mnt")
            guest.expect_no_complaints()
    disk.fsck(there)
    return count, done.verified >> 20


def test(scratch):
    notes = []
    for kind in ("split", "packed"):
        (scratch / kind).mkdir()
        count, mib = round_trip(scratch / kind, kind == "packed")
        notes.append(f"{kind}: {count} requests carried, {mib} MiB verified")
    return "; ".join(notes)


if __name__ == "__main__":
    main(test)
