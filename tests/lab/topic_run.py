# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 600
"""`iovctl run`: a VMM without privileges, with its device handed over, killed while that writes.

With the own kernel on VT-d it is QEMU, whose guest drives the device; elsewhere a small program.
"""
import contextlib
import os
import pathlib
import pwd
import subprocess
import time

import inside
from inside import (
    Iovd,
    MemoryCanary,
    bus_master,
    device,
    expect,
    expect_equal,
    lab_program,
    program,
)
from vmms import Events, SmallVmm, attach, shown, wait_state

USER = "nobody"
CANARY_MIB = 256
SECONDS_TO_READY = 30  # ten times what is promised: the lab's processors are emulated, and shared
WITH_QEMU = inside.KERNEL == "own" and inside.IOMMU == "vtd"
ROUNDS = 1 if WITH_QEMU else 4

# In the guest: its edu writes into memory that the guest's kernel leaves alone, page after page.
RESERVED = 0x8000000
WRITE_FOR_EVER = f"""
for dev in /sys/bus/pci/devices/*; do
    [ "$(cat $dev/device)" = 0x11e8 ] && edu=$dev
done
echo 1 >$edu/enable
printf '\\006\\001' | dd of=$edu/config bs=1 seek=4 conv=notrunc 2>/dev/null
read bar _ <$edu/resource
reg() {{ devmem $(($bar + $1)) 64 $2; }}
reg 128 0x40000
reg 144 4096
at=0
while :; do
    reg 136 $(({RESERVED:#x} + at)); reg 152 3
    [ $at = 0 ] && echo running >/tmp/edu
    at=$(((at + 4096) % 0x1000000))
done
"""


def run_words(iovd):
    return [program("iovctl"), "-s", iovd.socket, "run", "vm1", "--"]


@contextlib.contextmanager
def small_vmm(iovd, attachment, bdf):
    """tests/lab/small_vmm.c; what the words are for QEMU is nothing to it."""
    command = f"exec {lab_program('small_vmm')} {bdf} 64"
    with SmallVmm(bdf, words=[*run_words(iovd), "sh", "-c", command, f"@{attachment}@"]) as vmm:
        yield vmm


class QemuVmm:
    """What small_vmm has, of QEMU."""

    def __init__(self, machine):
        self.pid = machine.pid
        self._machine = machine

    def kill(self):
        os.kill(self.pid, 9)


@contextlib.contextmanager
def qemu_vmm(iovd, attachment, scratch):
    from lib import guest

    inside.load_kvm()
    os.chmod("/dev/kvm", 0o666)
    guest.accelerator = lambda kernel=None: ("kvm", "host")
    guest.BOOT_SECONDS = 300
    home = scratch / f"vmm{time.monotonic_ns()}"
    home.mkdir()
    os.chown(home, pwd.getpwnam(USER).pw_uid, -1)
    with guest.Qemu(
        home,
        [f"@{attachment}@"],
        memory=256,
        prefix=run_words(iovd),
        append=f"memmap=16M${RESERVED:#x}",
    ) as machine:
        machine.start(WRITE_FOR_EVER)
        inside.wait_for(
            lambda: machine.run("cat /tmp/edu", check=False).output.strip() == "running",
            "the guest's edu to write",
            120,
        )
        yield QemuVmm(machine)


def opened(pid):
    """What a process has open of VFIO's below /dev."""
    nodes = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            node = os.readlink(fd)
            nodes |= {node} if node.startswith("/dev/vfio") or node == "/dev/iommu" else set()
    return nodes


def check_process(iovd, pid):
    """It is an ordinary user's, without a privilege; and who handed it over kept nothing."""
    fields = dict(
        line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    expect_equal(fields["Uid"].split()[0], str(pwd.getpwnam(USER).pw_uid), "user of the VMM")
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        expect_equal(int(fields[kind], 16), 0, f"{kind} of the VMM")
    expect_equal(opened(iovd.pid()), set(), "nodes that iovd has open")
    print("the VMM has", *sorted(opened(pid)))
    if WITH_QEMU:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        expect(any(word.startswith("vfio-pci,fd=") for word in words), f"no fd=: {words}")
        expect("/dev/iommu" in opened(pid), "QEMU has no iommufd")
        expect_equal(os.stat("/dev/iommu").st_uid, 0, "owner of /dev/iommu")


def kill_one(iovd, events, start, attachment, bdf, canary):
    """How long it takes from the kill to ready."""
    with start() as vmm:
        events.wait(attachment, "active")
        expect_equal(shown(iovd, attachment)["vmm_pid"], vmm.pid, "the VMM's process")
        check_process(iovd, vmm.pid)
        expect(bus_master(bdf), "it writes, and is no bus master")
        begin = time.time()
        vmm.kill()
        heirs = MemoryCanary(64)
        took = events.wait(attachment, "ready") - begin
    expect(not bus_master(bdf), "the VMM is dead, and its device still a bus master")
    canary.check()
    heirs.check("memory that may have been the VMM's")
    return took


def check_gone_client(iovd, attachment, bdf):
    """A command that cannot start is a VMM that has ended."""
    words = [*run_words(iovd), "/no/such/program", f"@{attachment}@"]
    done = subprocess.run(words, capture_output=True, text=True)
    expect_equal(done.returncode, 1, f"status of a command that is not there: {done.stderr}")
    inside.wait_for(lambda: shown(iovd, attachment)["state"] == "ready", "ready after that")
    expect(not bus_master(bdf), "bus master after that")


def test(scratch):
    scratch.chmod(0o711)
    bdf, canary = device("edu_a"), MemoryCanary(CANARY_MIB)
    with Iovd(scratch) as iovd:
        name = attach(iovd, bdf, "vm1", "--owner", USER)["id"]
        if WITH_QEMU:
            start = lambda: qemu_vmm(iovd, name, scratch)  # noqa: E731
        else:
            start = lambda: small_vmm(iovd, name, bdf)  # noqa: E731
        with Events(iovd) as events:
            took = [kill_one(iovd, events, start, name, bdf, canary) for _ in range(ROUNDS)]
        print("ready again after", *(f"{seconds:.2f} s" for seconds in took))
        expect(max(took) < SECONDS_TO_READY, f"not ready in time: {took}")
        with SmallVmm(bdf):  # as root: it is usable anew
            wait_state(iovd, name, "active")
        wait_state(iovd, name, "ready", 60)
        check_gone_client(iovd, name, bdf)
        iovd.ok("detach", name)
    canary.check()
    return f"{'QEMU' if WITH_QEMU else 'small_vmm'} as {USER}, ready after {max(took):.2f} s at most"


inside.main(test)
