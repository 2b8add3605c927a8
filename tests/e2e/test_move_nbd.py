# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A machine whose disk is an NBD export moves back and forth while it writes and verifies: it is the same
volume if both hosts mean the same server, or if somebody says so."""
from contextlib import ExitStack

from lib import disk
from lib.domain_move import until_told
from lib.move import VM, Host, Machine
from lib.nbd import Nbdkit, free_port
from lib.proc import Failed
from lib.report import main

MOVES = 2
MIB = 4


def refused(here, there):
    """A name that means another server on each host is not taken for the same."""
    done = here.daemon.ctl("migrate", VM, there.uri, "--check", check=False, seconds=90)
    if done.returncode != 4 or "MIG-OTHER-VOLUME" not in done.stdout:
        raise Failed(f"check: {done.returncode}: {done.stdout} {done.stderr}")


def test(scratch, count=MOVES):
    image = disk.ext4(scratch / "0.img", 64)
    with ExitStack() as stack:
        server = stack.enter_context(Nbdkit(image, scratch, port=free_port()))
        hosts = [stack.enter_context(Host(scratch, name)) for name in ("a", "b")]
        hosts[0].daemon.attach(server.uri, VM, "d0")
        machine = Machine(stack, hosts[0], begin=("--map", f"d0={server.uri}"), memory=256)
        machine.guest.run("mkdir /mnt/a && mount /dev/vda /mnt/a")
        work = machine.guest.start(until_told("/mnt/a", MIB))
        refused(*hosts)
        for n in range(count):
            machine.move(hosts[(n + 1) % 2])
            if machine.guest.done(work):
                raise Failed(f"the work has ended: {machine.guest.out('tail -5 /tmp/*.out')}")
        machine.guest.run("touch /tmp/over")
        rounds = int(machine.guest.result(work, 240).output)
        machine.guest.run("umount /mnt/a")
        machine.guest.expect_no_complaints()
        for host in hosts:
            host.daemon.stop_all()
    disk.fsck(image)
    return f"{count} moves, {rounds * MIB} MiB verified"


if __name__ == "__main__":
    main(test)
