#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures an NBD volume through iovd against qemu-storage-daemon's own NBD client.

    ./dev bench nbd [--rounds N] [--seconds S]

Both speak vhost-user-blk to the same client and NBD to the same server (nbdkit, in memory, on a UNIX
socket), in turn in each round; what counts are ratios of medians. Our way has one process more in it
(iovd-nbd, see HACKING.md): a copy of each byte and a few wake-ups of each request are its price, the
higher the busier the machine is. Every process of both ways is lifted above other work: with
autogroups a session each is what the scheduler shares among, and ours are sessions of their own.
"""
import argparse
import contextlib
import os
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import disk, nbd, proc  # noqa: E402
from lib.clients import blkio_client  # noqa: E402
from lib.daemon import Daemon  # noqa: E402
from lib.servers import Qsd  # noqa: E402

RING = 512
# name: (write, block size, depth, wait)
WORKLOADS = {
    "read-q1": (0, 4096, 1, "block"),
    "write-q1": (1, 4096, 1, "block"),
    "read-q32": (0, 4096, 32, "block"),
    "write-q32": (1, 4096, 32, "block"),
    "read-128k-q8": (0, 131072, 8, "block"),
    "write-128k-q8": (1, 131072, 8, "block"),
}


def lift(*pids):
    """A share of the processors that other work on the machine cannot take away."""
    for pid in pids:
        pathlib.Path(f"/proc/{pid}/autogroup").write_text("-20")


@contextlib.contextmanager
def ours(server, scratch):
    with Daemon(scratch) as daemon:
        one = daemon.attach(server.uri, "vm", "disk0")
        lift(one.worker(), *nbd.relays(server.uri))
        yield one.socket
        daemon.ctl("detach", one.id)


@contextlib.contextmanager
def peer(server, scratch):
    with Qsd(None, scratch, blockdev=f"driver=nbd,node-name=f0,server.type=unix,"
             f"server.path={server.socket},export=") as qsd:  # fmt: skip
        lift(qsd.pid)
        yield qsd.socket


SERVERS = {"iovd": ours, "qsd": peer}


def load(sock, workload, seconds):
    write, bs, depth, wait = workload
    done = blkio_client(sock, job="load", write=write, bs=bs, depth=depth, wait=wait,
                        seconds=seconds, queue_size=RING)  # fmt: skip
    return done["iops"]


def collect(options, server, scratch):
    """{workload: {server: [requests a second, of each round]}}"""
    table = {name: {s: [] for s in SERVERS} for name in WORKLOADS}
    for number in range(options.rounds):
        for name, start in SERVERS.items():
            folder = scratch / f"{name}{number}"
            folder.mkdir()
            with start(server, folder) as sock:
                for workload, words in WORKLOADS.items():
                    table[workload][name].append(load(sock, words, options.seconds))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    return table


def show(table):
    print(f"{'workload':15} {'iovd IOPS':>10} {'qsd IOPS':>10} {'ratio':>6}  of each round")
    for workload, by_server in table.items():
        ours_, theirs = by_server["iovd"], by_server["qsd"]
        medians = statistics.median(ours_), statistics.median(theirs)
        each = " ".join(f"{a / b:.2f}" for a, b in zip(ours_, theirs))
        print(f"{workload:15} {medians[0]:10.0f} {medians[1]:10.0f} "
              f"{medians[0] / medians[1]:6.2f}  {each}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    proc.end_on_sigterm()
    with proc.scratch(proc.tmpfs()) as memory, proc.scratch() as scratch:
        image = memory / "disk.img"
        with open(image, "wb") as out:
            for _ in range(256):
                out.write(os.urandom(disk.MIB))
        with nbd.Nbdkit(image, scratch, logs=False) as server:
            lift("self", server.pid)
            show(collect(options, server, scratch))


if __name__ == "__main__":
    try:
        main()
    except proc.Skipped as reason:
        sys.exit(f"bench nbd: {reason}")
