# SPDX-License-Identifier: GPL-2.0-or-later
"""Two iovds as two hosts that share a disk, and a machine under QEMU that moves between them."""
from .daemon import Attachment, Daemon
from .guest import Qemu
from .proc import Failed, until

VM = "web1"


def migrate(source, uri, bandwidth=1 << 40, downtime=300):
    """QEMU's part, up to its end; how it ended."""
    source.qmp.command(
        "migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}]
    )
    source.qmp.command(
        "migrate-set-parameters", **{"max-bandwidth": bandwidth, "downtime-limit": downtime}
    )
    source.qmp.command("migrate", uri=uri)
    ends = ("completed", "failed", "cancelled")
    event = source.qmp.event("MIGRATION", 180, lambda data: data["status"] in ends)
    return event["data"]["status"]


class Host:
    """An iovd with folders of its own."""

    def __init__(self, scratch, name):
        self.name = name
        self.scratch = scratch / name
        self.scratch.mkdir()
        self.daemon = Daemon(self.scratch)

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

    def __init__(self, stack, host, **qemu):
        self.stack, self.options = stack, qemu
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
        shown = self.host.daemon.ctl("migrate", VM, there.uri, "--begin", seconds=90)
        uri = f"unix:{there.scratch}/in{self.moves}"
        return self._qemu(there, shown["attachments"], uri), uri

    def move(self, there):
        """All of it; what was the machine's QEMU before has ended then."""
        here, old = self.host, self.guest
        new, uri = self.begin(there)
        status = migrate(old, uri)
        if status != "completed":
            raise Failed(f"QEMU's migration: {status}")
        here.daemon.ctl("migrate", VM, there.uri, "--end", seconds=180)
        new.adopt(old)
        if here.attachments():
            raise Failed(f"left behind: {here.attachments()}")
        until(lambda: set(there.states()) == {"active"}, 60, "the disks to be active there")
        old.__exit__(None, None, None)
        self.host, self.guest = there, new
