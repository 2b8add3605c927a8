# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts of the lab: which machine, which IOMMU, which kernel, which kernel arguments.

A host's full name is IOMMU[-own][+VARIANT...]: `vtd`, `vtd-own`, `vtd+pt`.
"""
import typing

from lib.proc import Failed

from . import images


class Iommu(typing.NamedTuple):
    """A machine with one kind of IOMMU."""

    architecture: str
    machine: str
    devices: tuple  # -device words that come before all others
    append: str  # kernel arguments that it needs


IOMMUS = {
    "vtd": Iommu(
        "x86_64",
        "q35,kernel-irqchip=split",
        ("intel-iommu,intremap=on,caching-mode=on",),
        "console=ttyS0 intel_iommu=on no_timer_check",
    ),
}

# How the same machine can be booted otherwise.
VARIANTS = {"pt": "iommu=pt", "strict": "iommu.strict=1"}


class Host(typing.NamedTuple):
    """A lab host, as it is asked for by name."""

    name: str
    iommu: str  # vtd, amdvi, virtio, smmuv3
    kernel: str  # debian, own
    variants: tuple

    @property
    def machine(self):
        return IOMMUS[self.iommu]

    @property
    def append(self):
        return " ".join((self.machine.append, *(VARIANTS[name] for name in self.variants)))

    def kernel_image(self):
        return images.debian(self.machine.architecture)


def parse(name):
    """The host of a full name."""
    base, *variants = name.split("+")
    iommu, _, own = base.partition("-")
    if iommu not in IOMMUS or own not in ("", "own") or not set(variants) <= set(VARIANTS):
        raise Failed(
            f"no lab host named '{name}': it is one of {', '.join(IOMMUS)}, with -own for the lab's "
            f"own kernel, and with {', '.join('+' + v for v in VARIANTS)} for other kernel arguments"
        )
    return Host(name, iommu, "own" if own else "debian", tuple(variants))
