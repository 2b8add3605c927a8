# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab host boots: a kernel with its modules, an initramfs, an empty disk."""
import pathlib
import subprocess
import typing

from guest import cache, cpio, image

INIT = pathlib.Path(__file__).with_name("init")
# What the root needs, in this order: an IOMMU must have its driver before the devices have theirs.
MODULES = (
    "virtio_iommu",
    "virtio_pci",
    "virtio_console",
    "9pnet_virtio",
    "9p",
    "overlay",
    "nvme",
    "ext4",
)
METAPACKAGES = {"x86_64": ("linux-image-amd64", None), "arm64": ("linux-image-arm64", "arm64")}


class Kernel(typing.NamedTuple):
    image: pathlib.Path
    modules: pathlib.Path  # lib/modules/VERSION

    @property
    def version(self):
        return self.modules.name

    @property
    def tree(self):
        """What depmod and modprobe call the base directory."""
        return self.modules.parents[2]


def debian(architecture):
    """The kernel of Debian's backports."""
    return kernel_in(image.kernel_tree(*METAPACKAGES[architecture]))


def kernel_in(tree):
    """The one kernel that lies in a directory as in a root."""
    return Kernel(
        next(tree.glob("boot/vmlinu[xz]-*")), next(tree.glob("lib/modules/*/modules.dep")).parent
    )


def initramfs(kernel, busybox):
    """The initramfs of a kernel, with this static busybox; the path of its file."""
    busybox = pathlib.Path(busybox)

    def build(work):
        archive = cpio.Archive()
        for path in ("proc", "sys", "dev", "modules"):
            archive.directory(path)
        archive.device("dev/console", 5, 1)
        archive.file("init", INIT.read_bytes(), 0o755)
        archive.file("bin/busybox", busybox.read_bytes(), 0o755)
        archive.symlink("bin/sh", "busybox")
        order = image.insmod_order(kernel.modules, MODULES)
        for path in order:
            name = path.name.removesuffix(".xz")
            archive.file(f"modules/{name}", image.module_bytes(path))
        names = "".join(path.name.removesuffix(".xz") + "\n" for path in order)
        archive.file("modules/order", names.encode())
        (work / "initramfs").write_bytes(archive.bytes())

    key = cache.digest(INIT, pathlib.Path(__file__), str(kernel.tree), kernel.version, busybox)
    return cache.entry(f"lab-initramfs-{key}", build) / "initramfs"


def disk(path, mebibytes, filesystem=False):
    """An empty disk, with an empty ext4 on it if told so."""
    with open(path, "wb") as file:
        file.truncate(mebibytes << 20)
    if filesystem:
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", path], check=True)
    return path
