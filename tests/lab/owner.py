# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners of devices, told by topics what to do: tests/lab/owner.c at the other end of a pipe.

    with Owner("left") as left:
        left.open(bdf)
        where = left.buffer(0, 4096)
        left.do("store", bdf, where, 64)
"""
import subprocess

import inside
from inside import Failed, expect, expect_equal

API = "iommufd" if inside.KERNEL == "own" else "type1"  # what a host must be found to have
MEBI = 1 << 20


class Owner:
    """A process with an address space and the devices in it."""

    def __init__(self, name="owner"):
        self.name = name
        self._process = subprocess.Popen(
            [inside.lab_program("owner")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self):
        return self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()

    def end(self):
        """Its regular end: devices closed, space gone."""
        self._process.stdin.close()
        self._process.stdout.close()
        expect_equal(self._process.wait(timeout=60), 0, f"exit status of {self.name}")

    def _ask(self, words):
        line = " ".join(hex(w) if isinstance(w, int) else str(w) for w in words)
        self._process.stdin.write(line + "\n")
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise Failed(f"{self.name}: ended at '{line}'")
        return line, answer

    def do(self, *words):
        """Must succeed; the words of the answer."""
        line, answer = self._ask(words)
        expect(answer.split()[0] == "ok", f"{self.name}: {line}: {answer}")
        return answer.split()[1:]

    def refused(self, code, *words):
        """Must be refused with this code; the sentence."""
        line, answer = self._ask(words)
        expect(answer.startswith(f"refused {code} "), f"{self.name}: {line}: wanted {code}: {answer}")
        return answer

    def open(self, bdf):
        """Opens a device, by the interface that the host must be found to have; blocked."""
        expect_equal(self.do("open", bdf), [API], f"the interface for {bdf}")
        expect_equal(self.do("master", bdf), ["off"], f"bus mastering of {bdf} when opened")

    def open_master(self, bdf):
        """Opens a device that may do DMA."""
        self.open(bdf)
        self.do("master", bdf, "on")

    def buffer(self, number, size, bits=64, *how):
        """Makes a mapped buffer: its IOVA."""
        return int(self.do("buffer", number, size, str(bits), *how)[0], 16)

    def fill(self, number, text):
        """Fills a buffer with the text, over and over."""
        self.do("fill", number, text)

    def differ(self, number, text):
        """How many bytes of a buffer are not those of fill()."""
        return int(self.do("differ", number, text)[0])

    def peek(self, number, offset, size):
        return self.do("peek", number, offset, size)[0]

    def physical(self, number, offset=0):
        """The host's address of a byte in a buffer."""
        return int(self.do("physical", number, offset)[0], 16)

    def limits(self):
        """Granule, page sizes, mappings left, and the valid ranges (first, last)."""
        granule, sizes, left, *ranges = self.do("limits")
        pairs = [tuple(int(end, 16) for end in words.split("-")) for words in ranges]
        return int(granule), int(sizes, 16), int(left), pairs


def take(*bdfs):
    """Gives devices to vfio-pci."""
    if inside.IOMMU == "virtio":  # it says nothing of interrupts, which this machine isolates
        inside.modprobe("vfio_iommu_type1")
        for path in ("/sys/module/vfio_iommu_type1", "/sys/module/iommufd"):
            switch = f"{path}/parameters/allow_unsafe_interrupts"
            if inside.read(switch) == "N":
                inside.write(switch, "Y")
    for bdf in bdfs:
        inside.bind(bdf, "vfio-pci")


def give_back(*bdfs):
    for bdf in bdfs:
        inside.unbind(bdf)


def stopped(owner, bdf, iova, log, what):
    """The device writes 4 bytes to an address that it must not reach, again and again until the
    kernel logs a new fault for it: of many that come at once it logs only the first."""
    device, page, before = bdf, iova & -inside.PAGE, len(log.faults())
    if inside.IOMMU == "amdvi":  # QEMU's record has neither bus nor address
        device, page = f"0000:00:{bdf[8:]}", None

    def seen():
        owner.do("store", bdf, iova, 4)
        faults = [f for f in log.faults()[before:] if f.device == device]
        return next((f for f in faults if page in (None, f.address & -inside.PAGE)), None)

    fault = inside.wait_for(seen, f"a fault of {bdf} at {iova:#x} in the kernel's log", 60)
    print(f"{owner.name}, {what}, {iova:#x}: {' '.join(fault.text.split())}")
