# SPDX-License-Identifier: GPL-2.0-or-later
"""configure names every missing library with its Debian package, and ./dev installs those."""
import os
import re
import subprocess
import tempfile
from pathlib import Path

import tree

NEEDED = ("libvirt-dev", "libnl-3-dev", "libnl-route-3-dev", "libnl-genl-3-dev", "libsqlite3-dev",
          "libevent-dev", "libjson-c-dev", "check", "liburing-dev", "libseccomp-dev",
          "libcap-ng-dev", "libkmod-dev", "libpci-dev")


def configure(folder, libdir, *arguments):
    env = {key: value for key, value in os.environ.items() if not key.startswith("PKG_CONFIG")}
    done = subprocess.run([tree.TOP / "configure", "-q", *arguments], cwd=folder,
                          env=dict(env, PKG_CONFIG_LIBDIR=str(libdir)),
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def packages_in(message):
    found = re.search(r"^\tapt-get install (.*)$", message, re.M)
    return sorted(found.group(1).split()) if found else []


def check_none(folder, libdir):
    """Not one library is there: all are named, in one message."""
    status, said = configure(folder, libdir)
    if status == 0 or packages_in(said) != sorted(NEEDED):
        return [f"without any library: exit status {status}\n{said}"]
    return [f"{name} is not named beside its library" for name in NEEDED
            if f"(Debian package {name})" not in said]


def check_one(folder, libdir):
    """All but one are there, without what they would need: the one is named alone."""
    modules = re.findall(r"^IOVD_NEED\(\[\w+\], \[([^ \]]+).*\[([^]]+)\]\)", tree.text(
        "configure.ac"), re.M)
    for module, _ in modules[1:]:
        (libdir / f"{module}.pc").write_text(f"Name: x\nDescription: x\nVersion: 99\nLibs: -l{module}\n")
    status, said = configure(folder, libdir)
    if status == 0 or packages_in(said) != [modules[0][1]]:
        return [f"without {modules[0][0]}: exit status {status}\n{said}"]
    return []


def check_no_systemd(folder, libdir):
    """libsystemd is optional, unless somebody asked for it."""
    (libdir / "libvirt.pc").write_text("Name: x\nDescription: x\nVersion: 99\n")
    problems = []
    for argument, wanted in (("--without-systemd", 0), ("--with-systemd", 1)):
        status, said = configure(folder, libdir, argument)
        if (status != 0) != wanted:
            problems.append(f"{argument} without libsystemd: exit status {status}\n{said}")
    return problems


def check_setup():
    """What configure asks for is what ./dev setup installs."""
    done = subprocess.run(["bash", "-c", '. "$1"; echo "${packages_build[@]}"', "dev",
                           tree.TOP / "dev"], capture_output=True, text=True)
    return [f"./dev setup does not install {name}"
            for name in sorted(set(NEEDED) - set(done.stdout.split()))]


def main():
    if not (tree.TOP / "configure").exists():
        tree.skip("no configure in the source tree")
    problems = check_setup()
    with tempfile.TemporaryDirectory() as folder:
        libdir = Path(folder) / "pkgconfig"
        libdir.mkdir()
        for check in (check_none, check_one, check_no_systemd):
            problems += check(folder, libdir)
    tree.finish(problems, "configure")


main()
