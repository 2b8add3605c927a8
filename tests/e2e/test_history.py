# SPDX-License-Identifier: GPL-2.0-or-later
"""The history checker itself: silent about a good disk, and not about a bad one.

The disk is made bad behind the server's back, in the ways that a lost, a late and a misplaced write
would leave it.
"""
import mmap
import os

from lib import disk, servers
from lib.history import History
from lib.proc import Failed, until
from lib.report import main

BLOCK = 4096
HOT = 8  # blocks that half of the requests go to


def read(image, block):
    with open(image, "rb") as file:
        return os.pread(file.fileno(), BLOCK, block * BLOCK)


def write(image, block, data):
    """As the server writes, past the page cache: the kernel calls it an error to do both at once."""
    try:
        fd = os.open(image, os.O_WRONLY | os.O_DIRECT)
    except OSError:  # a file system in memory
        fd = os.open(image, os.O_WRONLY)
    with os.fdopen(fd, "wb", buffering=0), mmap.mmap(-1, BLOCK) as aligned:
        aligned[:] = data
        os.pwrite(fd, aligned, block * BLOCK)


def an_old_write_again(image, is_over):
    old = [read(image, block) for block in range(HOT)]
    until(
        lambda: is_over() or all(read(image, n) != data for n, data in enumerate(old)),
        30, "later writes",
    )  # fmt: skip
    for block, data in enumerate(old):
        write(image, block, data)


def a_write_lost(image, _):
    for block in range(HOT):
        write(image, block, bytes(BLOCK))


def a_write_elsewhere(image, _):
    for block in range(HOT):
        write(image, block, read(image, block + HOT))


BAD = {
    an_old_write_again: "which was overwritten by then",
    a_write_lost: "has generation 0, which was overwritten",
    a_write_elsewhere: "torn or of somewhere else",
}


def spoil_until_seen(spoil, image, history):
    """Again and again: what is written anew before it is read was never bad to anybody."""
    def is_over():
        return not history.alive()

    def seen():
        spoil(image, is_over)
        return is_over()

    until(seen, 30, f"the end of the client: {spoil.__name__}")
    return history.wait(1)


def used(image):
    return all(read(image, block) != bytes(BLOCK) for block in range(2 * HOT))


def after_power_cut(scratch):
    """What was flushed is looked for by the next client: it is there, and then it is not."""
    image, journal = disk.blank(scratch / "cut.img", 1), scratch / "journal"
    for n, spoils in enumerate((False, False, True)):
        if spoils:
            a_write_lost(image, None)
        with servers.alone(image, scratch, f"cut{n}") as server:
            options = {"journal": journal, "first": n << 32}
            with History(server.socket, scratch, f"cut{n}", **options) as history:
                if not spoils:
                    until(lambda: used(image), 30, "a disk that is written")
                    history.end()
                elif history.wait(30) == 0 or "was flushed" not in history.log.read_text():
                    raise Failed(f"a lost promise was not seen: {history.tail()}")


def test(scratch):
    image = disk.blank(scratch / "disk.img", 1)
    with servers.alone(image, scratch) as server:
        with History(server.socket, scratch, "good", image=image) as history:
            until(lambda: used(image), 30, "a disk that is written")
            good = history.end()
    for n, (spoil, words) in enumerate(BAD.items()):
        image = disk.blank(scratch / f"bad{n}.img", 1)
        with servers.alone(image, scratch, f"bad{n}") as server:
            with History(server.socket, scratch, f"h{n}", image=image) as history:
                until(lambda image=image: used(image), 30, "a disk that is written")
                status = spoil_until_seen(spoil, image, history)
                if status == 0 or words not in history.log.read_text():
                    raise Failed(f"{spoil.__name__} was not seen: {history.tail()}")
    after_power_cut(scratch)
    return f"{good} on a good disk; {len(BAD)} bad ones were seen to be bad"


if __name__ == "__main__":
    main(test)
