# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Two guests with iov-worker alone, in one bridge with this host: each stream arrives as it was sent.

One guest has split rings and one queue, the other packed rings and four.
"""
from lib import network
from lib.guest import Qemu
from lib.network import GuestSink, HostSink, NetWorker, Network
from lib.proc import Failed
from lib.report import main

NUMBERS = 200000


def expect_queues(guest, count, packed):
    """What the guest's driver has come to: queues, and the bit of packed rings."""
    queues = guest.out("ls -d /sys/class/net/eth0/queues/rx-* | wc -l")
    features = guest.out("cat /sys/class/net/eth0/device/features")
    if int(queues) != count or (features[34] == "1") != packed:
        raise Failed(f"the driver has {queues} queues, and the features {features}")


def test(scratch):
    with Network() as net:
        net.tap("tap1")
        net.tap("tap2", queues=4)
        with NetWorker(net, "tap1", scratch, "w1") as one, NetWorker(
            net, "tap2", scratch, "w2", num_queues=4
        ) as two, Qemu(scratch, network.net_args(one.socket, 1), name="a", memory=192) as a, Qemu(
            scratch,
            network.net_args(two.socket, 2, 4, ",packed=on"),
            name="b",
            memory=192,
            cpus=4,
        ) as b:
            network.bring_up(a, 1)
            network.bring_up(b, 2)
            expect_queues(a, 1, packed=False)
            expect_queues(b, 4, packed=True)
            network.ping(a, network.address(2))
            network.ping(b, network.HOST)
            network.expect_stream(a, GuestSink(b, 2), NUMBERS)
            network.expect_stream(b, GuestSink(a, 1), NUMBERS)
            network.expect_stream(a, HostSink(net), NUMBERS)
            network.expect_stream(b, HostSink(net), NUMBERS)


if __name__ == "__main__":
    main(test)
