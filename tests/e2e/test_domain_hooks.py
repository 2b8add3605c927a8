# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A domain moves back and forth by `virsh migrate` alone, while its guest writes and verifies: libvirt's
hooks tell the two iovds. Where they cannot be told, nothing moves and nothing changes."""
from contextlib import ExitStack

from lib.domain_move import VM
from lib.proc import Failed
from lib.report import main
from test_domain_move import Working

MOVES = 1


def refused(pair, code):
    """virsh's migration fails, and the domain goes on where it is."""
    done = pair.move_by_virsh(arrive=False)
    if not done.returncode or code not in done.stderr:
        raise Failed(f"virsh: {done.returncode}, not with {code}: {done.stderr}")
    if pair.here.libvirt.state(VM) != "running":
        raise Failed(f"{code}: the domain does not run any more")
    pair.guest.run("dd if=/dev/urandom of=/mnt/a/sync bs=4k count=16 conv=fsync 2>/dev/null", 120)


def nobody_to_ask(pair):
    """The iovd of the source is not there; its workers are."""
    pair.here.daemon.stop()
    refused(pair, "NO-DAEMON")
    pair.here.daemon.start()
    pair.there.daemon.stop()
    refused(pair, "NO-DAEMON")
    pair.there.daemon.start()
    pair.there.wait_libvirt(2)


def test(scratch, count=MOVES):
    with ExitStack() as stack:
        pair = Working(stack, scratch, depth=8, hooks=True)
        for _ in range(count):
            pair.move_by_virsh()
            pair.check()
        nobody_to_ask(pair)
        pair.move_by_virsh()
        return f"{count + 1} moves by virsh alone, {pair.end()}"


if __name__ == "__main__":
    main(test)
