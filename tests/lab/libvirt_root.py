# SPDX-License-Identifier: GPL-2.0-or-later
"""A root of a newer Debian with its libvirt and QEMU, to chroot into: unpacked, not installed."""
import pathlib
import shutil

from guest import cache

from . import roots

PACKAGES = (
    "base-files base-passwd coreutils dash libjson-c5 libvirt-clients libvirt-daemon "
    "libvirt-daemon-driver-qemu mount qemu-system-x86 qemu-utils util-linux"
).split()


def libvirt():
    """The root; its libvirtd is 11.3 where QEMU_RELEASE is Debian 13."""

    def build(work):
        root = work / "root"
        roots._unpack(root, [roots.QEMU_RELEASE], PACKAGES, "amd64")
        for name in ("passwd", "group"):  # what maintainer scripts would have made
            shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)

    key = cache.digest(pathlib.Path(__file__), roots.QEMU_RELEASE)
    return cache.entry(f"libvirt-{key}", build) / "root"
