# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices of a lab host, as QEMU is told of them and as a topic finds them again.

Every role has a root port of its own, at a fixed slot of bus 0: that is how a topic finds its
devices whatever driver they have, or none; their bus numbers are the firmware's choice.
"""
import typing

# What the devices are to the kernel: vendor and device ID in sysfs.
NVME, IGB, EDU = ("0x1b36", "0x0010"), ("0x8086", "0x10c9"), ("0x1234", "0x11e8")
VIRTIO_RNG = ("0x1af4", "0x1044")

# A bus of the root port, and the conventional bus of the bridge behind it.
_BRIDGED = "pcie-pci-bridge,id=bridge,bus={bus},addr=0"
_EDU = "edu,dma_mask=0xffffffffffffffff,bus={bus}"


class Role(typing.NamedTuple):
    """One root port and what is behind it."""

    slot: int
    ids: tuple  # vendor, device
    words: tuple  # -device arguments; {bus} is the root port's bus
    port: str | None = ""  # options of the root port itself; None: on the root bus, without one
    count: int = 1  # functions with these IDs behind the port


ROLES = {
    # Free to be given away: an NVMe disk with four VFs, a network card with seven.
    "nvme": Role(
        0x10,
        NVME,
        (
            "nvme-subsys,id=subsys,nqn=lab",
            "nvme,id=data,serial=lab-data,bus={bus},subsys=subsys,sriov_max_vfs=4,"
            "sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=10,msix_qsize=20",
            "nvme-ns,bus=data,drive=data",
        ),
    ),
    "igb": Role(0x11, IGB, ("igb,id=igb,bus={bus},netdev=net0,mac=52:54:00:1a:b0:00",)),
    # What the host stands on: the disk beneath /, the interface of the default route.
    "root": Role(0x12, NVME, ("nvme,serial=lab-root,bus={bus},drive=root",)),
    "uplink": Role(0x13, IGB, ("igb,bus={bus},netdev=net1,mac=52:54:00:1a:b0:01",)),
    # DMA and interrupts on command. Two that reach all memory, one that has 28 address bits.
    "edu_a": Role(0x14, EDU, (_EDU,)),
    "edu_b": Role(0x15, EDU, (_EDU,)),
    "edu28": Role(0x16, EDU, ("edu,bus={bus}",)),
    # Groups that cannot be split: two behind one bridge, two functions of one device.
    "pair": Role(
        0x17,
        EDU,
        (
            _BRIDGED,
            _EDU.replace("{bus}", "bridge") + ",addr=1",
            _EDU.replace("{bus}", "bridge") + ",addr=2",
        ),
        count=2,
    ),
    "functions": Role(
        0x18, EDU, (_EDU + ",addr=0.1", _EDU + ",addr=0.0,multifunction=on"), count=2
    ),
    # One behind a root port that does not promise to keep it apart.
    "noacs": Role(0x19, EDU, (_EDU,), port=",disable-acs=on"),
    # One that nothing can reset.
    "bare": Role(0x1A, EDU, (_EDU,), port=None),
    # One that reports errors of PCI Express (AER): of QEMU's devices only virtio's can.
    "reports": Role(
        0x1B,
        VIRTIO_RNG,
        ("virtio-rng-pci,id=reports,aer=on,disable-legacy=on,iommu_platform=on,bus={bus}",),
    ),
}
# The same where QEMU cannot make such a root port: a switch that does not promise it either.
_SWITCHED = Role(
    0x19,
    EDU,
    (
        "x3130-upstream,id=switch,bus={bus}",
        "xio3130-downstream,id=switched,bus=switch,chassis=99",
        _EDU.replace("{bus}", "switched"),
    ),
)


def words(disable_acs=True):
    """QEMU's words for all of them; drives `data`, `root` and netdevs are the caller's. Not every
    QEMU has root ports with disable-acs."""
    roles = ROLES if disable_acs else {**ROLES, "noacs": _SWITCHED}
    for name, role in roles.items():
        bus = f"port-{name}"
        if role.port is None:
            yield from (word.format(bus=f"pcie.0,addr={role.slot:#x}.0") for word in role.words)
            continue
        yield f"pcie-root-port,id={bus},addr={role.slot:#x}.0,chassis={role.slot}{role.port}"
        for device in role.words:
            yield device.format(bus=bus)
