# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Workers are killed about once a second under verified writes at depth 32 over four queues.

One disk has split rings, the other packed ones; then iovd is killed with them. What the guest sees
of it is the longest request of each second, told beside that of the same guest before any kill,
which is what the machine does to it anyway. The short form; tests/campaign/kill-queues.py kills a
thousand times.
"""
import random
import time

from lib import disk, jobs
from lib.daemon import Daemon
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main

KILLS = 5
QUEUES = 4
GAP = (0.5, 1.5)  # seconds from one kill to the next


class Load:
    """Verified writes on one disk of the guest, one fio after the other."""

    def __init__(self, guest, filename):
        self._guest, self._filename = guest, filename
        self.verified, self.pauses = 0, []
        self._start()

    def _start(self):
        self._job = self._guest.start(jobs.verify_on_queues(self._filename, QUEUES))

    def go_on(self):
        """Starts the next job where one has ended."""
        if self._guest.done(self._job):
            self.end()
            self._start()

    def end(self):
        """Takes in the last job, which must have gone well."""
        result = self._guest.result(self._job, 240)
        self.verified += jobs.work(result).verified
        self.pauses += jobs.pauses(result)


def storm(guest, loads, kills, kill, tell):
    for n in range(kills):
        end = time.monotonic() + random.uniform(*GAP)
        while (left := end - time.monotonic()) > 0:
            guest.pump(left)
            for load in loads:
                load.go_on()
        kill()
        if tell and (n + 1) % 50 == 0:
            tell(f"{n + 1} of {kills} kills")
    for load in loads:
        load.end()


def quantile(values, q):
    return sorted(values)[min(int(q * len(values)), len(values) - 1)]


def summary(what, kills, loads):
    pauses = [ms for load in loads for ms in load.pauses]
    mib = sum(load.verified for load in loads) >> 20
    figures = ", ".join(f"p{q * 100:g} {quantile(pauses, q):.0f}" for q in (0.5, 0.9, 0.99))
    return f"{what}: {kills} kills, {mib} MiB verified, pauses in ms: {figures}, most {max(pauses):.0f}"


def test(scratch, kills=KILLS, tell=None, only=None):
    images = [disk.blank(scratch / f"{n}.img", QUEUES * 4) for n in range(2)]
    with Daemon(scratch) as daemon:
        disks = [
            daemon.attach(image, "vm1", f"disk{n}", "--queues", str(QUEUES))
            for n, image in enumerate(images)
        ]

        def kill_workers():
            for one in disks:
                one.kill_worker()

        def kill_all():
            old = daemon.pid()
            workers = [(one, one.worker()) for one in disks]
            daemon.kill()
            for one, pid in workers:
                one.kill_worker(pid)
            daemon.wait_restart(old)

        args = [
            *blk_args(disks[0].socket, "split", QUEUES),
            *blk_args(disks[1].socket, "packed", QUEUES, ",packed=on"),
        ]
        said = []
        with Qemu(scratch, args, cpus=QUEUES) as guest:
            for one in disks:
                one.wait("active")
            for what, n, kill in (
                ("before", 0, None),
                ("worker", kills, kill_workers),
                ("iovd and worker", kills, kill_all),
            ):
                if only and kill and what != only:
                    continue
                loads = [Load(guest, f"/dev/vd{letter}") for letter in "ab"]
                storm(guest, loads, n, kill, tell)
                said.append(summary(what, n, loads))
                if tell:
                    tell(said[-1])
            guest.expect_no_complaints()
            if min(one.now()["restarts"] for one in disks) < kills:
                raise Failed(f"too few restarts: what was killed? {daemon.settled()}")
    return "; ".join(said)


if __name__ == "__main__":
    main(test)
