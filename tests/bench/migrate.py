#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a guest's I/O stands still while the guest moves: on a disk of iovd's, and on QEMU's own
virtio-blk with the same image.

    ./dev bench migrate [ROUNDS]

Measured inside the guest: the longest time that a request took of a stream of them, one after the
other, through the whole move. Both kinds take turns in each round, and what counts is the ratio of
the medians: absolute figures of a virtual machine under TCG are worth little.
"""
import pathlib
import sys
from contextlib import ExitStack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import blackout, disk  # noqa: E402
from lib.guest import Qemu  # noqa: E402
from lib.move import VM, Host, Machine, migrate  # noqa: E402
from lib.proc import Failed  # noqa: E402
from lib.report import main  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
MEMORY = 256


class Native:
    """The same guest on QEMU's own virtio-blk; it moves as Machine does."""

    def __init__(self, stack, scratch, image):
        self.stack, self.scratch, self.image = stack, scratch, image
        self.moves = 0
        self.guest = self._qemu(None)

    def _qemu(self, uri):
        drive = f"file={self.image},format=raw,if=none,id=d0,cache=none,aio=io_uring"
        words = ["-drive", drive, "-device", "virtio-blk-pci,drive=d0"]
        name = f"native{self.moves}"
        guest = Qemu(self.scratch, words, name=name, memory=MEMORY, incoming=uri)
        return self.stack.enter_context(guest)

    def move(self, _):
        self.moves += 1
        uri = f"unix:{self.scratch}/native-in{self.moves}"
        new, old = self._qemu(uri), self.guest
        status = migrate(old, uri)
        if status != "completed":
            raise Failed(f"QEMU's migration: {status}")
        new.qmp.event("RESUME", 60)
        new.adopt(old)
        old.__exit__(None, None, None)
        self.guest = new


def blackout_of(machine, there):
    return blackout.measure(machine.guest, "/dev/vda", lambda: machine.move(there))


def test(scratch):
    images = [disk.blank(scratch / f"{name}.img", 64) for name in ("iovd", "native")]
    ours, theirs = [], []
    with ExitStack() as stack:
        hosts = [stack.enter_context(Host(scratch, name)) for name in ("a", "b")]
        hosts[0].daemon.attach(images[0], VM, "d0")
        machine = Machine(stack, hosts[0], memory=MEMORY)
        native = Native(stack, scratch, images[1])
        for n in range(ROUNDS):
            ours.append(blackout_of(machine, hosts[(n + 1) % 2]))
            theirs.append(blackout_of(native, None))
            print(f"round {n + 1}: iovd {ours[-1]}, virtio-blk {theirs[-1]}", flush=True)
    return blackout.compare(ours, theirs)


main(test)
