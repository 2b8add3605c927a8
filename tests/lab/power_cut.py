# SPDX-License-Identifier: GPL-2.0-or-later
"""The power of a lab host is cut in the middle of verified I/O and of changes to the store.

What was flushed and acknowledged is there after the next boot; iovd comes up by itself with what it
had, on the store as the cut has left it; and no read yields what was never written there. What runs
inside is power.py. What the host loses is its memory: its page cache, all iovd processes, all
requests under way. What its disk was told is kept by the file of this machine that it is.
"""
import json
import pathlib
import random
import struct
import time

from guest import blkio, cache
from lib.proc import Failed, Skipped

from . import hosts, lab, machine

INSIDE = pathlib.Path(__file__).with_name("power.py")
INSIDE_SECONDS = 240
DISKS = {"direct": "none", "buffered": "writeback"}  # names, and how the host's page cache is used
BLOCKS = 256
READY = "cut me"  # said when it may happen
MOMENTS = (0.2, 5)  # seconds of I/O before the power goes


def follow(vm, number):
    """Until the power was cut (None), or it is over: what was said last."""
    limit, last = machine.deadline(machine.BOOT_SECONDS + INSIDE_SECONDS), ""
    while True:
        event = vm.event(limit)
        if event["event"] == "out" and event["text"] == READY:
            time.sleep(random.uniform(*MOMENTS))  # the moment is to be any
            vm.cut(reset=number % 2)
            return None
        if event["event"] == "out":
            print(f"    {event['text']}", flush=True)
            last = event["text"]
        elif event["event"] == "end":
            if event["status"]:
                raise Failed(f"after {number} cuts: {last} {event['why']}")
            return last


def journals(folder):
    """For each disk: how many requests its client had done, of how many blocks it had a promise."""
    for name in DISKS:
        done, *stable = struct.unpack(f"<{1 + BLOCKS}Q", (folder / f"{name}.journal").read_bytes())
        yield done, sum(map(bool, stable))


def boot(host, folder, number, last):
    words = {"number": number, "last": last, "disks": DISKS, "blocks": BLOCKS, "ready": READY}
    (folder / "boot.json").write_text(json.dumps(words))
    topic = {"name": "power", "path": str(INSIDE), "timeout": INSIDE_SECONDS}
    job = {"environment": machine.environment(host), "topics": [topic]}
    (folder / "root.img").unlink(missing_ok=True)  # the host's own: nothing of ours is on it
    with machine.Machine(host, folder, job, keeps_disks=number > 0) as vm:
        return follow(vm, number)


def cut_often(host, folder, cuts):
    """Lines on what was seen. A QEMU that ends by itself is one more cut, which is not counted."""
    number = count = 0
    while True:
        begin = time.monotonic()
        try:
            note = boot(host, folder, number, count == cuts)
        except machine.Dead as error:
            if not error.innocent or number == count + lab.BOOTS_MOST:
                raise Failed(f"boot {number}: {error}") from error
            cache.step(f"power-cut: boots again: {str(error).splitlines()[0]}")
            number += (folder / "direct.journal").exists()
            continue
        if note:
            yield note
            return
        number, count = number + 1, count + 1
        done, stable = map(sum, zip(*journals(folder)))
        yield f"cut {count} after {time.monotonic() - begin:.0f} s: {done} requests done, {stable} " \
              "blocks promised"


def run(cuts):
    """Cuts the power that often, and looks after each; a line on the whole."""
    host = hosts.parse("vtd")._replace(name="power-cut")
    folder, note = lab.folder_of(host), ""
    try:
        blkio.client("history_client")
        for note in cut_often(host, folder, cuts):
            cache.step(note)
    except cache.Unavailable as error:
        raise Skipped(str(error)) from error
    for name in ("data.img", "root.img"):
        (folder / name).unlink()
    return f"{cuts} cuts; {note}"
