# SPDX-License-Identifier: GPL-2.0-or-later
"""fio, built from Debian's source, in the two forms that Debian's own binary does not have.

For guests it is static (no thirty megabytes of libraries in an initramfs) and built for any x86-64
processor. For the bench it has the libblkio engine and is linked against the unpacked libblkio.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import apt, blkio, cache

# Newest last: a mirror may no longer have the tarball of a suite that is still listed.
SUITES = ("sid", "trixie", "forky")
WITHOUT = (
    "numa",
    "http",
    "rdma",
    "rados",
    "rbd",
    "gfapi",
    "libnfs",
    "pmem",
    "libzbc",
    "tcmalloc",
    "xnvme",
    "isal",
    "isal64",
    "shm",
    "dfs",
)


def _source():
    """The directory with fio's tarball."""

    def fetch(work):
        errors = []
        for suite in reversed(SUITES):
            try:
                apt.Apt(suite, "deb-src").source_tar("fio", work)
                return
            except cache.Unavailable as error:
                errors.append(str(error))
        raise cache.Unavailable("no source of fio: " + "; ".join(errors))

    return next(cache.entry("fio-source", fetch).glob("fio_*.orig.tar.*"))


def _compile(work, *options, **environment):
    """Unpacks, configures and builds; leaves WORK/fio."""
    cache.progress("build fio " + " ".join(options))
    with tempfile.TemporaryDirectory(dir=cache.root()) as tree:
        steps = (
            ["tar", "xf", _source(), "-C", tree, "--strip-components=1"],
            [
                "./configure",
                "--disable-native",
                *(f"--disable-{name}" for name in WITHOUT),
                *options,
            ],
            ["make", f"-j{os.cpu_count()}", "fio"],
        )
        for step in steps:
            done = subprocess.run(
                step,
                cwd=tree,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=900,
            )
            if done.returncode:
                raise cache.Unavailable(f"fio: {step[0]}: {(done.stderr or done.stdout)[-400:]}")
        subprocess.run(["strip", "-o", work / "fio", pathlib.Path(tree) / "fio"], check=True)


def static():
    """fio for guests."""
    name = f"fio-static-{cache.digest(_source().name, *WITHOUT)}"
    return (
        cache.entry(name, lambda work: _compile(work, "--build-static", "--disable-libblkio"))
        / "fio"
    )


def for_guest():
    """[(source, path in the guest)]: the static fio; the installed one where its source is gone."""
    try:
        return [(static(), "/bin/fio")]
    except cache.Unavailable as error:
        installed = shutil.which("fio")
        if not installed:
            raise cache.Unavailable(f"{error}; and no fio is installed") from error
        cache.progress(f"take the installed fio ({error})")
        listing = subprocess.run(
            ["ldd", installed], capture_output=True, text=True, check=True
        ).stdout
        libraries = [
            word for line in listing.splitlines() for word in line.split() if word.startswith("/")
        ]
        return [(installed, "/bin/fio")] + [(library, library) for library in libraries]


def with_libblkio():
    """The command (list of words) of a fio that has the libblkio engine."""
    library = blkio.package()

    def build(work):
        _compile(
            work,
            f"--extra-cflags=-I{library.include} {library.link_flags}",
            PKG_CONFIG_PATH=str(library.pkgconfig),
            LDFLAGS=library.link_flags,
        )
        engines = subprocess.run(
            library.run(work / "fio", "--enghelp"), capture_output=True, text=True, check=True
        ).stdout
        if "libblkio" not in engines:
            raise cache.Unavailable("fio was built, but without the libblkio engine")

    name = f"fio-libblkio-{cache.digest(_source().name, library.root.name, *WITHOUT)}"
    return library.run(cache.entry(name, build) / "fio")
