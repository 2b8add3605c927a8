# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images: made, checked and summed up on the host, never mounted there."""
import hashlib
import os
import pathlib

from .proc import Failed, run

MIB = 1 << 20


def blank(path, mib):
    """A sparse image."""
    path = pathlib.Path(path)
    with open(path, "wb") as image:
        image.truncate(mib * MIB)
    return path


def ext4(path, mib=256):
    """An image with an empty ext4 file system on the whole disk."""
    blank(path, mib)
    run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", path])
    return pathlib.Path(path)


def fsck(path):
    """A file system that was left cleanly has nothing to repair."""
    done = run(["e2fsck", "-f", "-n", path], check=False)
    if done.returncode:
        raise Failed(f"e2fsck finds damage (status {done.returncode}):\n    {done.stdout[-800:]}")


def replay_journal(path):
    """As a mount after a power cut would do; then the file system must be without fault."""
    done = run(["e2fsck", "-f", "-p", path], check=False)
    if done.returncode > 1:
        raise Failed(f"e2fsck cannot recover (status {done.returncode}):\n    {done.stdout[-800:]}")


def checksum(path):
    with open(path, "rb") as image:
        return hashlib.file_digest(image, "sha256").hexdigest()


def allocated(path):
    """Bytes of the file that occupy storage: what a discard gives back."""
    return os.stat(path).st_blocks * 512
