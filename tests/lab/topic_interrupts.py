# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# timeout: 120
"""Interrupts of a device in user space: INTx, MSI, and MSI-X of many vectors."""
import inside
from inside import device
from owner import Owner, give_back, take

SILENCE_MS = 300  # long enough for an interrupt that must not come


def raised_and_seen(owner, edu, times):
    for _ in range(times):
        owner.do("raise", edu)
        owner.do("wait", edu, 10000)
    owner.refused("IRQ-NONE", "wait", edu, SILENCE_MS)


def test(_):
    edu, nvme = device("edu_a"), device("nvme")
    take(edu, nvme)
    with Owner() as owner:
        owner.open_master(edu)
        owner.do("irq", edu, "intx")
        raised_and_seen(owner, edu, 3)
        owner.do("irq", edu, "msi")
        raised_and_seen(owner, edu, 3)
        # No edu has MSI-X: that is said, and the other goes on.
        owner.refused("INTERNAL", "irq", edu, "msix")
        owner.do("irq", edu, "msi")
        owner.do("reset", edu)
        owner.do("check", edu)
        owner.do("master", edu, "on")
        owner.do("irq", edu, "intx")
        raised_and_seen(owner, edu, 1)
    give_back(edu, nvme)
    return "INTx and MSI, one for one"


inside.main(test)
