# SPDX-License-Identifier: GPL-2.0-or-later
"""iovd cross-built for the arm64 lab host, against the libraries of its root."""
import functools
import os
import pathlib
import shutil
import subprocess

from guest import cache
from lib.proc import Failed

from . import roots

TOP = pathlib.Path(__file__).resolve().parents[2]
TRIPLET = "aarch64-linux-gnu"


def _run(argv, build, environment):
    done = subprocess.run(
        ["nice", *map(str, argv)], cwd=build, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise Failed(f"arm64 build: {argv[0]}: {done.stderr[-1500:] or done.stdout[-500:]}")


def _environment(root):
    """pkg-config looks in the root, and only there."""
    folders = (root / f"usr/lib/{TRIPLET}/pkgconfig", root / "usr/share/pkgconfig")
    return {
        **os.environ,
        "PKG_CONFIG_LIBDIR": ":".join(map(str, folders)),
        "PKG_CONFIG_SYSROOT_DIR": str(root),
    }


@functools.cache
def build():
    """Builds what has changed since the last time; the build folder."""
    if not shutil.which(f"{TRIPLET}-gcc"):
        raise cache.Unavailable(f"no {TRIPLET}-gcc (package gcc-{TRIPLET})")
    root = roots.arm64()
    folder = pathlib.Path(os.environ["IOVD_BUILD"]).absolute() / "lab-arm64"
    folder.mkdir(exist_ok=True)
    configured, environment = folder / ".configured", _environment(root)
    if not configured.exists() or configured.read_text() != str(root):
        words = ["-q", f"--host={TRIPLET}", f"CC={TRIPLET}-gcc --sysroot={root}"]
        _run([TOP / "configure", *words], folder, environment)
        configured.write_text(str(root))
    cache.progress("build iovd for arm64")
    _run(["make", "-s", f"-j{os.cpu_count()}", "lab-programs"], folder, environment)
    return folder
