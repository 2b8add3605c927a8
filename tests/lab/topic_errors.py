# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# timeout: 300
# needs: asking
"""What PCI Express reports of a device that a machine has: errors that QEMU injects, by their names;
that the host wants it back; that it does not answer any more."""
import contextlib
import subprocess
import time

import inside
from inside import PCI, Iovd, Monitor, config, device, expect, expect_equal, port, wait_for
from owner import Owner
from vmms import attached, shown, wait_state

# What QEMU is told, and how the kernel's counters call it.
ERRORS = (
    ("BAD_TLP", "correctable BadTLP: a packet was damaged on the link"),
    ("COMP_TIME", "nonfatal CmpltTO: an answer did not come in time"),
    ("POISON_TLP", "nonfatal TLP: poisoned data came"),
    # The kernel does not ask the device, whose link may be down, and resets it.
    ("SDN", "fatal: its link is down, so that its name cannot be read"),
)
# The slot control register of a port's PCI Express capability; power and its light, both off or on.
EXPRESS, SLOT_CONTROL = 0x10, 0x18
POWER_OFF, POWER_ON = 0x0500, 0x0100


def listed(iovd, bdf, code, begin):
    """What is listed of a device under a code since then."""
    found = iovd.ask("ListFaults", device=bdf, since=begin)["faults"]
    return [f for f in found if f["code"] == code]


def newest(iovd):
    return max((f["seq"] for f in iovd.ask("ListFaults")["faults"]), default=0)


def wait_fault(iovd, attachment, bdf, code, begin, reason=None):
    """The entry, which is of the machine that has the device."""
    fits = lambda f: reason in (None, f["reason"])  # noqa: E731
    fault = wait_for(
        lambda: next(filter(fits, listed(iovd, bdf, code, begin)), None), f"{code} {reason}", 60
    )
    expect_equal((fault["vm"], fault["attachment"]), ("vm1", attachment), f"whose {code} is")
    return fault


@contextlib.contextmanager
def opened(iovd, attachment, bdf):
    """Its machine has the device, while the context lasts; then it is renewed."""
    with Owner("vmm") as vmm:
        vmm.open(bdf)
        wait_state(iovd, attachment, "active")
        yield
    wait_state(iovd, attachment, "ready", 60)


def check_errors(iovd, monitor, attachment, bdf):
    took = []
    for name, reason in ERRORS:
        begin, since = time.monotonic(), newest(iovd)
        monitor.tell(f"pcie_aer_inject_error reports {name}")
        fault = wait_fault(iovd, attachment, bdf, "FAULT-ERROR", since, reason)
        took.append(time.monotonic() - begin)
        expect_equal((fault["source"], fault["count"]), ("aer", 1), name)
    return max(took)


def check_request(iovd, attachment, bdf):
    """Somebody unbinds it, and waits until its machine has let go of it."""
    since = newest(iovd)
    unbind = f"echo {bdf} >/sys/bus/pci/drivers/vfio-pci/unbind"
    waiting = subprocess.Popen(["sh", "-c", unbind])
    fault = wait_fault(iovd, attachment, bdf, "FAULT-REQUEST", since)
    expect_equal(fault["source"], "vfio", "source")
    expect(waiting.poll() is None, "it was unbound while its machine had it")
    return waiting


def slot_power(role, word):
    """Writes a port's slot control register."""
    at, found = config(port(role), 0x34, 1), None
    while at and found is None:
        found = at if config(port(role), at, 1) == EXPRESS else None
        at = config(port(role), at + 1, 1)
    with open(PCI / port(role) / "config", "r+b", buffering=0) as file:
        file.seek(found + SLOT_CONTROL)
        file.write(word.to_bytes(2, "little"))


def check_dead(iovd, attachment, bdf):
    """Its slot has no power: all that is read of it is ones."""
    since = newest(iovd)
    slot_power("edu_a", POWER_OFF)
    try:
        expect_equal(config(bdf, 0, 4), 0xFFFFFFFF, "its IDs without power")
        wait_fault(iovd, attachment, bdf, "FAULT-DEAD", since)
        wait_fault(iovd, attachment, bdf, "FAULT-GIVEN-UP", since)
        expect_equal(iovd.ok("show", bdf)["device"]["state"], "quarantined", "its state")
    finally:
        slot_power("edu_a", POWER_ON)
    wait_for(lambda: config(bdf, 0, 4) != 0xFFFFFFFF, "it to answer again")


def test(scratch):
    bdf, edu = device("reports"), device("edu_a")
    with Iovd(scratch) as iovd, Monitor() as monitor:
        with attached(iovd, bdf, "vm1") as attachment:
            with opened(iovd, attachment, bdf):
                took = check_errors(iovd, monitor, attachment, bdf)
            with opened(iovd, attachment, bdf):
                waiting = check_request(iovd, attachment, bdf)
            expect_equal(waiting.wait(60), 0, "the end of the unbind")
            wait_state(iovd, attachment, "ready", 60)
        with attached(iovd, edu, "vm1", "--on-fault", "block") as attachment:
            with opened(iovd, attachment, edu):
                check_dead(iovd, attachment, edu)
            expect_equal(shown(iovd, attachment)["pending_action"], None, "what is to be done")
            expect_equal(iovd.ok("show", edu)["device"]["state"], "attached", "its state, as new")
    return (f"{len(ERRORS)} errors by name, the slowest listed after {took * 1000:.0f} ms; one that the "
            f"host wants back; one that does not answer")


inside.main(test)
