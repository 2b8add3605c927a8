#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""iov-worker net and a client that shares no code with QEMU: DPDK's virtio-user, in testpmd.

    ./dev campaign dpdk [PINGS]

testpmd answers pings of this host (icmpecho), by split and packed rings, with and without mergeable
buffers, without huge pages. All pings must come back; their content is checked by who sends them.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import dpdk, network, proc  # noqa: E402
from lib.network import NetWorker, Network  # noqa: E402
from lib.proc import Failed  # noqa: E402
from lib.report import main  # noqa: E402

PINGS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
NUMBER = 9
WAYS = ("", ",packed_vq=1", ",mrg_rxbuf=0", ",packed_vq=1,mrg_rxbuf=0")


def pings(net, size):
    """How many of them came back."""
    argv = [*net.prefix, "busybox", "ping", "-c", PINGS, "-s", size, network.address(NUMBER)]
    said = proc.run(argv, 60 + 2 * PINGS, check=False).stdout
    found = re.search(r"(\d+) packets received", said)
    return int(found.group(1)) if found else 0


def one_way(net, sock, log, options):
    with dpdk.client(sock, log, "icmpecho", NUMBER, options) as client:
        client.wait_running()
        for size in (64, 1400):
            got = pings(net, size)
            if got != PINGS:
                raise Failed(f"{options or 'split'}: {got} of {PINGS} pings of {size} bytes\n"
                             f"    {client.tail()}")  # fmt: skip
        if client.end():
            raise Failed(client.tail())


def test(scratch):
    proc.need("busybox", "busybox-static")
    with Network() as net, NetWorker(net, net.tap("tap1"), scratch) as worker:
        net.ip("neigh", "add", network.address(NUMBER), "lladdr", network.mac(NUMBER), "dev", "br0")
        for number, options in enumerate(WAYS):
            one_way(net, worker.socket, scratch / f"testpmd{number}.log", options)
    return f"{len(WAYS)} ways, {2 * PINGS} pings each"


main(test)
