# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that only looks: on a tree, or on this host, without a keeper."""
import json
import pathlib
import sys

from . import proc
from .proc import Failed, Process, until
from .servers import program
from .varlink import Client

TESTS = pathlib.Path(__file__).resolve().parents[2]


def make_tree(scene, folder):
    """A made-up host (tests/trees/make_tree.py); its folder."""
    proc.run([sys.executable, TESTS / "trees/make_tree.py", scene, folder], 120)
    return folder


class Looker(Process):
    """iovd on a tree (sysroot), or on what `prefix` makes of this host."""

    def __init__(self, scratch, name, sysroot=None, prefix=(), seconds=60):
        self.runtime = scratch / name
        self.socket = self.runtime / "iovd.sock"
        argv = [
            program("iovd"),
            "--keeper-fd=-1",
            "--libvirt=none",
            "--runtime-dir",
            self.runtime,
            "--state-dir",
            scratch / f"{name}-state",
        ]
        if sysroot:
            argv += ["--sysroot", sysroot]
        super().__init__([*prefix, *argv], scratch / f"{name}.log")
        until(self._serves, seconds, "the daemon to serve")

    def _serves(self):
        if not self.alive():
            raise Failed(f"the daemon ended at its start\n    {self.tail()}")
        try:
            Client(self.socket).close()
        except OSError:
            return False
        return True

    def cli(self, *words):
        return [program("iovctl"), "-s", self.socket, "-o", "json", *words]

    def ctl(self, *words):
        """What iovctl prints, parsed."""
        return json.loads(proc.run(self.cli(*words)).stdout)

    def devices(self, *words):
        return {d["id"]: d for d in self.ctl("list", "devices", *words)["devices"]}
