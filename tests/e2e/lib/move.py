# SPDX-License-Identifier: GPL-2.0-or-later
"""Two iovds as two hosts that share a disk, and a machine under QEMU that moves between them."""
from .daemon import Attachment, Daemon
from .guest import Qemu
from .proc import Failed, until

VM = "web1"


ENDS = ("completed", "failed", "cancelled")


def migrate(source, uri, ends=ENDS, bandwidth=1 << 40, downtime=300):
    """QEMU's part, up to one of these states, which is returned."""
    source.qmp.command(
        "migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}]
    )
    source.qmp.command(
        "migrate-set-parameters", **{"max-bandwidth": bandwidth, "downtime-limit": downtime}
    )
    source.qmp.command("migrate", uri=uri)
    event = source.qmp.event("MIGRATION", 180, lambda data: data["status"] in ends)
    return event["data"]["status"]


class Host:
    """An iovd with folders of its own."""

    def __init__(self, scratch, name, prefix=()):
        self.name = name
        self.scratch = scratch / name
        self.scratch.mkdir()
        self.daemon = Daemon(self.scratch, prefix=prefix)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.daemon.__exit__(*error)

    @property
    def uri(self):
        return f"unix://{self.daemon.socket}"

    def attachments(self):
        return [a for a in self.daemon.attachments() if a["vm"] == VM]

    def states(self):
        return [a["state"] for a in self.attachments()]


class Machine:
    """The guest, wherever it runs."""

    def __init__(self, stack, host, begin=(), **qemu):
        self.stack, self.options = stack, qemu
        self.words = begin  # more of them, for each reservation
        self.moves = 0
        self.host = host
        self.guest = self._qemu(host, host.attachments(), None)

    def _qemu(self, host, attachments, uri):
        words = [word for shown in attachments for word in shown["vmm_args"]]
        name = f"vm{self.moves}"
        return self.stack.enter_context(
            Qemu(host.scratch, words, name=name, incoming=uri, **self.options)
        )

    def begin(self, there):
        """Reserves at the other host, and starts a QEMU there; its address."""
        self.moves += 1
        until(lambda: self._reserve(there), 180, "a reservation")
        uri = f"unix:{there.scratch}/in{self.moves}"
        return self._qemu(there, there.attachments(), uri), uri

    def _reserve(self, there):
        """An iovd that is killed just then loses the answer: it is seen by what is there."""
        words = ("migrate", VM, there.uri, "--begin", *self.words)
        done = self.host.daemon.ctl(*words, check=False, seconds=90)
        if done.returncode == 0 or "MIG-UNDER-WAY" in done.stderr:
            return True
        if done.returncode not in (1, 8):
            raise Failed(f"begin: status {done.returncode}: {done.stderr}")
        return False

    def move(self, there):
        """All of it; what was the machine's QEMU before has ended then."""
        new, uri = self.begin(there)
        self.finish(there, new, migrate(self.guest, uri))

    def end_qemu(self):
        """The QEMU that it runs, or ran, in; the guest's words so far are kept."""
        self.guest.__exit__(None, None, None)

    def _ended(self, there):
        words = ("migrate", VM, there.uri, "--end")
        self.host.daemon.ctl(*words, check=False, seconds=180)
        return not self.host.attachments()

    def finish(self, there, new, status):
        """QEMU's migration has ended; the rest of it."""
        here, old = self.host, self.guest
        if status != "completed":
            raise Failed(f"QEMU's migration: {status}")
        until(lambda: self._ended(there), 180, "the end of the move")
        new.adopt(old)
        if here.attachments():
            raise Failed(f"left behind: {here.attachments()}")
        until(lambda: set(there.states()) == {"active"}, 60, "the disks to be active there")
        old.__exit__(None, None, None)
        self.host, self.guest = there, new
