# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration between two QEMUs, a worker on each side, under I/O.

The destination has only what QEMU sent: pages that a worker wrote into the guest's memory get there
only if it marked them in the dirty log. So the guest reads files into its page cache after
all of it was sent once; when it has moved, the cache, not the disk, must have the right sums.

Each side has a disk of its own. When the source has stopped, and before the destination goes on,
the test copies it: what the source's worker still wrote after it had said that it is drained is
lost then, and the guest finds out.
"""
import shutil
from contextlib import ExitStack

from lib import disk, jobs, servers
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main

FILES = 96
PREPARE = f"""
mount /dev/vda /mnt && cd /mnt
for i in $(seq {FILES}); do dd if=/dev/urandom of=$i bs=1M count=1; done 2>/dev/null
sha256sum $(seq {FILES}) >sums && sync && echo 3 >/proc/sys/vm/drop_caches
"""
# So much is dirty in each pass that the next one takes seconds: QEMU, if it were done before the
# test slows it down, would stop the guest.
DIRTY = """
dd if=/dev/urandom of=/tmp/one bs=1M count=24 2>/dev/null
until [ -e /tmp/enough ]; do dd if=/tmp/one of=/tmp/two bs=1M conv=notrunc 2>/dev/null; done
"""
# Done when QEMU has sent all pages once: what the worker writes now must be sent again.
FILL = f"cd /mnt && cat $(seq {FILES}) >/dev/null"


def copy(here, there):
    """Copies the content; the file is open on the other side and stays the same."""
    with open(here, "rb") as source, open(there, "r+b") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def migrate(source, destination, uri, hand_over):
    """Moves the guest while it works; the seconds it took."""
    capabilities = [
        {"capability": name, "state": True} for name in ("events", "pause-before-switchover")
    ]
    source.qmp.command("migrate-set-capabilities", capabilities=capabilities)
    limit(source, bandwidth=8 << 20, downtime=1)
    dirtier = source.start(DIRTY)
    source.qmp.command("migrate", uri=uri)
    source.qmp.event("MIGRATION_PASS", 60, lambda data: data["pass"] == 2)
    # What is dirty now keeps QEMU busy at this speed until the files were read.
    limit(source, bandwidth=1 << 20, downtime=1)
    source.run("touch /tmp/enough")
    source.result(dirtier)
    source.run(FILL)
    limit(source, bandwidth=1 << 30, downtime=1000)
    wait(source, "pre-switchover")
    hand_over()
    source.qmp.command("migrate-continue", state="pre-switchover")
    wait(source, "completed")
    destination.qmp.event("RESUME", 60)
    destination.adopt(source)
    return source.qmp.command("query-migrate")["total-time"] / 1000


def limit(source, bandwidth, downtime):
    parameters = {"max-bandwidth": bandwidth, "downtime-limit": downtime}
    source.qmp.command("migrate-set-parameters", **parameters)


def wait(source, status):
    event = source.qmp.event("MIGRATION", 180, lambda data: data["status"] in (status, "failed"))
    if event["data"]["status"] != status:
        raise Failed(f"migration failed: {source.qmp.command('query-migrate')}")


def test(scratch):
    image = disk.ext4(scratch / "source.img", 256)
    other = disk.blank(scratch / "destination.img", 256)
    uri = f"unix:{scratch}/migrate"
    with ExitStack() as stack:
        here = stack.enter_context(servers.alone(image, scratch, "here"))
        there = stack.enter_context(servers.alone(other, scratch, "there"))
        source = stack.enter_context(
            # A kernel that zeroes pages before it reads into them would mark them by itself; free
            # ones that are zero already are sent in no time.
            Qemu(
                scratch,
                blk_args(here.socket),
                name="source",
                append="init_on_alloc=0 init_on_free=1",
            )
        )
        destination = stack.enter_context(
            Qemu(scratch, blk_args(there.socket), name="destination", incoming=uri)
        )
        source.run(PREPARE)
        work = source.start(jobs.verify("/mnt/work", 32, loops=4))
        took = migrate(source, destination, uri, lambda: copy(image, other))
        destination.run("cd /mnt && sha256sum -c sums")
        done = jobs.work(destination.result(work, 240))
        destination.run("echo 3 >/proc/sys/vm/drop_caches; cd /mnt && sha256sum -c sums")
        destination.run("umount /mnt")
        destination.expect_no_complaints()
    disk.fsck(other)
    return f"moved in {took:.1f} s under I/O, {done.verified >> 20} MiB verified"


main(test)
