# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest to run commands in: under QEMU, or as User-Mode Linux.

Both boot the images of tests/guest and answer on a channel of their own; the console goes to a
file, and is where the kernel's complaints are looked for.
"""
import functools
import itertools
import os
import re
import socket
import tempfile

from guest import cache, image

from . import proc, symptoms
from .channel import Channel
from .proc import Failed, Process, Skipped
from .qmp import Qmp

BOOT_SECONDS = 60
# What a guest kernel says when its disk lets it down.
COMPLAINTS = re.compile(
    r"I/O error|EXT4-fs (error|warning)|JBD2.*(error|abort)|Buffer I/O|Remounting filesystem|"
    r"hung_task|blocked for more than|BUG:|Oops|Call Trace|critical \w+ error|"
    r"virtio.*(broken|id \d+ is not)"
)


def _image(build):
    try:
        return build()
    except cache.Unavailable as error:
        raise Skipped(str(error)) from error


def _words(*options):
    """QEMU's command line of (option, value) pairs; a pair whose value is None is left out."""
    pairs = ((f"-{option}", str(value)) for option, value in options if value is not None)
    return ["qemu-system-x86_64", "-nodefaults", *itertools.chain.from_iterable(pairs)]


@functools.cache
def accelerator(kernel=None):
    """KVM where a guest (its kernel, if not the test guests') really starts under it, for a node
    may exist and not work; TCG elsewhere. (accelerator, processor)."""
    if os.access("/dev/kvm", os.W_OK):
        argv = _words(
            ("accel", "kvm"),
            ("cpu", "host"),
            ("m", "256M"),
            ("display", "none"),
            ("serial", "stdio"),
            ("kernel", kernel or _image(image.qemu).kernel),
            ("append", "console=ttyS0 no_timer_check panic=-1"),
        )
        try:
            if "Linux version" in proc.run([*argv, "-no-reboot"], 8, check=False).stdout:
                return "kvm", "host"
        except Failed:
            pass
    return "tcg,thread=multi", "max"


class Guest:
    """What both kinds have in common: commands, the kernel log, the end."""

    def __init__(self, process, console, sock):
        self._process = process
        self.console = console
        self._channel = Channel(sock, self._describe)
        self._sock = sock

    def _describe(self):
        """For the message about a guest that does not answer."""
        return f"{self.console_tail()}\n    {self._process.tail()}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()
        self._process.kill_all()

    @property
    def pid(self):
        return self._process.pid

    def console_text(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def console_tail(self):
        return "\n    ".join(["the console's end:", *self.console_text().splitlines()[-12:]])

    def wait_boot(self, boots=1, seconds=None):
        """Waits until init serves commands, for the given time since the guest was started."""
        self._channel.wait_ready(boots, seconds or BOOT_SECONDS)

    def adopt(self, source):
        """This is where the guest of `source` runs now."""
        self._channel.adopt(source._channel)

    def start(self, script):
        """Starts a script in the guest; a number for result()."""
        return self._channel.start(script)

    def pump(self, seconds):
        """Lets time pass, taking in what the guest sends."""
        self._channel.pump(seconds)

    def done(self, number):
        return self._channel.done(number)

    def result(self, number, seconds=60, check=True):
        """The result of a started script; a status other than 0 fails unless check is off."""
        result = self._channel.result(number, seconds)
        if check and result.status:
            script = self._channel.script(number)
            raise Failed(f"in the guest: {script}: status {result.status}: {result.output[-1500:]}")
        return result

    def run(self, script, seconds=60, check=True):
        """Runs a script in the guest; (status, output)."""
        return self.result(self.start(script), seconds, check)

    def out(self, script, seconds=60):
        """The output of a script, stripped."""
        return self.run(script, seconds).output.strip()

    def complaints(self):
        """The lines of the kernel log that tell of an I/O error, a hang, or worse."""
        log = self.out("dmesg") + "\n" + self.console_text()
        return sorted({line for line in log.splitlines() if COMPLAINTS.search(line)})

    def expect_no_complaints(self):
        lines = self.complaints()
        if lines:
            log = self.out("dmesg").splitlines()
            at = next((n for n, line in enumerate(log) if line in lines), 0)
            told = "\n    ".join([*lines[:8], "around the first one:", *log[max(at - 8, 0) : at + 24]])
            raise Failed(f"the guest's kernel complains:\n    {told}")


def blk_args(sock, name="d0", queues=1, extra=""):
    """QEMU's words for a vhost-user disk; no reconnect option unless a test adds one."""
    return [
        "-chardev",
        f"socket,id=c-{name},path={sock}",
        "-device",
        f"vhost-user-blk-pci,id={name},chardev=c-{name},num-queues={queues}{extra}",
    ]


class Qemu(Guest):
    """A guest under QEMU. `args` are the words for its disks; `memory` is in MiB, and shared.

    slots > 0 leaves room to plug in memory, reboots=True lets it reboot instead of ending QEMU,
    incoming=URI makes it the destination of a migration (nothing has booted then), append adds to
    the kernel's command line, prefix are words that start QEMU.
    """

    def __init__(
        self,
        scratch,
        args,
        name="vm",
        memory=384,
        cpus=1,
        slots=0,
        reboots=False,
        incoming=None,
        append="",
        prefix=(),
    ):
        proc.need("qemu-system-x86_64", "qemu-system-x86")
        boot = _image(image.qemu)
        accel, cpu = accelerator()
        if cpus > 1:
            # On a loaded machine QEMU loses timers of processors that run in threads of their own.
            accel = accel.replace("thread=multi", "thread=single")
        console, agent, qmp = (scratch / f"{name}.{end}" for end in ("console", "agent", "qmp"))
        argv = _words(
            ("machine", "q35,memory-backend=m"),
            ("accel", accel),
            ("cpu", cpu),
            # For one processor that stays alone QEMU makes `lock` plain: the guest's barriers are none
            # then, and a server that reads the ring at that moment misses where it wants to be called.
            ("smp", f"{cpus},maxcpus={max(cpus, 2)}"),
            ("m", f"{memory}M" + (f",slots={slots},maxmem={memory + 2048}M" if slots else "")),
            ("object", f"memory-backend-memfd,id=m,size={memory}M,share=on"),
            ("display", "none"),
            ("serial", f"file:{console}"),
            ("kernel", boot.kernel),
            ("initrd", boot.initramfs),
            ("append", f"console=ttyS0 no_timer_check quiet loglevel=5 panic=-1 {append}"),
            ("qmp", f"unix:{qmp},server=on,wait=off"),
            ("chardev", f"socket,id=agent,path={agent},server=on,wait=on"),
            ("device", "virtio-serial-pci"),
            ("device", "virtserialport,chardev=agent,name=test"),
            ("incoming", incoming),
        )
        argv += [] if reboots else ["-no-reboot"]
        process = Process([*prefix, *argv, *args], scratch / f"{name}.qemu")
        self.qmp = None
        try:
            super().__init__(process, console, _connect(agent, process))
            self.qmp = Qmp(qmp)
            if not incoming:
                self.wait_boot()
        except BaseException:
            process.kill_all()
            raise

    def __exit__(self, *error):
        self.qmp.close()
        super().__exit__(*error)

    def _describe(self):
        said = super()._describe()
        return f"{said}\n    {symptoms.look(self.qmp)}" if self.qmp else said


def _connect(path, process):
    """Connects to a socket that a starting process is about to make."""
    sock = socket.socket(socket.AF_UNIX)

    def attempt():
        if not process.alive():
            raise Failed(process.tail())
        try:
            sock.connect(str(path))
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    proc.until(attempt, 20, f"{path.name} of {process.argv[0]}")
    return sock


class Uml(Guest):
    """User-Mode Linux: an independent vhost-user front-end, up in two seconds."""

    def __init__(self, scratch, sock, name="uml", memory=256):
        boot = _image(image.uml)
        ours, theirs = socket.socketpair()
        console = scratch / f"{name}.console"
        argv = [
            boot.kernel,
            f"mem={memory}M",
            f"initrd={boot.initramfs}",
            "console=tty0",
            "con=null",
            "con0=null,fd:1",
            f"ssl0=fd:{theirs.fileno()}",
            "quiet",
            "loglevel=5",
            "panic=-1",
            f"virtio_uml.device={sock}:2",
            f"umid={scratch.name}-{name}",
            f"uml_dir={scratch}",
        ]
        # UML keeps its memory in a file of TMPDIR and hands that file to the backend.
        process = Process(
            argv,
            console,
            pass_fds=(theirs.fileno(),),
            env={**os.environ, "TMPDIR": proc.tmpfs() or tempfile.gettempdir()},
        )
        theirs.close()
        super().__init__(process, console, ours)
        try:
            self.wait_boot()
        except BaseException:
            process.kill_all()
            raise
