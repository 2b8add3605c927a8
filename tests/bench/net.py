#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures iov-worker net against QEMU's own tap backend, and against DPDK's vhost.

    ./dev bench net [--rounds N] [--seconds S] [--only guests|frames]

Guests: the same guest with the same tap in the same bridge, each backend in turn in each round: TCP to
this host and from it, how many times a second a byte goes there and back, and how many small frames a
second reach it of those that this host floods it with. Where the guest is emulated (TCG) it is the slowest part by
far, and they say little.

Frames: a driver in user space (testpmd) sends and takes frames of 64 bytes, as many as it can, in split and packed
rings; the server is ours, or another testpmd, which has two of its processors to itself as long as it runs.

What counts are ratios of medians.
"""
import argparse
import contextlib
import pathlib
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import dpdk, network, proc  # noqa: E402
from lib.guest import Qemu, accelerator  # noqa: E402
from lib.network import HOST, NetWorker, Network  # noqa: E402
from lib.proc import Failed, until  # noqa: E402

PORT = 5000


@contextlib.contextmanager
def ours(net, scratch):
    with NetWorker(net, "tap1", scratch) as worker:
        yield network.net_args(worker.socket, 1), ()


@contextlib.contextmanager
def peer(net, scratch):
    del scratch
    device = f"virtio-net-pci,netdev=n1,mac={network.mac(1)},romfile="
    tap = "tap,id=n1,ifname=tap1,script=no,downscript=no,vhost=off"
    yield ["-netdev", tap, "-device", device], net.prefix


BACKENDS = {"iovd": ours, "qemu": peer}


def to_host(net, guest, seconds):
    """MB/s."""
    with net.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((HOST, PORT))
        door.listen(1)
        job = guest.start(f"dd if=/dev/zero bs=65536 2>/dev/null | nc {HOST} {PORT}")
        connection, _ = door.accept()
        with connection:
            count, begin = 0, time.monotonic()
            while (now := time.monotonic()) < begin + seconds:
                count += len(connection.recv(1 << 20))
    guest.result(job, check=False)
    return count / (now - begin) / 1e6


@contextlib.contextmanager
def served(net, guest, port, program):
    """A connection to a program of the guest."""
    job = guest.start(f"nc -l -p {port} -e {program}")
    listening = f"cat /proc/net/tcp /proc/net/tcp6 | grep -q ':{port:04X} 0*:0000 0A'"
    until(lambda: guest.run(listening, check=False).status == 0, 30, "the guest to listen", 0.2)
    with net.socket() as sock:
        sock.connect((network.address(1), port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock
    guest.result(job, check=False)


def to_guest(net, guest, seconds):
    """MB/s."""
    zeroes = bytes(1 << 16)
    with served(net, guest, PORT + 1, "sh -c 'cat >/dev/null'") as sock:
        count, begin = 0, time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            count += sock.send(zeroes)
    return count / (now - begin) / 1e6


def there_and_back(net, guest, seconds):
    """Times a second."""
    with served(net, guest, PORT + 2, "cat") as sock:
        count, begin = 0, time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            sock.sendall(b"x")
            if not sock.recv(1):
                raise Failed("the guest has closed the connection")
            count += 1
    return count / (now - begin)


def flooded(net, guest, seconds):
    """Frames that reach it, a second."""
    here = "cat /sys/class/net/eth0/statistics/rx_packets"
    before, begin = int(guest.out(here)), time.monotonic()
    network.flood(net, 1, 64, seconds)
    return (int(guest.out(here)) - before) / (time.monotonic() - begin)


WORKLOADS = {
    "to-host MB/s": to_host,
    "to-guest MB/s": to_guest,
    "round trips/s": there_and_back,
    "to-guest frames/s": flooded,
}


# --- frames, without a guest ----------------------------------------------------------------------

CLIENT = 9
RINGS = {"split": "", "packed": ",packed_vq=1"}


@contextlib.contextmanager
def worker(net, scratch):
    with NetWorker(net, "tap1", scratch) as served:
        yield served.socket, "tap1"


@contextlib.contextmanager
def vhost(net, scratch):
    sock = scratch / "vhost.sock"
    with dpdk.server(sock, scratch / "vhost.log", "tapd", net.prefix) as served:
        served.wait_running()
        net.ip("link", "set", "tapd", "master", "br0", "up")
        yield sock, "tapd"


SERVERS = {"iovd": worker, "dpdk": vhost}


def client_sends(net, sock, tap, log, rings, seconds):
    """Frames a second that reach this host."""
    words = [f"--eth-peer=0,{network.mac(254)}", "--txpkts=64"]
    with dpdk.client(sock, log, "txonly", CLIENT, rings, words) as client:
        client.wait_running()
        before, begin = network.count(net, tap, "rx"), time.monotonic()
        time.sleep(seconds)
        return (network.count(net, tap, "rx") - before) / (time.monotonic() - begin)


def client_takes(net, sock, _, log, rings, seconds):
    """Frames a second that reach the client, of those that this host floods it with."""
    with dpdk.client(sock, log, "rxonly", CLIENT, rings) as client:
        client.wait_running()
        before = client.received()
        network.flood(net, CLIENT, 64, seconds)
        time.sleep(2)  # until it has said so
        return (client.received() - before) / seconds


DIRECTIONS = {"from client": client_sends, "to client": client_takes}


def one_round_of_frames(table, net, scratch, seconds):
    number = 0
    for name, start in SERVERS.items():
        for kind, rings in RINGS.items():
            for direction, measure in DIRECTIONS.items():
                number += 1
                part = scratch / str(number)
                part.mkdir()
                with start(net, part) as (sock, tap):
                    got = measure(net, sock, tap, part / "client.log", rings, seconds)
                table[f"{direction}, {kind}"][name].append(got)


# --- rounds ---------------------------------------------------------------------------------------


def one_round(table, net, scratch, seconds):
    for name, start in BACKENDS.items():
        with start(net, scratch) as (args, prefix):
            with Qemu(scratch, args, name=name, memory=192, prefix=prefix) as guest:
                network.bring_up(guest, 1)
                network.ping(guest, HOST)
                for workload, measure in WORKLOADS.items():
                    table[workload][name].append(measure(net, guest, seconds))


def show(table, other):
    print(f"{'workload':20} {'iovd':>9} {other:>9} {'ratio':>6}  of each round")
    for workload, by_backend in table.items():
        here, there = by_backend["iovd"], by_backend[other]
        medians = statistics.median(here), statistics.median(there)
        each = " ".join(f"{a / b:.2f}" for a, b in zip(here, there))
        print(f"{workload:20} {medians[0]:9.1f} {medians[1]:9.1f} "
              f"{medians[0] / medians[1]:6.2f}  {each}")  # fmt: skip


def measure_all(net, options, names, backends, one):
    table = {name: {backend: [] for backend in backends} for name in names}
    for number in range(options.rounds):
        with proc.scratch() as scratch:
            one(table, net, scratch, options.seconds)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", choices=("guests", "frames"))
    options = parser.parse_args()
    proc.end_on_sigterm()
    with Network() as net:
        net.tap("tap1")
        if options.only != "frames":
            print(f"guests by {accelerator()[0]}")
            show(measure_all(net, options, WORKLOADS, BACKENDS, one_round), "qemu")
        if options.only != "guests":
            names = [f"{way}, {kind}" for way in DIRECTIONS for kind in RINGS]
            print("frames a second of 64 bytes, a driver in user space")
            show(measure_all(net, options, names, SERVERS, one_round_of_frames), "dpdk")


if __name__ == "__main__":
    try:
        main()
    except proc.Skipped as reason:
        sys.exit(f"bench net: {reason}")
