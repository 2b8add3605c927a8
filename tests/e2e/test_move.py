# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A machine with two disks moves back and forth between two iovds while it writes and verifies at
depth 32: QEMU moves its memory, the iovds pass the baton."""
from contextlib import ExitStack

from lib import disk, jobs
from lib.move import VM, Host, Machine
from lib.proc import Failed
from lib.report import main

MOVES = 10
MIB = 16


def until_told(where):
    """Round after round, each of which verifies all that it wrote, until a file is there."""
    one = f"{jobs.verify(f'/mnt/{where}/work', MIB)} >/tmp/{where}.out || exit 1"
    return f"n=0; while ! [ -e /tmp/over ]; do {one}; n=$((n+1)); done; echo $n"


def moves(scratch, count):
    images = [disk.ext4(scratch / f"{n}.img", 64) for n in range(2)]
    with ExitStack() as stack:
        hosts = [stack.enter_context(Host(scratch, name)) for name in ("a", "b")]
        for n, image in enumerate(images):
            hosts[0].daemon.attach(image, VM, f"d{n}")
        machine = Machine(stack, hosts[0], memory=256)
        machine.guest.run("mkdir /mnt/a /mnt/b && mount /dev/vda /mnt/a && mount /dev/vdb /mnt/b")
        work = [machine.guest.start(until_told(where)) for where in ("a", "b")]
        for n in range(count):
            machine.move(hosts[(n + 1) % 2])
            if any(machine.guest.done(number) for number in work):
                raise Failed(f"the work has ended: {machine.guest.out('tail -5 /tmp/*.out')}")
        machine.guest.run("touch /tmp/over")
        rounds = [int(machine.guest.result(number, 240).output) for number in work]
        machine.guest.run("umount /mnt/a /mnt/b")
        machine.guest.expect_no_complaints()
    for image in images:
        disk.fsck(image)
    return sum(rounds) * MIB


def test(scratch, count=MOVES):
    verified = moves(scratch, count)
    return f"{count} moves, {verified} MiB verified"


if __name__ == "__main__":
    main(test)
