# SPDX-License-Identifier: GPL-2.0-or-later
"""DPDK's testpmd: a vhost-user client that shares no code with QEMU, and a server that shares none with us.

Packages: dpdk-dev, librte-net-virtio23, librte-net-vhost23, librte-net-tap23.
"""
import os
import re
import signal

from . import network, proc
from .proc import Process, until

_EAL = ["--no-huge", "-m", "128", "--no-pci", "--no-telemetry", "-l", "0,1"]


class Testpmd:
    """One, which says each second what its first port has done. `lcore` is the one that says so; the other
    one of two forwards."""

    def __init__(self, log, devices, mode, options=(), lcore=0, prefix=()):
        proc.need("dpdk-testpmd", "dpdk-dev")
        words = [*prefix, "dpdk-testpmd", *_EAL, f"--main-lcore={lcore}"]
        words += [f"--file-prefix=iovd-{os.getpid()}-{log.name}"]
        words += [f"--vdev={device}" for device in devices]
        words += ["--", f"--forward-mode={mode}", "--auto-start", "--total-num-mbufs=4096"]
        self._log = log
        self._process = Process([*words, "--stats-period=1", *options], log)

    def __enter__(self):
        self._process.__enter__()
        return self

    def __exit__(self, *error):
        self._process.__exit__(*error)

    def wait_running(self):
        until(lambda: "Port statistics" in self._said(), 60, f"testpmd to run: {self.tail()}")

    def _said(self):
        return self._log.read_text(errors="replace")

    def tail(self):
        return self._process.tail()

    def received(self):
        """Frames so far, as it said last."""
        said = re.findall(r"RX-packets: (\d+)", self._said())
        return int(said[-1]) if said else 0

    def end(self):
        """Ends it; what it came to."""
        self._process.kill(signal.SIGINT)
        return self._process.wait(30)


def client(sock, log, mode, number, options="", words=()):
    """A driver in user space, for the server at that socket."""
    device = f"net_virtio_user0,path={sock},queue_size=256,mac={network.mac(number)}{options}"
    return Testpmd(log, [device], mode, words)


def server(sock, log, tap, prefix):
    """DPDK's own vhost-user server, onto a tap of its own."""
    devices = [f"net_vhost0,iface={sock},queues=1", f"net_tap0,iface={tap}"]
    return Testpmd(log, devices, "io", lcore=1, prefix=prefix)
