# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""Live migration with an open TCP stream, from one port of a bridge to another.

Each side has a worker and a tap of its own. What the bridge knew of the guest is wrong from the
instant that it runs elsewhere; it hears so from the guest's announcement, or its next frame.
"""
from lib import network
from lib.guest import Qemu
from lib.network import HostSink, NetWorker, Network
from lib.proc import Failed, until
from lib.report import main

MEMORY = 160


def flowing(sink):
    before = sink.received
    until(lambda: sink.received > before, 120, "the stream to flow")


def migrate(source, destination, uri):
    capabilities = [{"capability": "events", "state": True}]
    source.qmp.command("migrate-set-capabilities", capabilities=capabilities)
    source.qmp.command(
        "migrate-set-parameters", **{"max-bandwidth": 1 << 30, "downtime-limit": 1000}
    )
    source.qmp.command("migrate", uri=uri)
    over = ("completed", "failed")
    event = source.qmp.event("MIGRATION", 180, lambda data: data["status"] in over)
    if event["data"]["status"] != "completed":
        raise Failed(f"migration failed: {source.qmp.command('query-migrate')}")
    destination.qmp.event("RESUME", 60)
    destination.adopt(source)
    return source.qmp.command("query-migrate")["downtime"]


def test(scratch):
    uri = f"unix:{scratch}/migration"
    with Network() as net:
        net.tap("tap1")
        net.tap("tap2")
        with NetWorker(net, "tap1", scratch, "w1") as one, NetWorker(
            net, "tap2", scratch, "w2"
        ) as two, Qemu(
            scratch, network.net_args(one.socket, 1), name="source", memory=MEMORY
        ) as source, Qemu(
            scratch,
            network.net_args(two.socket, 1),
            name="destination",
            memory=MEMORY,
            incoming=uri,
        ) as destination:
            network.bring_up(source, 1)
            sink = HostSink(net)
            job = network.start_endless(source, sink)
            flowing(sink)
            downtime = migrate(source, destination, uri)
            flowing(sink)
            sent = network.end_stream(destination, job, sink, 240)
            network.ping(destination, network.HOST)
            destination.expect_no_complaints()
    return f"{sent} numbers, the longest gap {sink.gap:.2f} s, stopped for {downtime / 1000:.2f} s"


if __name__ == "__main__":
    main(test)
