# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 420
"""A guest is saved in the middle of its I/O, by QEMU into one file and by iovd into another, and comes
back under another iovd, that calls the disk by another name; with split and with packed rings.

What the guest wrote before is there, and what it was at goes on and is verified. All of iovd dies
while it waits for the guest to come, which changes nothing. What is not the disk that was saved is refused, and
nothing has changed then.
"""
import os

from lib import disk, jobs
from lib.daemon import Attachment, Daemon
from lib.guest import Qemu
from lib.proc import Failed
from lib.report import main

QUEUES = 2
# A busy host may leave one processor of the guest without the other for long: not the disk's affair.
PATIENT = "rcupdate.rcu_cpu_stall_suppress=1 nosoftlockup"
PREPARE = """
mount /dev/vda /mnt && cd /mnt
for i in $(seq 16); do dd if=/dev/urandom of=$i bs=1M count=1; done 2>/dev/null
sha256sum $(seq 16) >sums && sync && echo 3 >/proc/sys/vm/drop_caches
"""


def words(attachment, packed):
    """The words for QEMU, and which kind of ring."""
    *first, device = attachment.vmm_args
    return [*first, f"{device},packed={'on' if packed else 'off'}"]


def host(scratch, name):
    (scratch / name).mkdir()
    return Daemon(scratch / name)


def expect(condition, what):
    if not condition:
        raise Failed(what)


def lasting(state):
    """What must not move: all but the time, and whether the VMM has the rings enabled just now."""
    return [{**a, "rings": [{**ring, "enabled": None} for ring in a["rings"]]}
            for a in state["attachments"]]


def save(daemon, guest, scratch):
    """Both files. Nothing moves between the quiesce and the guest's end: saved twice, it is the same."""
    state, again, memory = (scratch / f"web1.{end}" for end in ("state", "again", "memory"))
    refused = daemon.ctl("save", "web1", "-f", state, check=False)
    expect(refused.returncode == 4 and not state.exists(), f"saved while it runs: {refused.stdout}")
    daemon.ctl("quiesce", "web1", "--timeout", "30000")
    daemon.ctl("save", "web1", "-f", state)
    guest.qmp.command("migrate-set-capabilities",
                      capabilities=[{"capability": "events", "state": True}])
    guest.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    guest.qmp.command("migrate", uri=f"file:{memory}")
    guest.qmp.event("MIGRATION", 120, lambda data: data["status"] == "completed")
    daemon.ctl("save", "web1", "-f", again)
    first, second = (daemon.ctl("show", path)["iostate"] for path in (state, again))
    expect(lasting(first) == lasting(second), f"it moved: {first}\n{second}")
    return state, memory, first


def check_refused(daemon, state, image, small):
    for target, code in ((small, "DISK-DIFFERS"), ("/nowhere", "NO-SUCH")):
        done = daemon.ctl("restore", state, "--map", f"{image}={target}", check=False)
        expect(done.returncode in (4, 10) and code in done.stderr, f"{target}: {done.stderr}")
    expect(not daemon.attachments(), "a refused restore left something")


def lose_all_but_the_store(daemon, attachment):
    """A worker dies; then keeper, iovd and the next worker, as if the host had crashed."""
    attachment.kill_worker()
    attachment.wait("incoming")
    worker = attachment.worker()
    daemon.stop()
    attachment.kill_worker(worker)
    daemon.start()
    attachment.wait("incoming")


def round_trip(scratch, packed):
    image, there, small = (scratch / f"{name}.img" for name in ("here", "there", "small"))
    disk.ext4(image, 256)
    disk.blank(small, 128)
    with host(scratch, "a") as a:
        here = a.attach(image, "web1", "data", "--queues", str(QUEUES))
        with Qemu(scratch, words(here, packed), name="source", cpus=QUEUES, append=PATIENT) as source:
            source.run(PREPARE)
            work = source.start(jobs.verify("/mnt/work", 8, loops=4))
            source.pump(1)
            state, memory, saved = save(a, source, scratch)
            source.pump(0.1)  # what it had said
            expect(not source.done(work), "the work was over before it was saved")
        a.ctl("detach", here.id)
    rings = saved["attachments"][0]["rings"]
    expect(len(rings) == QUEUES and all(ring["size"] for ring in rings), f"rings: {rings}")
    os.link(image, there)
    with host(scratch, "b") as b:
        check_refused(b, state, image, small)
        restored = b.ctl("restore", state, "--map", f"{image}={there}")["attachments"]
        expect([r["state"] for r in restored] == ["incoming"], f"restored: {restored}")
        now = Attachment(b, restored[0])
        lose_all_but_the_store(b, now)
        with Qemu(scratch, words(now, packed), name="destination", cpus=QUEUES,
                  incoming=f"file:{memory}") as destination:
            destination.qmp.event("RESUME", 120)
            destination.adopt(source)
            now.wait("active")
            done = jobs.work(destination.result(work, 240))
            destination.run("cd /mnt && echo 3 >/proc/sys/vm/drop_caches && sha256sum -c sums")
            destination.run("cd / && umount /mnt")
            destination.expect_no_complaints()
    disk.fsck(there)
    return done.verified >> 20


def test(scratch):
    verified = []
    for packed in (False, True):
        part = scratch / ("packed" if packed else "split")
        part.mkdir()
        verified.append(round_trip(part, packed))
    return f"split and packed, {' and '.join(map(str, verified))} MiB verified"


if __name__ == "__main__":
    main(test)
