# SPDX-License-Identifier: GPL-2.0-or-later
"""Roots of other Debians in a directory: unpacked, never installed, nothing of them run as root.

    arm64()   what a lab host of that architecture has beneath its overlay, and what iovd is
              cross-built against
    qemu()    a QEMU that is newer than the machine's Debian has
"""
import pathlib
import shutil
import subprocess

from guest import apt, cache

# What topics and iovd run on, and what iovd is built from.
ARM64_RUN = (
    "base-files base-passwd busybox-static coreutils dash e2fsprogs iproute2 kmod mount procps python3 "
    "util-linux"
).split()
ARM64_BUILD = (
    "check libc6-dev libcap-ng-dev libevent-dev libjson-c-dev libkmod-dev libnl-3-dev libnl-genl-3-dev "
    "libnl-route-3-dev libpci-dev libseccomp-dev libsqlite3-dev libsystemd-dev liburing-dev "
    "libvirt-dev"
).split()
QEMU_RELEASE = "trixie"
QEMU_PACKAGES = ("qemu-system-x86",)
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
FETCH_SECONDS = 1200


def _unpack(into, suites, packages, architecture):
    """Unpacks packages with all that they depend on; those of the last suite are preferred."""
    if not shutil.which("mmdebstrap"):
        raise cache.Unavailable("no mmdebstrap")
    cache.progress(f"a root of {suites[-1]} for {architecture}")
    argv = [
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        f"--architectures={architecture}",
        f"--include={','.join(packages)}",
        f'--aptopt=APT::Default-Release "{suites[-1]}"',
        f"--hook-dir={MERGED_USR}",
        suites[0],
        str(into),
        *(apt.entry(suite) for suite in suites),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=FETCH_SECONDS)
    if done.returncode:
        raise cache.Unavailable(f"mmdebstrap: {done.stderr.strip()[-600:]}")


def arm64():
    """A root for arm64, of the machine's own release, with the kernel headers of its backports."""
    codename = apt.codename()

    def build(work):
        root = work / "root"
        _unpack(root, [codename], [*ARM64_RUN, *ARM64_BUILD], "arm64")
        apt.Apt(f"{codename}-backports", architecture="arm64").unpack(["linux-libc-dev"], root)
        # What maintainer scripts would have made.
        for name in ("passwd", "group"):
            shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)

    key = cache.digest(pathlib.Path(__file__), codename)
    return cache.entry(f"lab-arm64-{key}", build) / "root"


def qemu():
    """([words that run it], environment) of the newer qemu-system-x86_64."""
    suites = [QEMU_RELEASE, f"{QEMU_RELEASE}-backports"]

    def build(work):
        _unpack(work / "root", suites, QEMU_PACKAGES, "amd64")

    key = cache.digest(pathlib.Path(__file__), *suites)
    root = cache.entry(f"lab-qemu-{key}", build) / "root"
    libraries = root / "usr/lib/x86_64-linux-gnu"
    words = [root / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries]
    data = [word for name in ("qemu", "seabios") for word in ("-L", root / "usr/share" / name)]
    return (
        [*map(str, words), str(root / "usr/bin/qemu-system-x86_64"), *map(str, data)],
        {"QEMU_MODULE_DIR": str(libraries / "qemu")},
    )
