# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""A domain whose XML has an iovd disk: started, reset, rebooted, saved, restored, undefined by virsh
alone, with verified I/O in its guest; and what libvirt's hooks do when iovd is not there."""
from lib import disk, jobs, libvirt
from lib.daemon import Daemon
from lib.proc import Failed, until
from lib.report import main

OTHER = "#!/bin/sh\ncat >/dev/null\necho \"$1 $2 $3\" >>/var/log/other-hook\n"


def expect(condition, what):
    if not condition:
        raise Failed(what)


def check(guest):
    """What was written once is there, and more can be written."""
    jobs.work(guest.run(jobs.verify("/mnt/work", 2), 240))
    guest.run("cd /mnt && echo 3 >/proc/sys/vm/drop_caches && sha256sum -c sum", 120)
    guest.expect_no_complaints()


def rebooted(guest, boots):
    guest.wait_boot(boots, 120)
    guest.run("mount /dev/vda /mnt")
    check(guest)


def saved(host, guest, save, restore):
    """It stands still in a file, with all that its disk had not answered, and goes on from there."""
    work = guest.start(jobs.verify("/mnt/work", 2))
    host.virsh(*save, seconds=120)
    expect(guest.state == "shut off", f"{save}, and it runs")
    host.virsh(*restore, seconds=120)
    guest.take_up(0)
    jobs.work(guest.result(work, 240))
    check(guest)


def by_virsh(daemon, host, guest):
    guest.boot()
    expect(len(daemon.attachments()) == 1, "started, and not attached")
    guest.run("mount /dev/vda /mnt && cd /mnt && head -c 1000000 /dev/urandom >file && "
              "sha256sum file >sum && sync")
    check(guest)
    guest.run("umount /mnt")
    host.virsh("reset", "web1")
    rebooted(guest, 2)
    guest.run("umount /mnt")
    guest.start("reboot -f")
    rebooted(guest, 3)
    saved(host, guest, ("managedsave", "web1"), ("start", "web1"))
    file = host.root / "var/lib/web1.save"
    saved(host, guest, ("save", "web1", file), ("restore", file))
    host.virsh("suspend", "web1")
    host.virsh("resume", "web1")
    check(guest)


def without_iovd(host, guest):
    """iovd is dead: what runs goes on, what is not ours starts, what is ours says why it does not."""
    host.stop()
    host.start()  # its hook is called for each domain that runs
    expect(guest.state == "running", "libvirtd came back and its domain has ended")
    guest.run("umount /mnt")
    host.virsh("destroy", "web1")
    with libvirt.Domain(host, "other", memory=64):
        host.virsh("start", "--paused", "other")
    done = host.virsh_try("start", "web1")
    expect(done.returncode and "[NO-DAEMON]" in done.stderr, f"start: {done.stderr}")


def test(scratch, base=None):
    image = disk.ext4(scratch / "root.img", 64)
    hooks = {"qemu.d/iovd": libvirt.hook(scratch / "run/iovd.sock"), "qemu.d/other": OTHER}
    host = libvirt.LibvirtHost(scratch, "h1", hooks=hooks, base=base)
    with host, Daemon(scratch, libvirt=host.uri) as daemon:
        with libvirt.Domain(host, "web1") as guest:
            until(lambda: daemon.ctl("list", "vms")["vms"], 30, "the domain to be known")
            daemon.ctl("attach", image, "web1", "--as", "root")
            xml = host.xml("web1", "--inactive")
            host.virsh("undefine", "web1")
            until(lambda: not daemon.attachments(), 30, "its disk to be free")
            host.define(xml)
            by_virsh(daemon, host, guest)
            daemon.stop()  # its worker goes on
            without_iovd(host, guest)
            daemon.start()
            host.virsh("start", "--paused", "web1")
            host.virsh("destroy", "web1")
            host.virsh("undefine", "web1")
            until(lambda: not daemon.attachments(), 30, "its disk to be free")
        daemon.stop_all()
        others = (host.root / "var/log/other-hook").read_text()
    expect("web1 prepare begin" in others, "another hook was not called")
    disk.fsck(image)
    return "started, reset, rebooted, saved, restored and undefined by virsh alone"


if __name__ == "__main__":
    main(test)
