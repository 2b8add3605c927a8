# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 420
"""A guest is saved with 64 requests in flight at a disk that will never answer.

Nothing shows that they are not done, until the command that was given for it has ended the disk's
server: then they are carried, and each is done once under another iovd that has another way to the disk.
Where the command proves nothing, so does quiesce: the gate is open again.
"""
import signal
import time

import test_save_carried
from lib.proc import Failed, until
from lib.report import main

TIMEOUT_MS = "200"
PATIENCE_S = 5  # ten times what it should take


class Fenced:
    depth = 64

    def __init__(self):
        self.took = []

    def words(self, slow):
        return "--io-timeout", "0", "--fence", f"/bin/kill -KILL {slow.pid}"

    def begin(self, slow):
        slow.kill(signal.SIGSTOP)

    def carry(self, daemon, one):
        until(lambda: one.now()["in_flight"] > 48, 60, "requests that are stuck")
        begin = time.monotonic()
        daemon.ctl("quiesce", "web1", "--timeout", TIMEOUT_MS, "--carry")
        self.took.append(time.monotonic() - begin)
        carried = one.now()["in_flight"]
        if carried <= 48 or self.took[-1] > PATIENCE_S:
            raise Failed(f"{carried} carried, in {self.took[-1]:.2f} s")
        return carried

    def end(self, slow):
        slow.vanish()


def test(scratch):
    stuck = Fenced()
    notes = test_save_carried.test(scratch, stuck)
    return f"{notes}; carried within {max(stuck.took) * 1000:.0f} ms"


if __name__ == "__main__":
    main(test)
