# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 1200
"""The tarball: `make distcheck` passes, and what it has is what git has."""
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

SRC = Path(os.environ["IOVD_SRC"])
BUILD = Path(os.environ["IOVD_BUILD"])

# What autoreconf adds, so that the tarball builds without autotools, and the tarball's own list.
GENERATED = re.compile(r"build-aux/.*|m4/pkg\.m4|(Makefile|config\.h)\.in|aclocal\.m4|configure"
                       r"|MANIFEST")


def main():
    if not (SRC / ".git").exists():
        print("SKIP: not a git checkout, there is nothing to compare with")
        return 77
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")}
    status = subprocess.run(["make", "-j2", "distcheck"], cwd=BUILD, env=env).returncode
    if status:
        print(f"make distcheck: exit status {status}")
        return 1
    tarballs = list(BUILD.glob("iovd-*.tar.xz"))
    if len(tarballs) != 1:
        print(f"not one tarball: {tarballs}")
        return 1
    with tarfile.open(tarballs[0]) as tar:
        packed = {name.split("/", 1)[1] for name in
                  (member.name for member in tar.getmembers() if member.isfile())}
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=SRC,
                            check=True, capture_output=True, text=True).stdout
    tracked = set(listed.split("\0")) - {""}
    missing = sorted(tracked - packed)
    extra = sorted(name for name in packed - tracked if not GENERATED.fullmatch(name))
    for name in missing:
        print(f"not in the tarball: {name}")
    for name in extra:
        print(f"in the tarball, but not in git: {name}")
    print(f"{len(packed)} files packed, {len(missing)} missing, {len(extra)} extra")
    return 1 if missing or extra or not tracked else 0


sys.exit(main())
