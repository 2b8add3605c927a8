# SPDX-License-Identifier: GPL-2.0-or-later
"""What a topic needs inside a lab host. A whole topic:

    # lab: vtd amdvi virtio smmuv3
    # timeout: 60
    import inside
    from inside import Iovd, device, driver_of, expect, expect_equal

    def test(scratch):
        with Iovd(scratch) as iovd:
            answer = iovd.iovctl("attach", device("root"), "vm1")
            expect_equal(answer.status, 3, "exit status")
            expect("HOST-USE" in answer.text, f"the disk of / is given away: {answer.text}")
        return "the disk of / stays"

    inside.main(test)

Roles (devices.py): nvme, igb, edu_a, edu_b, edu28, pair and functions (two devices, one group),
noacs; and what the host stands on: root (the disk beneath /), uplink (the default route). UNSPLIT
names that of pair and functions which is a group on every IOMMU.
"""
import json
import mmap
import os
import pathlib
import re
import socket
import struct
import sys
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from devices import ROLES  # noqa: E402
from lib import proc, report  # noqa: E402
from lib.daemon import Daemon  # noqa: E402
from lib.proc import Failed, Skipped, until  # noqa: E402,F401
from lib.servers import program  # noqa: E402,F401

IOMMU = os.environ.get("LAB_IOMMU", "none")  # vtd, amdvi, virtio, smmuv3
KERNEL = os.environ.get("LAB_KERNEL", "none")  # debian, own
VARIANTS = os.environ.get("LAB_VARIANTS", "").split()  # pt, strict, systemd
BOOT = int(os.environ.get("LAB_BOOT", "1"))  # counts the boots of this topic's host
BUILD = pathlib.Path(os.environ.get("IOVD_BUILD", "."))
# The role of a group that cannot be split. Behind the bridge both devices have one requester ID:
# VT-d and AMD-Vi make a group of them, the others refuse the second device or both.
UNSPLIT = "pair" if IOMMU in ("vtd", "amdvi") else "functions"
PCI = pathlib.Path("/sys/bus/pci/devices")
PAGE = mmap.PAGESIZE

main = report.main  # main(test): runs test(scratch folder); its end is the topic's


def expect(condition, what):
    """Fails the topic with the text unless the condition holds."""
    if not condition:
        raise Failed(what)


def expect_equal(seen, wanted, what):
    expect(seen == wanted, f"{what}: {seen!r}, wanted {wanted!r}")


def wait_for(condition, what, seconds=20):
    """Waits until condition() is true; its value. `what` says what was waited for, if it fails."""
    return until(condition, seconds, what)


def reboot():
    """Reboots the host (one with +systemd). The topic begins again after it, with a BOOT more; what
    it has written is there, however short systemd makes the end."""
    os.sync()
    raise SystemExit(75)  # host.py


def lab_program(name):
    """The path of a built tests/lab/NAME.c."""
    return BUILD / "tests" / "lab" / name


# --- devices --------------------------------------------------------------------------------------


def read(path):
    """A file of sysfs, stripped; None where there is none."""
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return None


def write(path, text):
    """Writes a file of sysfs: one write, errors raised."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, str(text).encode())
    finally:
        os.close(fd)


def port(role):
    """The root port of a role: its BDF."""
    return f"0000:00:{ROLES[role].slot:02x}.0"


def devices(role):
    """The BDFs of a role, in order; VFs and bridges are not among them."""
    found = []
    for folder, _, _ in os.walk(PCI / port(role)):
        path = pathlib.Path(folder)
        ids = (read(path / "vendor"), read(path / "device"))
        if re.fullmatch(r"[0-9a-f]{4}(:[0-9a-f]{2}){2}\.\d", path.name) and ids == ROLES[role].ids:
            found.append(path.name)
    expect_equal(len(found), ROLES[role].count, f"devices of role {role}: {found}")
    return sorted(found)


def device(role):
    """The BDF of a role that has one device."""
    (found,) = devices(role)
    return found


def vfs(bdf):
    """The BDFs of a PF's virtual functions, in order."""
    links = (PCI / bdf).glob("virtfn*")
    by_number = sorted(links, key=lambda link: int(link.name.removeprefix("virtfn")))
    return [os.readlink(link).rsplit("/", 1)[-1] for link in by_number]


def _linked(bdf, name):
    """The last part of what a link of a device's names; None while there is none. It may go at any
    time, with its device or without."""
    try:
        return os.readlink(PCI / bdf / name).rsplit("/", 1)[-1]
    except FileNotFoundError:
        return None


def driver_of(bdf):
    """The name of the driver that has a device; None without one."""
    return _linked(bdf, "driver")


def group_of(bdf):
    """The number of a device's IOMMU group; None without one."""
    number = _linked(bdf, "iommu_group")
    return None if number is None else int(number)


def group_members(bdf):
    """The BDFs of all devices in a device's group."""
    return sorted(path.name for path in (PCI / bdf / "iommu_group" / "devices").iterdir())


def bind(bdf, driver):
    """Gives a device to a driver by hand, not by iovd."""
    modprobe(driver)
    write(PCI / bdf / "driver_override", driver)
    if driver_of(bdf):
        write(PCI / bdf / "driver" / "unbind", bdf)
    write("/sys/bus/pci/drivers_probe", bdf)
    expect_equal(driver_of(bdf), driver, f"driver of {bdf}")


def unbind(bdf):
    """Back to what the kernel makes of a device by itself, by hand."""
    write(PCI / bdf / "driver_override", "\n")
    if driver_of(bdf):
        write(PCI / bdf / "driver" / "unbind", bdf)
    write("/sys/bus/pci/drivers_probe", bdf)


def probe(bdf):
    """virtio-iommu and SMMUv3 give a device its group when a driver has probed it."""
    if group_of(bdf) is None:
        bind(bdf, "vfio-pci")
        unbind(bdf)


def modprobe(*words):
    proc.run(["modprobe", *words])


def load_kvm():
    """Makes /dev/kvm of the lab host work; skips where its processor cannot."""
    flags = re.search(r"^flags\s*:.*", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    modules = {"svm": "kvm-amd", "vmx": "kvm-intel"}
    found = [modules[f] for f in modules if flags and f in flags.group(0).split()]
    if not found:
        raise Skipped("the lab host's processor does not virtualize")
    modprobe(found[0])
    expect(os.access("/dev/kvm", os.W_OK), "no /dev/kvm in the lab host")


def netdev(bdf):
    """The network interface of a device."""
    return wait_for(
        lambda: next((p.name for p in (PCI / bdf).glob("net/*")), None), f"an interface of {bdf}"
    )


def disk(bdf):
    """The block device (path) of an NVMe controller's first namespace."""
    names = lambda: [p.name for p in (PCI / bdf).glob("nvme/nvme*/nvme*n1")]  # noqa: E731
    name = wait_for(names, f"a disk of {bdf}")[0]
    return pathlib.Path("/dev") / re.sub(r"c\d+n", "n", name)


def config(bdf, offset, size=2):
    """A field of config space."""
    with open(PCI / bdf / "config", "rb") as file:
        file.seek(offset)
        return int.from_bytes(file.read(size), "little")


def _command(bdf, bits):
    """Sets the command register."""
    with open(PCI / bdf / "config", "r+b", buffering=0) as file:
        file.seek(4)
        file.write(struct.pack("<H", bits))


def bus_master(bdf, on=None):
    """Whether a device may do DMA; sets it first if told to."""
    if on is not None:
        _command(bdf, config(bdf, 4) & ~4 | (4 if on else 0))
    return bool(config(bdf, 4) & 4)


class Edu:
    """QEMU's edu: DMA on command, whoever drives it, through its BAR in sysfs.

    Its own buffer has 4096 bytes. An address that it is given is an IOVA where its group
    translates.
    """

    BUFFER, BUFFER_SIZE = 0x40000, 4096
    _RUN, _TO_MEMORY, _IRQ = 1, 2, 4

    def __init__(self, bdf):
        self.bdf = bdf
        _command(bdf, config(bdf, 4) | 2)
        with open(PCI / bdf / "resource0", "r+b", buffering=0) as file:
            self._bar = mmap.mmap(file.fileno(), 0x100000)
        # One access per register, of its own width: what Python's copies do is another matter.
        self._u32 = memoryview(self._bar).cast("I")
        self._u64 = memoryview(self._bar).cast("Q")

    def alive(self):
        """Whether it answers: the liveness register returns what was written, inverted."""
        self._u32[1] = 0x12345678
        return self._u32[1] == 0x12345678 ^ 0xFFFFFFFF

    def _dma(self, source, destination, count, command):
        self._u64[0x80 // 8] = source
        self._u64[0x88 // 8] = destination
        self._u64[0x90 // 8] = count
        self._u64[0x98 // 8] = self._RUN | command
        wait_for(lambda: not self._u64[0x98 // 8] & self._RUN, f"the DMA of {self.bdf}")

    def fetch(self, address, count=4):
        """DMA from memory into its buffer."""
        self._dma(address, self.BUFFER, count, 0)

    def store(self, address, count=4):
        """DMA from its buffer into memory."""
        self._dma(self.BUFFER, address, count, self._TO_MEMORY)


class Monitor:
    """QEMU's monitor of the machine that this host is, and what QEMU itself writes: its traces."""

    _OUTPUT = pathlib.Path("/run/lab/results/qemu.log")

    def __init__(self):
        ports = pathlib.Path("/sys/class/virtio-ports").iterdir()
        name = next(port.name for port in ports if read(port / "name") == "monitor")
        self._port = open(f"/dev/{name}", "r+b", buffering=0)
        self._rest, self._asked = b"", 0
        self._say("qmp_capabilities", {})  # refused, when an earlier topic has been here

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._port.close()

    def _line(self):
        while b"\n" not in self._rest:
            self._rest += self._port.read(4096)
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    def _say(self, command, arguments):
        """Its answer, an error too."""
        self._asked += 1
        request = {"execute": command, "arguments": arguments, "id": self._asked}
        self._port.write(json.dumps(request).encode() + b"\n")
        while (answer := self._line()).get("id") != self._asked:
            pass  # the greeting, events
        return answer

    def _ask(self, command, **arguments):
        answer = self._say(command, arguments)
        expect("return" in answer, f"QEMU: {command} {arguments}: {answer}")
        return answer["return"]

    def tell(self, line):
        """A command of the human monitor; what it answers."""
        return self._ask("human-monitor-command", **{"command-line": line}).strip()

    def trace(self, event):
        """Has QEMU write a line for each event of this name, from now on."""
        expect_equal(self.tell(f"trace-event {event} on"), "", f"trace of {event}")

    def traced(self, pattern):
        """What of QEMU's output matches."""
        return re.findall(pattern, self._OUTPUT.read_text(errors="replace"))


# --- iovd -----------------------------------------------------------------------------------------


class Answer(typing.NamedTuple):
    """How a run of iovctl ended."""

    status: int
    json: typing.Any  # the document that it printed; None if it printed none
    text: str  # what it said, errors too


class Client:
    """One connection to iovd: an answer takes no start of a program."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))

    def call(self, method, **parameters):
        """The parameters of the reply; EOFError if the daemon ends before it."""
        message = {"method": f"org.iovd.Manager.{method}", "parameters": parameters}
        self._socket.sendall(json.dumps(message).encode() + b"\0")
        reply = b""
        while not reply.endswith(b"\0"):
            more = self._socket.recv(1 << 16)
            if not more:
                raise EOFError
            reply += more
        return json.loads(reply[:-1])["parameters"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()


class Iovd(Daemon):
    """An iovd with folders of its own below `scratch`, ended with the context (workers, too)."""

    def _ask(self, method, parameters):
        try:
            with Client(self.socket) as client:
                return client.call(method, **parameters)
        except (OSError, EOFError):
            return None

    def ask(self, method, **parameters):
        """The answer to one call: of the next daemon, if this one is just ending."""
        return wait_for(lambda: self._ask(method, parameters), f"an answer to {method}", 30)

    def iovctl(self, *words, seconds=60):
        """Runs iovctl with JSON output, whatever its exit status."""
        done = self.ctl(*words, check=False, seconds=seconds)
        try:
            document = json.loads(done.stdout)
        except ValueError:
            document = None
        return Answer(done.returncode, document, (done.stdout + done.stderr).strip())

    def ok(self, *words, seconds=60):
        """Runs iovctl, which must succeed; the JSON document."""
        answer = self.iovctl(*words, seconds=seconds)
        expect(not answer.status, f"iovctl {' '.join(map(str, words))}: status {answer.status}: "
                                  f"{answer.text}")
        return answer.json

    def refused(self, code, *words, seconds=60):
        """Runs iovctl, which must fail, and for this reason; the answer."""
        answer = self.iovctl(*words, seconds=seconds)
        shown = f"iovctl {' '.join(map(str, words))}: status {answer.status}: {answer.text}"
        expect(answer.status, f"not refused with {code}: {shown}")
        expect(code in answer.text, f"refused, but not with {code}: {shown}")
        return answer


# --- the kernel -----------------------------------------------------------------------------------

# DMA faults, as the IOMMU's drivers log them.
FAULTS = {
    "vtd": re.compile(
        r"DMAR: \[(?P<what>.*?)\] Request device \[(?P<device>[\w:.]+)\] "
        r"fault addr (?P<address>0x[0-9a-f]+)"
    ),
    "amdvi": re.compile(
        r"(?P<device>[0-9a-f:.]+): AMD-Vi: Event logged \[(?P<what>\w+) .*address=(?P<address>0x\w+)"
    ),
    "virtio": re.compile(
        r"virtio_iommu \w+: (?P<what>\w+ fault) from EP (?P<device>\d+) at (?P<address>0x[0-9a-f]+)"
    ),
    # The four words of an event record, one per line: the stream over the event, flags, address.
    "smmuv3": re.compile(
        r"event (?P<what>0x10|0x13) received:\n"
        r".*\s0x(?P<stream>[0-9a-f]{8})000000(?:10|13)\n.*\n.*\s(?P<address>0x[0-9a-f]{16})$",
        re.M,
    ),
}


class Fault(typing.NamedTuple):
    """A DMA fault of the kernel log."""

    device: str  # BDF
    address: int
    text: str


def _fault(found):
    fields = found.groupdict()
    where = fields.get("device")
    if where is None or where.isdigit():  # a stream, or an endpoint of virtio-iommu
        number = int(where) if where else int(fields["stream"], 16)
        where = f"{number >> 8:02x}:{number >> 3 & 31:02x}.{number & 7}"
    if where.count(":") == 1:
        where = f"0000:{where}"
    return Fault(where, int(fields["address"], 16), found.group(0))


class KernelLog:
    """The kernel log from now on. The kernel limits how many faults it logs: a fault that is there
    happened, one that is not may have happened all the same."""

    def __init__(self):
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)
        self.lines = []

    def read(self):
        """All lines since it was opened."""
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return self.lines
            except BrokenPipeError:  # overwritten before it was read
                continue
            text = record.decode(errors="replace").split(";", 1)[1].split("\n")[0]
            self.lines.append(text.replace("\\x09", "\t"))  # which is how a tab comes

    def faults(self):
        """The DMA faults since it was opened."""
        return list(map(_fault, FAULTS[IOMMU].finditer("\n".join(self.read()))))

    def wait_fault(self, bdf, address=None, seconds=20):
        """Waits for a fault of a device (at an address). QEMU's record for AMD-Vi has neither the
        address nor the bus: there it is any fault of that slot of whatever bus."""
        if IOMMU == "amdvi":
            bdf, address = f"0000:00:{bdf[8:]}", None
        return wait_for(
            lambda: next(
                (f for f in self.faults() if f.device == bdf and address in (None, f.address)), None
            ),
            f"a fault of {bdf} in the kernel log",
            seconds,
        )

    def wait(self, pattern, seconds=20):
        """Waits for a line; the match."""
        search = re.compile(pattern).search
        return wait_for(
            lambda: next(filter(None, map(search, self.read())), None),
            f"a line {pattern} in the kernel log",
            seconds,
        )


class MemoryCanary:
    """Much of the host's memory, filled with a pattern: whoever writes there unasked is seen.

    Every page carries its own number, so that a page which changed place is seen, too.
    """

    def __init__(self, mebibytes=512):
        self.size = mebibytes << 20
        self._memory = mmap.mmap(-1, self.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for offset in range(0, self.size, PAGE):
            self._memory[offset:offset + PAGE] = self._page(offset)

    @staticmethod
    def _page(offset):
        return struct.pack("<QQ", offset, 0x6361_6E61_7279_2E2E) * (PAGE // 16)

    def changed(self):
        """The offsets of all pages that are not as they were."""
        return [
            offset
            for offset in range(0, self.size, PAGE)
            if self._memory[offset:offset + PAGE] != self._page(offset)
        ]

    def check(self, what="memory of the host"):
        """Fails the topic if anything changed."""
        changed = self.changed()
        if changed:
            first = self._memory[changed[0]:changed[0] + 16].hex()
            raise Failed(f"{what}: {len(changed)} pages changed, first at {changed[0]:#x}: {first}")

    def physical(self, offset=0):
        """The physical address of a byte of it."""
        import ctypes

        virtual = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) + offset
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            pagemap.seek(virtual // PAGE * 8)
            (entry,) = struct.unpack("<Q", pagemap.read(8))
        expect(entry >> 63, f"the page of offset {offset:#x} is not in memory")
        return (entry & (1 << 55) - 1) * PAGE + virtual % PAGE
