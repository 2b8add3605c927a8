# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""iovd is killed at random moments, and then everything at once, while guests run.

Workers go on, a restarted daemon finds them and says the same as before; a keeper that ends in good
order leaves them running for the next one, which holds all that they would lose by dying.
"""
from lib import disk
from lib.daemon import Daemon
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main
from lib.storm import storm

KILLS = 8


def strip(row, but):
    return {key: value for key, value in row.items() if key not in but}


def same(daemon, before, what, but=()):
    """The attachments are as they were, except for some keys."""
    now = daemon.settled()
    if [strip(row, but) for row in now] != [strip(row, but) for row in before]:
        raise Failed(f"after {what}: {now}, before it: {before}")


def kill_daemon(daemon):
    daemon.wait_restart(daemon.kill())


def kill_both(daemon, attachment):
    """Daemon and worker in one go, in either order of dying."""
    worker = attachment.worker()
    old = daemon.kill()
    attachment.kill_worker(worker)
    daemon.wait_restart(old)


def restart_keeper(daemon):
    daemon.stop()
    daemon.start()


def test(scratch, kills=KILLS):
    image = disk.ext4(scratch / "disk.img", 128)
    other = disk.blank(scratch / "other.img", 64)
    with Daemon(scratch) as daemon:
        disk0, disk1 = daemon.attach(image, "vm1", "disk0"), daemon.attach(other, "vm1", "disk1")
        with Qemu(scratch, blk_args(disk0.socket) + blk_args(disk1.socket, "d1")) as guest:
            disk0.wait("active")
            disk1.wait("active")
            guest.run("mount /dev/vda /mnt")
            before = daemon.settled()
            done = storm(guest, "/mnt/work", kills, lambda: kill_daemon(daemon))
            same(daemon, before, f"{kills} kills of iovd")

            storm(guest, "/dev/vdb", kills, lambda: kill_both(daemon, disk1))
            same(daemon, before, "kills of iovd and worker", but=("worker_pid", "restarts"))

            before = daemon.settled()
            storm(guest, "/mnt/work", 2, lambda: restart_keeper(daemon), gap=(0.5, 1))
            same(daemon, before, "two orderly restarts")
            # The new keeper has everything: a worker may die under it as under the first one.
            storm(guest, "/mnt/work", 3, disk0.kill_worker)
            guest.run("umount /mnt")
            guest.expect_no_complaints()
    disk.fsck(image)
    return done


if __name__ == "__main__":
    main(test)
