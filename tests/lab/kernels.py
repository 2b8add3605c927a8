# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own kernel: Debian's source, built with the fragments of kernel/.

Everything that a fragment does not name is off, and every line of a fragment must come out as it
is written there: one that Kconfig drops silently would be a lab that tests something else.
"""
import functools
import os
import pathlib
import subprocess
import tempfile

from guest import apt, cache

from . import images

HERE = pathlib.Path(__file__).with_name("kernel")
PACKAGE = "linux-source-6.12"
BUILD_SECONDS = 3600


class Target:
    """An architecture, in the kernel's words."""

    def __init__(self, arch, image, make=()):
        self.arch, self.image, self.make = arch, image, make


TARGETS = {
    "x86_64": Target("x86", "arch/x86/boot/bzImage"),
    "arm64": Target("arm64", "arch/arm64/boot/Image", ("CROSS_COMPILE=aarch64-linux-gnu-",)),
}


@functools.cache
def _suite():
    return apt.Apt(f"{apt.codename()}-backports")


def _source(tree):
    """Unpacks the source into a directory."""
    with tempfile.TemporaryDirectory(dir=cache.root()) as work:
        _suite().unpack([PACKAGE], work)
        tarball = next(pathlib.Path(work).glob("usr/src/linux-source-*.tar.xz"))
        cache.progress(f"unpack {tarball.name}")
        subprocess.run(
            ["tar", "xf", tarball, "-C", tree, "--strip-components=1"], check=True
        )


def fragments(architecture):
    return [HERE / "common.config", HERE / f"{architecture}.config"]


def dropped(wanted, config):
    """The lines of the fragments' text that are not in the finished configuration."""
    have = set(config.splitlines())
    return [line for line in wanted.splitlines() if line.startswith("CONFIG_") and line not in have]


def _make(tree, target, *words):
    argv = ["nice", "make", "-s", f"-j{os.cpu_count()}", f"ARCH={target.arch}", *target.make, *words]
    done = subprocess.run(
        [str(word) for word in argv], cwd=tree, capture_output=True, text=True,
        timeout=BUILD_SECONDS,
    )
    if done.returncode:
        raise cache.Unavailable(f"the lab's kernel: make {words[-1]}: {done.stderr[-1000:]}")


def _compile(work, architecture):
    """Configures, builds, installs into work: boot/vmlinuz-VERSION, lib/modules/VERSION."""
    target = TARGETS[architecture]
    with tempfile.TemporaryDirectory(dir=cache.root()) as name:
        tree = pathlib.Path(name)
        _source(tree)
        wanted = "".join(path.read_text() for path in fragments(architecture))
        (tree / "lab.config").write_text(wanted)
        _make(tree, target, "KCONFIG_ALLCONFIG=lab.config", "allnoconfig")
        lost = dropped(wanted, (tree / ".config").read_text())
        if lost:
            raise cache.Unavailable(f"the lab's kernel: Kconfig drops {', '.join(lost)}")
        cache.progress(f"build the lab's own kernel for {architecture}")
        _make(tree, target)
        _make(tree, target, f"INSTALL_MOD_PATH={work}", "modules_install")
        (version,) = (path.name for path in (work / "lib/modules").iterdir())
        (work / "lib/modules" / version / "build").unlink(missing_ok=True)
        (work / "boot").mkdir()
        (tree / target.image).rename(work / "boot" / f"vmlinuz-{version}")


def own(architecture):
    """The lab's own kernel, built if it is not in the cache."""
    version = _suite().show(PACKAGE)["Version"]
    key = cache.digest(architecture, version, *fragments(architecture))
    tree = cache.entry(f"lab-kernel-{key}", lambda work: _compile(work, architecture))
    return images.kernel_in(tree)
