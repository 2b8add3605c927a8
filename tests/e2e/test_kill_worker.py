# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 900
"""The worker is killed at random moments under ext4 with writes in flight: the guest sees a pause.

QEMU has no reconnect option: were the connection to drop once, the disk would be gone for good.
The short form; tests/campaign/kill-worker.py kills a hundred times and more.
"""
from lib import disk
from lib.daemon import Daemon
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main
from lib.storm import storm

KILLS = 15


def test(scratch, kills=KILLS, progress=None):
    image = disk.ext4(scratch / "disk.img", 128)
    with Daemon(scratch) as daemon:
        disk0 = daemon.attach(image, "vm1", "disk0")
        with Qemu(scratch, blk_args(disk0.socket)) as guest:
            disk0.wait("active")
            guest.run("mount /dev/vda /mnt")
            done = storm(guest, "/mnt/work", kills, disk0.kill_worker, progress=progress)
            guest.run("umount /mnt")
            guest.expect_no_complaints()
            restarts = disk0.now()["restarts"]
    disk.fsck(image)
    # A worker that is killed while it takes over may be counted with its predecessor, not more.
    if not kills // 2 < restarts <= kills:
        raise Failed(f"{restarts} restarts for {kills} kills: what was killed?")
    return done


if __name__ == "__main__":
    main(test)
