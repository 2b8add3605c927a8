# SPDX-License-Identifier: GPL-2.0-or-later
"""libblkio, the independent vhost-user client library, from Debian 13's packages.

Debian 12 has none, and its C library is older than the one libblkio needs. So the packages are
unpacked into a directory together with their own C library, and what is linked against them is
started by that set's own dynamic loader.
"""
import subprocess

from . import apt, cache

SUITE = "trixie"
PACKAGES = ("libblkio1", "libblkio-dev", "libc6", "libgcc-s1", "zlib1g")
TRIPLET = "x86_64-linux-gnu"
# What a program of ours needs of it at run time.
LIBRARIES = ("libblkio.so.1", "libc.so.6", "libgcc_s.so.1")


class Package:
    """The unpacked set, and how to compile against it and run on it."""

    def __init__(self, root):
        self.root = root
        self.include = root / "usr/include"
        self._lib = root / "usr/lib" / TRIPLET
        self.pkgconfig = self._lib / "pkgconfig"
        # The library's own symbols come from a newer libc than the one that links here.
        self.link_flags = f"-L{self._lib} -Wl,--allow-shlib-undefined"

    def run(self, program, *words):
        """The command that starts a program on this set's C library."""
        loader = self._lib / "ld-linux-x86-64.so.2"
        return [str(loader), "--library-path", str(self._lib), str(program), *map(str, words)]

    def compile(self, source, output):
        """Builds a small C program against the library."""
        words = ["-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror"]
        words += [f"-I{cache.TOP}", f"-isystem{self.include}"]
        link = [*self.link_flags.split(), "-lblkio"]
        subprocess.run(["cc", *words, source, "-o", output, *link], check=True)


def package():
    """Fetches and unpacks the set, once."""

    def build(work):
        apt.Apt(SUITE).unpack(PACKAGES, work)

    return Package(cache.entry(f"libblkio-{cache.digest(SUITE, *PACKAGES)}", build))


def client(name="blkio_client"):
    """The command of one of our own small clients (tests/e2e/NAME.c)."""
    library = package()
    source = cache.TOP / f"tests/e2e/{name}.c"
    headers = sorted(source.parent.glob("*.h"))
    key = f"{name.replace('_', '-')}-{cache.digest(source, *headers, library.root.name)}"
    built = cache.entry(key, lambda work: library.compile(source, work / name))
    return library.run(built / name)
