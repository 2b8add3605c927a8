# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache of things that take long to fetch or build.

An entry is a directory named by what it is made from, so a new version is a new entry and nothing
is ever refreshed in place. It is built beside its final name and renamed there when it is whole:
what exists is complete, whatever was killed. A lock per entry keeps two tests from building it
twice.
"""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]


class Unavailable(Exception):
    """Something that comes from outside cannot be had here; its text is the reason for a skip."""


def root():
    """The cache directory: IOVD_CACHE, or .cache in the source tree."""
    path = pathlib.Path(os.environ.get("IOVD_CACHE") or TOP / ".cache").absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts):
    """A short name for what an entry is made from: strings, bytes, or paths (their content)."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, pathlib.Path) else part
        data = data if isinstance(data, bytes) else str(data).encode()
        sha.update(b"%d:" % len(data) + data)
    return sha.hexdigest()[:12]


def progress(text):
    """One line on a step that takes a while."""
    print(f"  .. {text}", file=sys.stderr, flush=True)


def step(text):
    """One line on a step that is done, with its time: tests/run shows it."""
    print(f"=== {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _locked(path):
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entry(name, build):
    """Returns the entry `name`, made by build(directory) when it does not exist yet."""
    path = root() / name
    if path.exists():
        return path
    with _locked(root() / f".{name}.lock"):
        if path.exists():
            return path
        begin = time.monotonic()
        work = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}.", dir=root()))
        try:
            build(work)
            work.chmod(0o755)
            work.rename(path)
            step(f"{name}: made in {time.monotonic() - begin:.0f} s")
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return path
