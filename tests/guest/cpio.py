# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes an initramfs: a cpio archive in the "newc" form, with no root and no staging tree."""
import os
import pathlib
import stat

MAGIC = b"070701"


class Archive:
    """Collects entries; parents are made as they are needed."""

    def __init__(self):
        self._parts = []
        self._known = set()
        self._inode = 0

    def _add(self, path, mode, data=b"", rdev=(0, 0)):
        path = path.strip("/")
        if path in self._known:
            return
        parent = os.path.dirname(path)
        if parent:
            self._add(parent, stat.S_IFDIR | 0o755)
        self._known.add(path)
        self._inode += 1
        self._parts.append(self._record(self._inode, path.encode(), mode, data, rdev))

    @staticmethod
    def _record(inode, name, mode, data, rdev):
        """One entry: header of 13 eight-digit hex fields, name, data, each padded to four bytes."""
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(name) + 1, 0)
        head = MAGIC + b"".join(b"%08x" % field for field in fields) + name + b"\0"
        return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)

    def directory(self, path):
        self._add(path, stat.S_IFDIR | 0o755)

    def file(self, path, data, mode=0o644):
        self._add(path, stat.S_IFREG | mode, data)

    def copy(self, source, path=None):
        """A file of the host, at the same path unless told otherwise; mode kept."""
        source = pathlib.Path(source)
        self.file(str(path or source), source.read_bytes(), stat.S_IMODE(source.stat().st_mode))

    def symlink(self, path, target):
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, major, minor):
        self._add(path, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def bytes(self):
        return b"".join(self._parts) + self._record(0, b"TRAILER!!!", 0, b"", (0, 0))
