# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 120
"""Interrupts of a device in user space: INTx, MSI, and MSI-X of many vectors."""
import inside
from inside import device, expect
from owner import Owner, give_back, take

SILENCE_MS = 300  # long enough for an interrupt that must not come


def raised_and_seen(owner, edu, times):
    for _ in range(times):
        owner.do("raise", edu)
        owner.do("wait", edu, 10000)
    owner.refused("IRQ-NONE", "wait", edu, SILENCE_MS)


# Registers of igb's BAR 0: interrupt mode, causes to set, mask to set; multiple MSI-X vectors.
GPIE, EICS, EIMS, MULTIPLE = 0x1514, 0x1520, 0x1524, 1 << 4


def many_vectors(owner, igb):
    """Every MSI-X vector of a network card, raised by its register; no other comes with it."""
    count = int(owner.do("vectors", igb, "msix", 0)[0])
    expect(count > 4, f"{igb} has {count} MSI-X vectors")
    count = min(count, 8)
    owner.do("master", igb, "on")
    owner.do("vectors", igb, "msix", count)
    owner.do("at", igb, 0, GPIE, 4, MULTIPLE)
    owner.do("at", igb, 0, EIMS, 4, (1 << count) - 1)
    for vector in reversed(range(count)):
        owner.do("at", igb, 0, EICS, 4, 1 << vector)
        owner.do("event", igb, vector, 10000)
    for vector in range(count):
        owner.refused("IRQ-NONE", "event", igb, vector, 0)
    return count


def test(_):
    edu, igb = device("edu_a"), device("igb")
    take(edu, igb)
    with Owner() as owner:
        owner.open_master(edu)
        owner.do("irq", edu, "intx")
        raised_and_seen(owner, edu, 3)
        owner.do("irq", edu, "msi")
        raised_and_seen(owner, edu, 3)
        # No edu has MSI-X: that is said.
        owner.refused("INTERNAL", "irq", edu, "msix")
        owner.do("reset", edu)
        owner.do("check", edu)
        owner.do("master", edu, "on")
        owner.do("irq", edu, "intx")
        raised_and_seen(owner, edu, 1)
        owner.open(igb)
        count = many_vectors(owner, igb)
    give_back(edu, igb)
    return f"INTx, MSI and {count} vectors of MSI-X, one for one"


inside.main(test)
