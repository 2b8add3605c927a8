#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the test guests: a kernel and an initramfs, from Debian packages, nothing installed.

    image.py            builds what is missing and prints the paths

The QEMU guest runs Debian's cloud kernel of the backports; the User-Mode Linux guest runs the
kernel of the package user-mode-linux. Both get the same initramfs: busybox, fio, the disk driver,
our init.
"""
import lzma
import pathlib
import platform
import shutil
import subprocess
import sys
import typing

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from guest import apt, blkio, cache, cpio, fio  # noqa: E402

INIT = pathlib.Path(__file__).with_name("init")
METAPACKAGE = "linux-image-cloud-amd64"
# Disks and a network: virtio, and what a lab host gives away.
MODULES = ("virtio_blk", "virtio_net", "nvme")
# A kernel with the drivers of hardware, and those that a lab host's and QEMU's own devices need.
FULL_METAPACKAGE = "linux-image-amd64"
FULL_MODULES = (*MODULES, "igbvf", "e1000e", "ahci", "sd_mod")


class Image(typing.NamedTuple):
    kernel: pathlib.Path
    initramfs: pathlib.Path


def busybox():
    """A busybox that needs no library."""
    path = shutil.which("busybox")
    # ldd fails on what needs no library: just what an initramfs wants.
    if not path or subprocess.run(["ldd", path], capture_output=True).returncode == 0:
        raise cache.Unavailable("no static busybox (package busybox-static)")
    return path


def module_bytes(path):
    """A kernel module, unpacked: busybox's insmod takes no .xz."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def insmod_order(modules, names):
    """The files of some modules and of all that they need, in the order in which to load them.
    `modules` is a lib/modules/VERSION, with its index."""
    order = []
    for name in names:
        argv = ["modprobe", "-d", modules.parents[2], "-S", modules.name, "--show-depends", name]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise cache.Unavailable(f"{modules.name} has no {name}: {done.stderr.strip()}")
        for line in done.stdout.splitlines():
            kind, path = line.split()[:2]
            if kind == "insmod" and path not in order:
                order.append(path)
    return [pathlib.Path(path) for path in order]


def _initramfs(output, modules):
    archive = cpio.Archive()
    for path in ("proc", "sys", "tmp", "mnt", "dev"):
        archive.directory(path)
    archive.device("dev/console", 5, 1)
    archive.device("dev/null", 1, 3)
    archive.file("init", INIT.read_bytes(), 0o755)
    archive.copy(busybox(), "bin/busybox")
    archive.symlink("bin/sh", "busybox")
    for source, path in fio.for_guest():
        archive.copy(source, path)
    for number, path in enumerate(modules):  # init loads them as they are named
        archive.file(f"modules/{number:02}-{path.name.split('.')[0]}.ko", module_bytes(path))
    output.write_bytes(archive.bytes())


def _key(*parts):
    here = pathlib.Path(__file__)
    return cache.digest(
        INIT,
        here,
        here.with_name("cpio.py"),
        pathlib.Path(busybox()),
        *(pathlib.Path(source) for source, _ in fio.for_guest()),
        *parts,
    )


def kernel_tree(metapackage=METAPACKAGE, architecture=None):
    """The unpacked kernel package of the backports that a metapackage stands for; modprobe -d can
    work in it."""

    def build(work):
        suite = apt.Apt(f"{apt.codename()}-backports", architecture=architecture)
        name = suite.show(metapackage)["Depends"].split(",")[0].split()[0].split(":")[0]
        suite.unpack([name], work)
        version = next(work.glob("lib/modules/*")).name
        subprocess.run(["depmod", "-b", work, version], check=True)

    return cache.entry(f"kernel-{cache.digest(apt.codename(), metapackage, 'depmod')}", build)


def qemu(metapackage=METAPACKAGE, names=MODULES):
    """The image for QEMU."""
    if platform.machine() != "x86_64":
        raise cache.Unavailable("test guests are built for x86-64 only")
    tree = kernel_tree(metapackage)
    kernel = next(tree.glob("boot/vmlinuz-*"))
    path = cache.entry(
        f"guest-{_key(kernel.name, *names)}",
        lambda work: _initramfs(
            work / "initramfs", insmod_order(next(tree.glob("lib/modules/*")), names)
        ),
    )
    return Image(kernel, path / "initramfs")


def qemu_full():
    """The same with drivers for network cards and SATA disks."""
    return qemu(FULL_METAPACKAGE, FULL_MODULES)


def qemu_vf():
    """The same kernel with nothing but drivers for a virtual function and its standby."""
    return qemu(FULL_METAPACKAGE, ("virtio_net", "igbvf"))


def qemu_history():
    """The same as qemu() with the history checker: `checker DISK until=PATH [key=value]...`."""
    base, command = qemu(), [pathlib.Path(word) for word in blkio.client("history_client")]
    # Not where they are here: there is another file system over /tmp later.
    loader, _, libraries, program = command
    files = [loader, program, *(libraries / name for name in blkio.LIBRARIES)]

    def build(work):
        archive = cpio.Archive()
        for path in files:
            archive.copy(path, f"history/{path.name}")
        start = f"/history/{loader.name} --library-path /history /history/{program.name}"
        archive.file("bin/checker", f'#!/bin/sh\nexec {start} "$@"\n'.encode(), 0o755)
        # The kernel unpacks one archive after the other.
        (work / "initramfs").write_bytes(base.initramfs.read_bytes() + archive.bytes())

    key = cache.digest(pathlib.Path(__file__), base.initramfs.parent.name, program.parent.name)
    return Image(base.kernel, cache.entry(f"guest-history-{key}", build) / "initramfs")


def uml():
    """The image for User-Mode Linux."""
    kernel = shutil.which("linux.uml")
    if not kernel:
        raise cache.Unavailable("no linux.uml (package user-mode-linux)")
    version = subprocess.run(
        [kernel, "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    tree = pathlib.Path("/usr/lib/uml/modules") / version
    modules = sorted(tree.rglob("virtio_blk.ko*"))
    path = cache.entry(f"uml-{_key(version)}", lambda work: _initramfs(work / "initramfs", modules))
    return Image(pathlib.Path(kernel), path / "initramfs")


if __name__ == "__main__":
    for image in (qemu(), uml()):
        print(*image)
