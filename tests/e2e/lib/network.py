# SPDX-License-Identifier: GPL-2.0-or-later
"""A network of a test's own: a namespace with a bridge, taps in it, and this host at its end.

Guests are 10.77.0.1, .2, ...; the host is 10.77.0.254. What is made here ends with the context.
"""
import ctypes
import hashlib
import json
import os
import socket
import threading
import time

from . import proc
from .proc import Failed, Skipped, until
from .servers import Server, program

HOST = "10.77.0.254"
PORT = 5000
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def address(number):
    return f"10.77.0.{number}"


def mac(number):
    return f"52:54:00:77:00:{number:02x}"


class Network:
    """The namespace; `bridge` False leaves it without one."""

    def __init__(self, tag="net", bridge=True):
        proc.need("ip", "iproute2")
        if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            raise Skipped("a network of one's own needs root and /dev/net/tun")
        self.name = f"iovd-{tag}-{os.getpid()}"
        proc.run(["ip", "netns", "add", self.name])
        try:
            self.ip("link", "set", "lo", "up")
            if bridge:
                # An address of its own: else it is that of a port, and changes with them.
                own = ["address", mac(254)]
                self.ip("link", "add", "br0", *own, "type", "bridge", "forward_delay", "0")
                self.ip("addr", "add", f"{HOST}/24", "dev", "br0")
                self.ip("link", "set", "br0", "up")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        proc.run(["ip", "netns", "del", self.name])

    @property
    def prefix(self):
        """Words that run a program in there."""
        return ["ip", "netns", "exec", self.name]

    def ip(self, *words):
        return proc.run(["ip", "-n", self.name, *words]).stdout

    def tap(self, name, queues=1):
        """A tap in the bridge."""
        several = ("multi_queue",) if queues > 1 else ()
        self.ip("tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr", *several)
        self.ip("link", "set", name, "master", "br0", "up")
        return name

    def socket(self, *kind):
        """A socket of this host's end, for TCP if nothing else is said. A thread may be in another namespace
        than the rest."""
        made = []

        def make():
            fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                if _libc.setns(fd, _CLONE_NEWNET) == 0:
                    made.append(socket.socket(*kind))
            finally:
                os.close(fd)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not made:
            raise Failed(f"cannot enter the namespace {self.name}")
        return made[0]


class NetWorker(Server):
    """iov-worker net alone, in a network."""

    def __init__(self, network, tap, scratch, tag="net", **options):
        sock = scratch / f"{tag}.sock"
        words = [
            f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")
            for key, value in options.items()
        ]
        super().__init__(
            [*network.prefix, program("iov-worker"), "net", f"--tap={tap}", *words]
            + [f"--socket-path={sock}"],
            sock,
            scratch / f"{tag}.log",
        )


def net_args(sock, number, queues=1, extra=""):
    """QEMU's words for a vhost-user network device; no reconnect option unless a test adds one."""
    name = f"n{number}"
    several = f",mq=on,vectors={2 * queues + 2}" if queues > 1 else ""
    return [
        "-chardev",
        f"socket,id=c-{name},path={sock}",
        "-netdev",
        f"vhost-user,id={name},chardev=c-{name},queues={queues}",
        "-device",
        f"virtio-net-pci,id={name}d,netdev={name},mac={mac(number)},romfile={several}{extra}",
    ]


def bring_up(guest, number, interface="eth0"):
    """Gives a guest its address."""
    guest.run(
        f"ip addr add {address(number)}/24 dev {interface} && ip link set {interface} up && "
        "ip link set lo up"
    )


def ping(guest, target, count=3):
    guest.run(f"ping -c {count} -W 10 {target}", 60)


def count(network, device, way, what="packets"):
    """What a device has received (`way` "rx") or sent ("tx")."""
    shown = json.loads(network.ip("-s", "-j", "link", "show", device))
    return shown[0]["stats64"][way][what]


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = [
        ("name", ctypes.c_void_p), ("name_len", ctypes.c_uint), ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t), ("control", ctypes.c_void_p),
        ("control_len", ctypes.c_size_t), ("flags", ctypes.c_int), ("len", ctypes.c_uint),
    ]  # fmt: skip


def flood(network, number, size, seconds):
    """This host sends frames to a guest, of `size` bytes, as many as it can; how many."""
    to, sender = (bytes.fromhex(mac(n).replace(":", "")) for n in (number, 254))
    frame = ctypes.create_string_buffer(to + sender + b"\x88\xb5" + bytes(size - 14), size)
    vector = _Vector(ctypes.addressof(frame), size)
    one = _Message(vectors=ctypes.addressof(vector), vector_count=1)
    batch = (_Message * 64)(*[one] * 64)
    sent, end = 0, time.monotonic() + seconds
    with network.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("br0", 0))
        while time.monotonic() < end:
            sent += max(_libc.sendmmsg(sock.fileno(), batch, len(batch), 0), 0)
    return sent


# --- streams ---------------------------------------------------------------------------------------


def numbers(last):
    """The digest of what `seq 1 LAST` prints: a stream that needs no file at either end."""
    digest = hashlib.sha256()
    for first in range(1, last + 1, 100000):
        end = min(first + 100000, last + 1)
        digest.update("".join(f"{n}\n" for n in range(first, end)).encode())
    return digest.hexdigest()


class GuestSink:
    """A guest that takes one stream, and tells its digest."""

    def __init__(self, guest, number, port=PORT):
        self._guest = guest
        self.address, self.port = address(number), port
        # nc itself would end the connection with its input.
        take = f"nc -l -p {port} -e sh -c 'sha256sum >/tmp/sum{port}'"
        self._job = guest.start(f"{take}; cat /tmp/sum{port}")
        listening = f"cat /proc/net/tcp /proc/net/tcp6 | grep -q ':{port:04X} 0*:0000 0A'"
        until(
            lambda: guest.run(listening, check=False).status == 0, 30, "the guest to listen", 0.2
        )

    def digest(self, seconds=120):
        return self._guest.result(self._job, seconds).output.split()[0]


class HostSink:
    """This host, doing the same."""

    def __init__(self, network, port=PORT):
        self.address, self.port = HOST, port
        self._socket = network.socket()
        # A connection of the sink before may not be forgotten yet.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, port))
        self._socket.listen(1)
        self._digest = hashlib.sha256()
        self.received = 0
        self.gap = 0.0  # the longest time without a byte, of a stream that never pauses by itself
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self):
        connection, _ = self._socket.accept()
        with connection:
            last = time.monotonic()
            while data := connection.recv(1 << 18):
                self._digest.update(data)
                self.received += len(data)
                self.gap, last = max(self.gap, time.monotonic() - last), time.monotonic()

    def digest(self, seconds=120):
        self._thread.join(seconds * proc.PATIENCE)
        self._socket.close()
        if self._thread.is_alive():
            raise Failed(f"the stream to this host has not ended: {self.received} bytes so far")
        return self._digest.hexdigest()


def start_stream(guest, sink, last):
    """A guest begins to send its numbers."""
    return guest.start(f"seq 1 {last} | nc {sink.address} {sink.port}")


def start_endless(guest, sink):
    """The same, until end_stream()."""
    return guest.start(
        "{ n=0; while [ ! -e /tmp/stop ]; do seq $((n + 1)) $((n + 10000)); n=$((n + 10000)); "
        f"done; echo $n >/tmp/sent; }} | nc {sink.address} {sink.port}; cat /tmp/sent"
    )


def end_stream(guest, job, sink, seconds=120):
    """Ends it, and holds what arrived against what was sent; how many numbers."""
    guest.run("touch /tmp/stop")
    got = sink.digest(seconds)
    last = int(guest.result(job, seconds).output)
    if got != numbers(last):
        raise Failed(f"the stream of {last} numbers to {sink.address} arrived changed")
    return last


def expect_stream(guest, sink, last, seconds=120):
    """Sends a stream, and holds what arrives against what was sent."""
    job = start_stream(guest, sink, last)
    got = sink.digest(seconds)
    guest.result(job, seconds)
    if got != numbers(last):
        raise Failed(f"the stream of {last} numbers to {sink.address} arrived changed")


def send_to_guest(network, number, last, port=PORT):
    """The other way: this host sends, to a GuestSink."""
    sock = network.socket()
    with sock:
        sock.settimeout(120 * proc.PATIENCE)
        sock.connect((address(number), port))
        for first in range(1, last + 1, 10000):
            end = min(first + 10000, last + 1)
            sock.sendall("".join(f"{n}\n" for n in range(first, end)).encode())
