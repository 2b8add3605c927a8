# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# timeout: 300
# needs: asking
"""Another card of the same make in the slot of one that is attached is never taken for it."""
import inside
from inside import PCI, Iovd, Monitor, device, expect, expect_equal, wait_for
from vmms import attached, shown, wait_state

# The slot is that of a role; what QEMU puts in has a serial number made of its address.
SLOT, USUAL = "reports", "virtio-rng-pci,id=reports,aer=on,disable-legacy=on,iommu_platform=on"
CARD = "e1000e,id=reports,mac=52:54:00:1a:b0:{:02x}"
OURS, ANOTHER = CARD.format(0x0A), CARD.format(0x0B)


def swap(monitor, bdf, words):
    """Out of the slot, and another one in."""
    expect_equal(monitor.tell("device_del reports"), "", "device_del")
    wait_for(lambda: not (PCI / bdf).exists(), f"{bdf} to be gone", 60)
    # QEMU's own end of the device comes a moment after the kernel's.
    wait_for(lambda: 'id "reports"' not in monitor.tell("info qtree"), "QEMU to be rid of it", 60)
    expect_equal(monitor.tell(f"device_add {words},bus=port-{SLOT}"), "", "device_add")
    wait_for(lambda: (PCI / bdf).exists(), f"a card at {bdf}", 60)


def wait_refused(iovd, attachment, bdf):
    """It is tried again and again; what is said last counts."""
    told = lambda: shown(iovd, attachment)["pending_action"] or ""  # noqa: E731
    wait_for(lambda: f"another device is at {bdf}" in told(), "the other card to be refused", 120)
    expect_equal(shown(iovd, attachment)["state"], "failed", "state of the attachment")


def check(iovd, monitor, bdf):
    with attached(iovd, bdf, "vm1") as attachment:
        serial = shown(iovd, attachment)["serial"]
        expect(serial, "the card says no serial number")
        swap(monitor, bdf, ANOTHER)
        wait_refused(iovd, attachment, bdf)
        # While no daemon looks, the right one comes, and the wrong one.
        iovd.stop()
        swap(monitor, bdf, OURS)
        swap(monitor, bdf, ANOTHER)
        iovd.start()
        wait_refused(iovd, attachment, bdf)
        swap(monitor, bdf, OURS)
        wait_state(iovd, attachment, "ready", 120)
        expect_equal(shown(iovd, attachment)["serial"], serial, "serial number")
    return serial


def test(scratch):
    bdf = device(SLOT)
    with Iovd(scratch) as iovd, Monitor() as monitor:
        swap(monitor, bdf, OURS)
        try:
            serial = check(iovd, monitor, bdf)
        finally:
            swap(monitor, bdf, USUAL)
    return f"{serial} was told from another"


inside.main(test)
