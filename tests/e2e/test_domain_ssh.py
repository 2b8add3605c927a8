# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A libvirt domain moves as an operator says it, `iovctl migrate DOMAIN qemu+ssh://HOST/system`: both
libvirts and both iovds reach each other by OpenSSH, which knows their keys, and by nothing else. A host
whose key is another one's is not spoken to."""
from contextlib import ExitStack

from lib import disk
from lib.domain_move import VM, Pair, until_told
from lib.proc import Failed
from lib.report import main
from lib.ssh import Ssh

MIB = 4


def migrate(pair, name, status=0):
    """The finished command."""
    words = ("migrate", VM, f"qemu+ssh://{name}/system", "--address", pair.there.address)
    done = pair.here.daemon.ctl(*words, check=False, seconds=240)
    if done.returncode != status:
        raise Failed(f"iovctl {words}: {done.returncode}, not {status}: {done.stderr}")
    return done


def moves(pair, name):
    migrate(pair, name)
    pair.arrived()


def not_reached(pair, name, why):
    """iovd says so, and its log has ssh's own words; all is as it was."""
    told = migrate(pair, name, status=8).stderr
    if "PEER-GONE" not in told or why not in pair.here.daemon.log():
        raise Failed(f"iovctl: {told}; iovd's log does not say {why}: {pair.here.daemon.tail()}")
    if pair.here.states() != {"active"} or pair.there.attachments():
        raise Failed(f"something has changed:\n    {pair.seen()}")


def test(scratch):
    with ExitStack() as stack:
        ssh = Ssh(stack, scratch)
        image = disk.ext4(scratch / "0.img", 64)
        pair = Pair(stack, scratch, [image], networked=True)
        for name, host in (("host1", pair.here), ("host2", pair.there)):
            ssh.serve(name, host)
        guest = pair.guest
        guest.run("mkdir /mnt/a && mount /dev/vda /mnt/a")
        work = guest.start(until_told("/mnt/a", MIB))
        not_reached(pair, "nowhere.invalid", "Could not resolve hostname")
        ssh.know("impostor", pair.there, "key")
        not_reached(pair, "impostor", "Host key verification failed")
        not_reached(pair, "[::1]", "connect to host ::1 port 22")
        moves(pair, "host2")
        moves(pair, "host1")
        guest.run("touch /tmp/over")
        rounds = int(guest.result(work, 240).output)
        guest.run("umount /mnt/a")
        guest.expect_no_complaints()
        pair.end()
        disk.fsck(image)
        return f"there and back by ssh, {rounds * MIB} MiB verified"


if __name__ == "__main__":
    main(test)
