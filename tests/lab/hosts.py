# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts of the lab: which machine, which IOMMU, which kernel, which kernel arguments.

A host's full name is IOMMU[-own][+VARIANT...]: `vtd`, `vtd-own`, `vtd+pt`.
"""
import os
import pathlib
import typing

from guest import cache, image
from lib import guest
from lib.proc import Failed, need

from . import cross, images, kernels, roots

# The kernel's own look whether timer interrupts come is too short on a busy machine.
X86_APPEND = "console=ttyS0 no_timer_check"
EFI_ARM64 = pathlib.Path("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")


class Platform(typing.NamedTuple):
    """What a host needs besides its IOMMU: functions, since all of it may have to be made first."""

    qemu: typing.Callable  # () -> (words, environment)
    processor: typing.Callable  # (kernel) -> (accelerator, processor, how many)
    root: typing.Callable  # () -> the folder that is beneath its overlay
    build: typing.Callable  # () -> the build folder of iovd for it
    busybox: typing.Callable  # () -> a static busybox for it


def _processor(kernel):
    """One under TCG: with two, QEMU's lost the timer of the second now and then, and the host hung."""
    accelerator, processor = guest.accelerator(kernel.image)
    return accelerator, processor, 1 if accelerator.startswith("tcg") else 2


def _build():
    return pathlib.Path(os.environ["IOVD_BUILD"]).absolute()


def _qemu_x86_64():
    return [need("qemu-system-x86_64", "qemu-system-x86")], {}


def _qemu_arm64():
    """With UEFI and ACPI, as servers have it."""
    program = need("qemu-system-aarch64", "qemu-system-arm")
    if not EFI_ARM64.exists():
        raise cache.Unavailable(f"no {EFI_ARM64} (package qemu-efi-aarch64)")
    return [program, "-bios", str(EFI_ARM64)], {}


X86_64 = Platform(_qemu_x86_64, _processor, lambda: pathlib.Path("/"), _build, image.busybox)
PLATFORMS = {
    "x86_64": X86_64,
    # QEMU before 11 has no DMA remapping in its AMD IOMMU.
    "x86_64 by a newer QEMU": X86_64._replace(qemu=roots.qemu),
    "arm64": Platform(
        _qemu_arm64,
        # One processor: under TCG that is what makes it fast.
        lambda kernel: ("tcg,thread=multi", "cortex-a57", 1),
        roots.arm64,
        cross.build,
        lambda: roots.arm64() / "usr/bin/busybox",
    ),
}


class Iommu(typing.NamedTuple):
    """A machine with one kind of IOMMU."""

    architecture: str
    platform: str
    machine: str
    devices: tuple  # -device words that come before all others
    append: str  # kernel arguments that it needs


IOMMUS = {
    "vtd": Iommu(
        "x86_64",
        "x86_64",
        "q35,kernel-irqchip=split",
        ("intel-iommu,intremap=on,caching-mode=on",),
        f"{X86_APPEND} intel_iommu=on",
    ),
    "amdvi": Iommu(
        "x86_64",
        "x86_64 by a newer QEMU",
        "q35,kernel-irqchip=split",
        ("amd-iommu,intremap=on,dma-remap=on",),
        X86_APPEND,
    ),
    "virtio": Iommu(
        "x86_64",
        "x86_64",
        "q35",
        ("virtio-iommu-pci",),
        # It has no interrupt remapping; which of the two is asked is the kernel's choice.
        f"{X86_APPEND} vfio_iommu_type1.allow_unsafe_interrupts=1 iommufd.allow_unsafe_interrupts=1",
    ),
    "smmuv3": Iommu(
        "arm64", "arm64", "virt,iommu=smmuv3,gic-version=3", (), "console=ttyAMA0"
    ),
}

# How the same machine can be booted otherwise.
SYSTEMD = "systemd"  # boots it, with iovd installed (booted.py)
VARIANTS = {"pt": "iommu=pt", "strict": "iommu.strict=1", SYSTEMD: "lab.systemd"}


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
    def platform(self):
        return PLATFORMS[self.machine.platform]

    @property
    def has_systemd(self):
        return SYSTEMD in self.variants

    @property
    def append(self):
        return " ".join((self.machine.append, *(VARIANTS[name] for name in self.variants)))

    def kernel_image(self):
        build = kernels.own if self.kernel == "own" else images.debian
        return build(self.machine.architecture)


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
