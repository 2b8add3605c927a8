# SPDX-License-Identifier: GPL-2.0-or-later
"""iovd as the service that it is on a host: installed, started and ended by systemd (+systemd)."""
import pathlib

import inside
from inside import Failed, proc, until

RUN, STATE = pathlib.Path("/run/iovd"), pathlib.Path("/var/lib/iovd")
UNITS = ("iovd.socket", "iovd.service", "iovd-bind.service", "iovd-bind-early.service")


def systemctl(*words, check=True, seconds=60):
    return proc.run(["systemctl", *words], seconds, check)


def prop(name, unit="iovd"):
    """A property of a unit."""
    return systemctl("show", "-P", name, unit).stdout.strip()


def journal(unit="iovd"):
    return proc.run(["journalctl", "-b", "-o", "cat", "-u", unit]).stdout


class Service(inside.Iovd):
    """The service; a start by the context ends with it, workers too."""

    def __init__(self, *start):
        self._words = [f"--state-dir={STATE}", f"--runtime-dir={RUN}"]
        self._run = RUN
        systemctl(*(start or ("start", "iovd")))

    def __exit__(self, *error):
        systemctl("stop", *UNITS)
        self.stop_all()

    def start(self):
        """Returns when iovd says that it is ready, which then must be true."""
        systemctl("start", "iovd")
        if not self._answers():
            raise Failed(f"the service is started, and does not answer\n{self.tail()}")

    def stop(self):
        systemctl("stop", "iovd")

    def _answers(self):
        return self.ctl("list", "attachments", check=False).returncode == 0

    def log(self):
        return journal()

    def tail(self):
        return "\n    ".join(self.log().splitlines()[-15:])

    def wait_active(self, seconds=30):
        until(lambda: prop("ActiveState") == "active", seconds, "the service to be active")
        self.wait_answer(seconds)


def verify():
    """What systemd itself has against the units, as lines."""
    done = proc.run(["systemd-analyze", "verify", "--man=no", *UNITS], check=False)
    said = [line for line in done.stderr.splitlines() if "iovd" in line]
    return said or ([f"status {done.returncode}: {done.stderr}"] if done.returncode else [])
