# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots a lab host and follows what it tells (see host.py) until it is off, or overdue, or dead."""
import contextlib
import json
import os
import pathlib
import queue
import socket
import threading
import time

from guest import cache
from lib import guest, proc

from . import booted, devices, images

TOP = pathlib.Path(__file__).resolve().parents[2]
MEMORY_MIB = 2048
ROOT_MIB, DATA_MIB = 4096, 64
BOOT_SECONDS = 360
GRACE_SECONDS = 60  # the host itself ends a topic that is overdue: this long after, it is hung


class Dead(Exception):
    """The lab host is gone, or does nothing any more; the text says how. `innocent`: it was QEMU
    that ended (some of its versions abort when a memory map changes at a bad moment), or the host
    never came up: nothing that runs in it can be the cause."""

    def __init__(self, text, innocent):
        super().__init__(text)
        self.innocent = innocent


def _has_option(host, device, option):
    """Whether this QEMU's device has an option."""
    words, environment = host.platform.qemu()
    argv = [*words, "-machine", "none", "-device", f"{device},help"]
    return f" {option}=" in proc.run(argv, env={**os.environ, **environment}).stdout


def _devices(host, folder):
    """(option, value) of everything that is plugged in."""
    for device in host.machine.devices:
        yield "device", device
    yield "device", "virtio-serial-pci"
    yield "device", "virtserialport,chardev=lab,name=lab"
    for name in ("data", "root"):
        yield "drive", f"if=none,id={name},format=raw,cache=unsafe,file={folder}/{name}.img"
    for number in range(2):
        yield "netdev", f"user,id=net{number},restrict=on"
    for device in devices.words(_has_option(host, "pcie-root-port", "disable-acs")):
        yield "device", device


def _shares(host, kernel, folder):
    """The folders that the host sees over 9p, by mount tag: its root and, at the path that they
    have here, what is not in it."""
    root = host.platform.root()
    yield "root", root, "/"
    yield "results", folder, "/run/lab/results"
    if root != pathlib.Path("/"):
        yield "source", TOP, TOP
        yield "build", host.platform.build(), host.platform.build()
        yield "kernel", kernel.tree, kernel.tree


def _share_words(shares):
    """(option, value) of each share."""
    for tag, path, _ in shares:
        access = "" if tag == "results" else ",readonly=on"
        yield "virtfs", (
            f"local,path={path},mount_tag={tag},security_model=passthrough,multidevs=remap{access}"
        )


def _append(host, kernel, shares):
    """The kernel's arguments."""
    return " ".join(
        (
            host.append,
            "loglevel=4 panic=-1 iomem=relaxed",
            *(f"lab.share={tag}:{path}" for tag, _, path in shares if tag != "root"),
            f"lab.modules={kernel.modules}",
            f"lab.host={TOP}/tests/lab/host.py",
        )
    )


def qemu_words(host, folder):
    """The whole command line of QEMU for a host."""
    kernel, platform = host.kernel_image(), host.platform
    accelerator, cpu, cpus = platform.processor(kernel)
    shares = list(_shares(host, kernel, folder))
    pairs = [
        ("machine", host.machine.machine),
        ("accel", accelerator),
        ("cpu", cpu),
        ("smp", cpus),
        ("m", f"{MEMORY_MIB}M"),
        ("display", "none"),
        ("serial", f"file:{folder}/console.log"),
        ("kernel", kernel.image),
        ("initrd", images.initramfs(kernel, platform.busybox())),
        ("append", _append(host, kernel, shares)),
        *_devices(host, folder),
        *_share_words(shares),
    ]
    words = [str(word) for option, value in pairs for word in (f"-{option}", value)]
    return [*platform.qemu()[0], "-nodefaults", "-no-user-config", "-no-reboot", *words]


class Machine:
    """A running lab host; a context manager. Its end is the end of the context.
    `keeps_disks`: those that there are have what an earlier one left on them. `extra`: more words
    for QEMU."""

    def __init__(self, host, folder, job, keeps_disks=False, extra=()):
        self._console = folder / "console.log"
        self._log = folder / "qemu.log"
        self._events = queue.Queue()
        self._status, self._up = 0, False
        self._log.unlink(missing_ok=True)
        self._console.write_bytes(b"")
        (folder / "job.json").write_text(json.dumps(job))
        for name, mebibytes in (("data", DATA_MIB), ("root", ROOT_MIB)):
            path = folder / f"{name}.img"
            if not (keeps_disks and path.exists()):
                images.disk(path, mebibytes, filesystem=name == "root")
        if host.has_systemd:
            booted.stage(host.platform.build(), folder / "stage")
        ours, theirs = socket.socketpair()
        self._monitor, monitor = socket.socketpair()
        asks, answers = socket.socketpair()
        self._lines = ours.makefile("rb")
        ends = {"lab": theirs, "monitor": monitor, "asks": asks, "answers": answers}
        fds = {name: end.fileno() for name, end in ends.items()}
        argv = [*qemu_words(host, folder), *extra, "-mon", "chardev=monitor,mode=control"]
        # The host's own monitor, which topics ask by a port (inside.Monitor).
        argv += ["-mon", "chardev=answers,mode=control"]
        argv += ["-device", "virtserialport,chardev=asks,name=monitor"]
        for name, fd in fds.items():
            argv += ["-chardev", f"socket,id={name},fd={fd}"]
        environment = {**os.environ, **host.platform.qemu()[1]}
        self._process = proc.Process(argv, self._log, pass_fds=fds.values(), env=environment)
        for end in (ours, *ends.values()):
            end.close()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill_all()
        self._monitor.close()

    def cut(self, reset):
        """Its power is gone: the machine is reset, which ends QEMU, or QEMU is killed."""
        if reset:
            self._monitor.sendall(b'{"execute":"qmp_capabilities"}{"execute":"system_reset"}')
        else:
            self._process.kill()
        self._process.wait()

    def _read(self):
        for line in self._lines:
            with contextlib.suppress(ValueError):  # a line cut by the end of the machine
                self._events.put(json.loads(line))
        self._events.put(None)

    def event(self, deadline):
        """The next event, before a point in monotonic time; raises Dead."""
        try:
            event = self._events.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            raise Dead(f"the host hangs\n{self.tail()}", not self._up) from None
        if event is None:
            self._status = self._process.wait()
            raise Dead(f"{self._cause()}\n{self.tail()}", not self._up or self._status < 0)
        self._up = True
        return event

    def wait_down(self, deadline):
        """Waits until a host that said it reboots is down."""
        try:
            event = self._events.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            raise Dead(f"the host does not go down\n{self.tail()}", False) from None
        if event is not None:
            raise Dead(f"a host that goes down says {event}", False)
        self._process.wait()

    def _cause(self):
        console = self._console.read_text(errors="replace").splitlines()
        for line in console:
            if "Kernel panic" in line:
                return line.split("] ", 1)[-1]
        if self._status:
            return f"QEMU ended with status {self._status}"
        return "the host went off without a word"

    def tail(self, lines=15):
        """The end of what console and QEMU said."""
        last = []
        for path in (self._console, self._log):
            last += path.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join("    | " + line for line in last)


def deadline(seconds):
    return time.monotonic() + seconds * proc.PATIENCE


def environment(host):
    """What a topic finds in its environment."""
    return {
        "IOVD_SRC": str(TOP),
        "IOVD_BUILD": str(host.platform.build()),
        "IOVD_CACHE": str(cache.root()),
        "IOVD_TEST_PATIENCE": str(proc.PATIENCE),
        "LAB_HOST": host.name,
        "LAB_IOMMU": host.iommu,
        "LAB_KERNEL": host.kernel,
        "LAB_VARIANTS": " ".join(host.variants),
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
    }
