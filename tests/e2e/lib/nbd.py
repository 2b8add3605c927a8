# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD servers: nbdkit with its filters, qemu-nbd, and one that lies."""
import collections
import os
import pathlib
import re
import signal
import socket
import struct
import threading

from .proc import Failed, Process, Skipped, need, until


def _is_relay(process, uri):
    try:
        words = (process / "cmdline").read_text().split("\0")
        program = os.readlink(process / "exe")
    except OSError:
        return False
    return os.environ["IOVD_BUILD"] in program and words[0] == "iovd-nbd" and uri in words[2]


def relays(uri=""):
    """The processes between iovd and NBD servers: their pids."""
    found = pathlib.Path("/proc").glob("[0-9]*")
    return [int(process.name) for process in found if _is_relay(process, uri)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def need_volumes():
    if not os.path.exists(os.path.join(os.environ["IOVD_BUILD"], "iovd-nbd")):
        raise Skipped("built without libnbd")


class Server(Process):
    """A server on a UNIX socket in the scratch folder, or on TCP; `uri` names its export."""

    def __init__(self, scratch, name, command, port=None, export=""):
        need_volumes()
        self.socket = scratch / f"{name}.sock"
        self.uri = f"nbd://127.0.0.1:{port}/{export}" if port else \
            f"nbd+unix:///{export}?socket={self.socket}"  # fmt: skip
        self.socket.unlink(missing_ok=True)
        super().__init__(command, scratch / f"{name}.log")
        ready = (lambda: answers(port)) if port else self.socket.exists
        until(lambda: ready() or not self.alive(), 20, f"{command[0]}")
        if not self.alive():
            raise Failed(self.tail())

    def freeze(self):
        """It takes nothing any more, and answers nothing."""
        self.kill(signal.SIGSTOP)

    def thaw(self):
        self.kill(signal.SIGCONT)

    def die(self):
        self.kill()
        self.wait()


class Nbdkit(Server):
    """nbdkit on a file; `filters` are its own words: names, and key=value. Each command is logged."""

    def __init__(self, image, scratch, name="nbdkit", port=None, filters=(), readonly=False,
                 logs=True):  # fmt: skip
        need("nbdkit", "nbdkit")
        self._commands = scratch / f"{name}.commands"
        log = ("log", f"logfile={self._commands}") if logs else ()
        where = ["-p", port, "-i", "127.0.0.1"] if port else ["-U", scratch / f"{name}.sock"]
        names = [f"--filter={word}" for word in (*log, *filters) if "=" not in word]
        words = [word for word in (*log, *filters) if "=" in word]
        super().__init__(
            scratch,
            name,
            ["nbdkit", "-f", "-t", "64", *where, *(["-r"] if readonly else []), *names,
             "file", image, *words],
            port,
        )  # fmt: skip

    def commands(self):
        """How often it was told to Read, Write, Flush, Trim, Zero, and to have it durable (fua)."""
        text = self._commands.read_text()
        counts = collections.Counter(re.findall(r" (Read|Write|Flush|Trim|Zero) id=", text))
        counts["fua"] = len(re.findall(r" Write .*fua=1", text))
        return counts


class QemuNbd(Server):
    """qemu-nbd, with room for one client."""

    def __init__(self, image, scratch, name="qemu-nbd"):
        need("qemu-nbd", "qemu-utils")
        command = ["qemu-nbd", "-t", "-f", "raw", "--cache=none", "--discard=unmap", "-x", "disk",
                   "-k", scratch / f"{name}.sock", image]  # fmt: skip
        super().__init__(scratch, name, command, export="disk")


class Liar:
    """Takes connections in a thread; talk(connection, how many there were before) is its manners."""

    def __init__(self, talk):
        self._talk = talk
        self._door = socket.create_server(("127.0.0.1", 0))
        self.uri = f"nbd://127.0.0.1:{self._door.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        for number in range(1 << 30):
            try:
                connection = self._door.accept()[0]
            except OSError:
                return
            with connection:
                try:
                    self._talk(connection, number)
                except OSError:
                    continue

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()


def greet(connection, size):
    """The handshake of old: size and flags (flush, FUA), and no question."""
    greeting = b"NBDMAGIC" + struct.pack(">QQI", 0x00420281861253, size, 0x0D)
    connection.sendall(greeting + bytes(124))


def wait_gone(connection):
    """Until the other side has had enough."""
    connection.settimeout(60)
    while connection.recv(65536):
        pass
