# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of ring that a guest may choose: split and packed, one queue and four, with and
without indirect descriptors and event indexes. One guest, a disk for each, all at work at once."""
from contextlib import ExitStack

from lib import disk, jobs, servers
from lib.guest import Qemu, blk_args
from lib.proc import Failed
from lib.report import main

RINGS = {
    "split": (1, ""),
    "split4": (4, ""),
    "plain": (1, ",indirect_desc=off,event_idx=off"),
    "packed": (1, ",packed=on"),
    "packed4": (4, ",packed=on"),
    "packedplain": (1, ",packed=on,indirect_desc=off,event_idx=off"),
}


def check_negotiated(guest, letter, queues, extra):
    """The guest really uses what the test is about. /sys prints the feature bits, bit 0 first."""
    bits = guest.out(f"cat /sys/block/vd{letter}/device/features")
    for bit, word in ((34, "packed=on"), (28, "indirect_desc=off"), (29, "event_idx=off")):
        wanted = (word in extra) == word.endswith("on")
        if (bits[bit] == "1") != wanted:
            raise Failed(f"vd{letter} ({extra}): feature bit {bit} is {bits[bit]}")
    if int(guest.out(f"ls /sys/block/vd{letter}/mq | wc -l")) != queues:
        raise Failed(f"vd{letter}: the guest does not use {queues} queues")


def test(scratch):
    with ExitStack() as stack:
        args = []
        for name, (queues, extra) in RINGS.items():
            image = disk.blank(scratch / f"{name}.img", 64)
            server = stack.enter_context(servers.alone(image, scratch, name, num_queues=queues))
            args += blk_args(server.socket, name, queues, extra)
        guest = stack.enter_context(Qemu(scratch, args, cpus=4))
        running = []
        for letter, (queues, extra) in zip("abcdef", RINGS.values()):
            check_negotiated(guest, letter, queues, extra)
            job = jobs.verify(
                f"/dev/vd{letter}", 8, numjobs=queues, offset_increment="8m", group_reporting=1
            )
            running.append(guest.start(job))
        total = sum(jobs.work(guest.result(number, 240)).verified for number in running)
        guest.expect_no_complaints()
    return f"{len(RINGS)} kinds, {total >> 20} MiB written and verified"


main(test)
