# SPDX-License-Identifier: GPL-2.0-or-later
"""stop and cont, reset, and reboot under I/O: the rings are stopped and started again and again,
and what was written before is there afterwards."""
import random

from lib import disk, jobs, servers
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main

STOPS = 20


def stop_and_go(guest):
    job = guest.start(jobs.verify("/mnt/stops", 64))
    for _ in range(STOPS):
        guest.pump(random.uniform(0, 0.1))
        guest.qmp.command("stop")
        guest.qmp.command("cont")
    return jobs.work(guest.result(job, 240))


def test(scratch):
    image = disk.ext4(scratch / "disk.img", 256)
    with servers.alone(image, scratch) as server:
        with Qemu(scratch, blk_args(server.socket), reboots=True) as guest:
            guest.run("mount /dev/vda /mnt")
            work = stop_and_go(guest)
            guest.run("cd /mnt && sha256sum stops >sum && sync")

            guest.start(jobs.verify("/mnt/reset", 64, loops=100))
            guest.pump(1)
            guest.qmp.command("system_reset")
            guest.wait_boot(2)
            guest.run("mount /dev/vda /mnt && cd /mnt && sha256sum -c sum")

            guest.start(jobs.verify("/mnt/reboot", 64, loops=100))
            guest.pump(1)
            guest.start("reboot -f")
            guest.wait_boot(3)
            guest.run("mount /dev/vda /mnt && cd /mnt && sha256sum -c sum && cd / && umount /mnt")
            guest.expect_no_complaints()
    disk.fsck(image)
    if work.verified < 64 * disk.MIB:
        raise Failed(f"only {work.verified} bytes were verified")
    return f"{STOPS} stops, a reset and a reboot under I/O"


main(test)
