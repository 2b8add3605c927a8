# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in either lab host of two_hosts.py: an iovd, and a guest under QEMU while it is here. Does one step
after the other, as files in the results tell; each ends with a line `done NUMBER RESULT`.

    moving.py ssh ...       in place of ssh: to the other host's `iovctl bridge`, through a port
"""
import json
import os
import pathlib
import re
import select
import socket
import stat
import subprocess
import sys
import threading

RESULTS = pathlib.Path("/run/lab/results")
VM = "web1"
BRIDGE, STREAM = 7000, 7001
PIECE = 1 << 20


def relay(argv):
    """Between standard input and output, which are a socket, and a port: ssh -p PORT -- HOST ..."""
    words = " ".join(argv)
    address = re.search(r"-p (\d+) -- (\S+)", words)
    with socket.create_connection((address[2], int(address[1]))) as far:
        ways = {0: lambda data: far.sendall(data), far.fileno(): lambda data: os.write(1, data)}
        while True:
            for fd in select.select(list(ways), [], [])[0]:
                data = os.read(fd, 1 << 16)
                if not data:
                    return
                ways[fd](data)


if __name__ == "__main__" and sys.argv[1:2] == ["ssh"]:
    relay(sys.argv[2:])
    sys.exit(0)

import inside  # noqa: E402
from inside import Iovd, expect, program, wait_for  # noqa: E402

from lib import guest, proc  # noqa: E402
from lib.move import migrate  # noqa: E402


def network():
    """The link that two_hosts.py has plugged in."""
    inside.modprobe("virtio_net")
    folder = pathlib.Path("/sys/class/net")
    mac = "52:54:00:1a:b0:03"
    found = lambda: [p.name for p in folder.iterdir()  # noqa: E731
                     if (p / "address").read_text().strip() == mac]
    link = wait_for(found, "the link")[0]
    proc.run(["ip", "address", "add", "10.0.3.15/24", "dev", link])
    proc.run(["ip", "link", "set", link, "up"])


class Moving:
    def __init__(self, scratch):
        self.scratch, self.qemu, self.count = scratch, None, 0
        ssh = scratch / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} ssh "$@"\n')
        ssh.chmod(0o755)
        self.iovd = Iovd(scratch, settings=f"ssh = {ssh}\n")

    def serve(self):
        """The other iovd comes by a port."""
        listen = socket.create_server(("", BRIDGE))

        def accept():
            while True:
                far = listen.accept()[0]
                words = [program("iovctl"), "-s", self.iovd.socket, "bridge"]
                subprocess.Popen(words, stdin=far, stdout=far)
                far.close()

        threading.Thread(target=accept, daemon=True).start()

    def words(self):
        return [word for shown in self.iovd.attachments() for word in shown["vmm_args"]]

    def new_qemu(self, incoming=None):
        self.count += 1
        name = f"vm{self.count}"
        return guest.Qemu(self.scratch, self.words(), name=name, memory=192, incoming=incoming)

    # --- steps ------------------------------------------------------------------------------------

    def start(self):
        self.serve()
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def attach(self, volume):
        self.iovd.ok("attach", volume, VM, "--as", "d0")

    def boot(self):
        self.qemu = self.new_qemu()

    def reserve(self, to, volume):
        self.iovd.ok("migrate", VM, to, "--begin", "--map", f"d0={volume}", seconds=180)

    def expect(self):
        """A QEMU waits for it here, behind a shut gate."""
        self.next = self.new_qemu(f"tcp:0:{STREAM}")

    def look(self):
        """Reads all of the volume in this kernel, by the file that iovd has of it and past its direct
        I/O: whatever is kept of that is old in a moment. Bytes."""
        folder = pathlib.Path(f"/proc/{self.iovd.pid()}/fd")
        size = 0
        for link in folder.iterdir():
            try:
                facts = link.stat()
            except OSError:
                continue
            if not stat.S_ISREG(facts.st_mode) or facts.st_size < 64 << 20:
                continue
            with open(link, "rb", buffering=0) as volume:
                for _ in range(facts.st_size // PIECE):  # it has no end to read at
                    size += len(volume.read(PIECE))
        expect(size, "iovd has no volume open")
        return size

    def send(self, to):
        return migrate(self.qemu, to)

    def finish(self, to):
        self.iovd.ok("migrate", VM, to, "--end", seconds=180)

    def let_go(self):
        """What the other side has to know of the conversation with the guest."""
        channel = self.qemu._channel
        self.qemu.__exit__(None, None, None)
        self.qemu = None
        return {"serial": channel._serial, "boots": channel.boots}

    def adopt(self, serial, boots):
        self.qemu = self.next
        self.qemu._channel._serial, self.qemu._channel.boots = serial, boots
        wait_for(lambda: {a["state"] for a in self.iovd.attachments()} == {"active"}, "its disk", 120)

    def run(self, script):
        return self.qemu.out(script, 600)

    def complaints(self):
        self.qemu.expect_no_complaints()

    def end(self):
        if self.qemu:
            self.qemu.__exit__(None, None, None)
        self.iovd.__exit__(None, None, None)


def test(scratch):
    inside.load_kvm()
    inside.modprobe("fuse")
    network()
    guest.accelerator = lambda kernel=None: ("kvm", "host")  # whether it works is not asked: it must
    proc.PATIENCE *= 5  # an emulated machine in an emulated machine
    moving, number, verb = Moving(scratch), 0, ""
    while verb != "end":
        number += 1
        path = RESULTS / f"step{number}.json"
        wait_for(path.exists, f"step {number}", 3000)
        step = json.loads(path.read_text())
        verb = step.pop("verb")
        print(f"{verb} {' '.join(map(str, step.values()))[:100]}", flush=True)
        print(f"done {number} {json.dumps(getattr(moving, verb)(**step))}", flush=True)
    return f"{number} steps"


inside.main(test)
