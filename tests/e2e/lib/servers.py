# SPDX-License-Identifier: GPL-2.0-or-later
"""The servers of a disk, all of one shape: a context manager with a socket and a pid.

    Worker   our iov-worker alone, as any vhost-user backend program
    Qsd      qemu-storage-daemon, the peer (and the check that a test's own machinery is sound)

The daemon, which starts workers itself, is in daemon.py.
"""
import os
import pathlib
import signal

from . import proc
from .proc import Failed, Process, until


def program(name):
    """The path of one of our programs: IOVD_BUILD is the directory where they lie side by side."""
    build = os.environ.get("IOVD_BUILD")
    if not build:
        raise Failed("IOVD_BUILD is not set: it names the directory with the built programs")
    path = pathlib.Path(build).absolute() / name
    if not path.exists():
        raise Failed(f"{name} is not built in {build}")
    return path


class Server(Process):
    """A process that serves one image at `socket`."""

    def __init__(self, argv, sock, log, cpu=None):
        self.socket = pathlib.Path(sock)
        super().__init__((["taskset", "-c", str(cpu)] if cpu is not None else []) + argv, log)
        try:
            until(self._listening, 20, f"{argv[0]} to listen")
        except BaseException:
            self.stop()
            raise

    def _listening(self):
        if not self.alive():
            raise Failed(f"{self.argv[0]} ended at its start\n    {self.tail()}")
        return self.socket.exists()


class Worker(Server):
    """iov-worker alone. Options go through as --key=value; True is a bare switch."""

    name = "iov-worker"

    def __init__(self, image, scratch, tag="worker", cpu=None, **options):
        sock = scratch / f"{tag}.sock"
        words = [
            f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")
            for key, value in options.items()
            if value is not False
        ]
        super().__init__(
            [program("iov-worker"), "blk", f"--blk-file={image}", *words, f"--socket-path={sock}"],
            sock,
            scratch / f"{tag}.log",
            cpu,
        )

    def reread_size(self):
        """Tells the worker that its image has another size now."""
        self.kill(signal.SIGHUP)


class Qsd(Server):
    """qemu-storage-daemon; `image` None is its null device, the ceiling of ring processing;
    `blockdev`: whatever else it can."""

    name = "qemu-storage-daemon"

    def __init__(
        self,
        image,
        scratch,
        tag="qsd",
        cpu=None,
        num_queues=1,
        aio="io_uring",
        direct=False,
        read_only=False,
        size="1g",
        blockdev=None,
    ):
        proc.need("qemu-storage-daemon", "qemu-system-x86")
        sock = scratch / f"{tag}.sock"
        node = blockdev or (
            f"driver=null-co,node-name=f0,size={size},read-zeroes=off"
            if image is None
            else f"driver=file,node-name=f0,filename={image},aio={aio},"
            f"cache.direct={'on' if direct else 'off'},"
            f"discard=unmap,read-only={'on' if read_only else 'off'}"
        )
        super().__init__(
            [
                "qemu-storage-daemon",
                "--object",
                "iothread,id=io0",
                "--blockdev",
                node,
                "--export",
                f"type=vhost-user-blk,id=e0,node-name=f0,addr.type=unix,addr.path={sock},"
                f"writable={'off' if read_only else 'on'},num-queues={num_queues},iothread=io0",
            ],
            sock,
            scratch / f"{tag}.log",
            cpu,
        )


def alone(image, scratch, tag="server", cpu=None, **options):
    """The server that a test of a single server is about: our worker.

    IOVD_TEST_SERVER=qsd runs the same test on the peer, to tell whose fault a failure is.
    """
    if os.environ.get("IOVD_TEST_SERVER") != "qsd":
        return Worker(image, scratch, tag, cpu, **options)
    direct = options.pop("cache", None) == "none"
    return Qsd(image, scratch, tag, cpu, direct=direct, **options)
