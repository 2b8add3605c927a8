# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems of a test's own, small enough to be full; context managers."""
import contextlib
import os
import pathlib

from . import disk
from .proc import Skipped, run


def _mount(folder, *words):
    folder.mkdir(exist_ok=True)
    done = run(["mount", *words, folder], check=False)
    if done.returncode:
        raise Skipped(f"nothing can be mounted here: {done.stderr.strip()}")
    folder.chmod(0o700)


@contextlib.contextmanager
def memory(folder, kib):
    """A file system in memory."""
    _mount(folder, "-t", "tmpfs", "-o", f"size={kib}k", "small")
    try:
        yield folder
    finally:
        run(["umount", "-l", folder])


class Ext4:
    """An ext4 in an image, through a loop device."""

    def __init__(self, folder, mib=16):
        self.folder, self._image = folder, disk.ext4(folder.with_suffix(".img"), mib)
        _mount(folder, "-o", "loop,errors=remount-ro", self._image)

    def breaks(self):
        """It finds a mistake in itself, and from now on can only be read."""
        (source,) = [
            words[0]
            for words in map(str.split, pathlib.Path("/proc/self/mounts").read_text().splitlines())
            if words[1] == str(self.folder)
        ]
        trigger = pathlib.Path("/sys/fs/ext4") / pathlib.Path(source).name / "trigger_fs_error"
        try:
            trigger.write_text("test")
        except OSError as error:
            raise Skipped(f"no ext4 breaks here: {error}") from error

    def repair(self):
        """Unmounts it, which nobody may use by then; e2fsck; mounts it again."""
        run(["umount", self.folder])
        run(["e2fsck", "-f", "-p", self._image], check=False)
        _mount(self.folder, "-o", "loop,errors=remount-ro", self._image)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run(["umount", "-l", self.folder])


def fill(path):
    """A file that takes all the room there is; removing it makes room."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
    return path
