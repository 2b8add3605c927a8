# SPDX-License-Identifier: GPL-2.0-or-later
"""What the checks of the tree share: its files, and how a check ends."""
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(os.environ.get("IOVD_SRC") or Path(__file__).resolve().parents[2])
BUILD = Path(os.environ.get("IOVD_BUILD") or TOP / "build")


def git_files():
    """The files of the tree as git knows them (new ones too), or None outside of git."""
    if not (TOP / ".git").exists():
        return None
    # safe.directory: the tree may belong to another user than the one who tests it.
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached",
                             "--others", "--exclude-standard"],
                            cwd=TOP, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (TOP / name).is_file())


def files(*suffixes):
    """The names, relative to the top, of the tree's files that end so (all without arguments)."""
    found = git_files()
    if found is None:
        # An unpacked tarball: it brings its list, since a build may have made files in it.
        found = sorted((TOP / "MANIFEST").read_text().splitlines())
    return [name for name in found if not suffixes or name.endswith(suffixes)]


def text(name):
    return (TOP / name).read_text(errors="replace")


def finish(problems, what):
    """Ends the check: prints what is wrong, one line each."""
    for problem in problems:
        print(problem)
    print(f"{what}: {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}")
    sys.exit(1 if problems else 0)


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)
