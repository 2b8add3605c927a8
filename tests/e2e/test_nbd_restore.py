# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 420
"""A guest on an NBD volume is saved under one iovd and comes back under another one, which has the same
export open: by its name, without a word of what is where.

What it was at goes on, and is verified. A server of another size under that name is refused.
"""
from lib import disk, jobs
from lib.daemon import Attachment
from lib.guest import Qemu
from lib.nbd import Nbdkit
from lib.report import main

from test_save_restore import (
    PATIENT, PREPARE, QUEUES, expect, host, lose_all_but_the_store, save, words,
)  # fmt: skip


def check_refused(daemon, state, scratch):
    with Nbdkit(disk.blank(scratch / "small.img", 64), scratch, "small") as small:
        done = daemon.ctl("restore", state, "--map", f"data={small.uri}", check=False)
        expect(done.returncode == 4 and "DISK-DIFFERS" in done.stderr, f"restored: {done.stderr}")
    expect(not daemon.attachments(), "a refused restore left something")


def come_back(b, source, work, state, memory):
    restored = b.ctl("restore", state)["attachments"]
    expect([r["state"] for r in restored] == ["incoming"], f"restored: {restored}")
    now = Attachment(b, restored[0])
    lose_all_but_the_store(b, now)
    with Qemu(b.socket.parent, words(now, False), name="destination", cpus=QUEUES,
              incoming=f"file:{memory}") as destination:  # fmt: skip
        destination.qmp.event("RESUME", 120)
        destination.adopt(source)
        now.wait("active")
        done = jobs.work(destination.result(work, 240))
        destination.run("cd /mnt && echo 3 >/proc/sys/vm/drop_caches && sha256sum -c sums")
        destination.run("cd / && umount /mnt")
        destination.expect_no_complaints()
    return done.verified >> 20


def test(scratch):
    image = disk.ext4(scratch / "disk.img", 256)
    with Nbdkit(image, scratch) as server, host(scratch, "a") as a, host(scratch, "b") as b:
        here = a.attach(server.uri, "web1", "data", "--queues", str(QUEUES))
        with Qemu(scratch, words(here, False), name="source", cpus=QUEUES, append=PATIENT) as source:
            source.run(PREPARE)
            work = source.start(jobs.verify("/mnt/work", 8, loops=4))
            source.pump(1)
            state, memory, _ = save(a, source, scratch)
            source.pump(0.1)  # what it had said
            expect(not source.done(work), "the work was over before it was saved")
        check_refused(b, state, scratch)
        verified = come_back(b, source, work, state, memory)
        a.ctl("detach", here.id)
    disk.fsck(image)
    return f"{verified} MiB verified"


if __name__ == "__main__":
    main(test)
