# SPDX-License-Identifier: GPL-2.0-or-later
# lab: amdvi
# timeout: 1500
# needs: full-guest asking
"""What topic_domain has, with a guest that runs (minutes of an emulated processor): an NVMe disk that it
starts with, an igb VF that comes and goes, a card that QEMU emulates; and a guest that does not answer."""
import re
import time

import inside
from guest import image
from inside import Failed, Iovd, device, driver_of, expect, expect_equal, netdev, vfs, wait_for

from lib import guest, libvirt, proc
from vmms import shown, wait_state

MAC = "52:54:00:aa:bb:07"
NET = "cat /sys/class/net/*/address"


def step(text):
    """Where it is, for whoever waits."""
    print(f"{time.monotonic():.0f} s: {text}", flush=True)


def hostdevs(host, *words):
    """The aliases of the domain's hostdevs."""
    text = host.xml("web1", *words)
    return text.count("<hostdev "), text


def expect_defined(host, count, *which):
    for words in which:
        seen, text = hostdevs(host, *words)
        expect_equal(seen, count, f"hostdevs of {words or 'the running domain'}: {text}")
        expect_equal(text.count("managed='no'"), count, "that iovd binds")


LIVE, CONFIG = (), ("--inactive",)


def check_cold(iovd, host, web1, nvme):
    """Given while it is shut off: libvirt finds it ready, whoever starts the domain."""
    disk = iovd.ok("attach", nvme, "web1", "--as", "disk")["attachment"]
    expect_equal((disk["state"], disk["domain"]), ("ready", web1.uuid), "attached while off")
    expect_defined(host, 1, CONFIG)
    step("the domain is started with its disk")
    web1.boot()
    expect_equal(wait_state(iovd, disk["id"], "active")["vmm_pid"] > 0, True, "its VMM")
    step("it has booted")
    wait_for(lambda: web1.out("ls /dev/nvme0n1 2>&1") == "/dev/nvme0n1", "the guest's disk", 60)
    web1.run("dd if=/dev/urandom of=/tmp/a bs=64k count=4 && dd if=/tmp/a of=/dev/nvme0n1 bs=64k "
             "conv=fsync && echo 3 >/proc/sys/vm/drop_caches && "
             "dd if=/dev/nvme0n1 bs=64k count=4 | cmp - /tmp/a")
    return disk["id"]


def check_hot(iovd, host, web1, igb):
    """Given while it runs, kept by a guest that does not answer, and given back by one that does."""
    step("a VF is plugged in")
    lan = iovd.ok("attach", f"vf:{igb}", "web1", "--as", "lan", "--set", f"mac={MAC}")["attachment"]
    wait_state(iovd, lan["id"], "active")
    expect_defined(host, 2, LIVE, CONFIG)
    try:
        wait_for(lambda: MAC in web1.out(NET), "the guest's interface", 60)
    except Failed:
        print(web1.out("dmesg | tail -20; ip link"), flush=True)
        raise
    step("the guest has it, and is stopped")
    host.virsh("suspend", "web1")
    answer = iovd.refused("GUEST-KEEPS", "detach", "lan")
    expect_equal(answer.status, 5, "status of a detach that the guest does not allow")
    expect_defined(host, 2, LIVE, CONFIG)
    expect_equal(shown(iovd, lan["id"])["state"], "active", "state of what the guest keeps")
    step("it goes on")
    host.virsh("resume", "web1")
    wait_for(lambda: MAC not in web1.out(NET), "the guest to let go", 60)
    wait_for(lambda: hostdevs(host)[0] == 1, "libvirt to know", 60)
    iovd.ok("detach", "lan", seconds=120)
    expect_defined(host, 1, LIVE, CONFIG)
    expect_equal(driver_of(vfs(igb)[0]), None, "driver of the VF that is back")
    web1.expect_no_complaints()


def check_emulated(iovd, host, web1):
    """A bridge of the host, by a card that QEMU emulates."""
    step("an emulated card is plugged in")
    before = web1.out(NET)
    iovd.ok("attach", "lan0", "web1", "--path", "emulated", "--as", "slow")
    mac = re.search(r"<mac address='([0-9a-f:]+)'/>\s*<source bridge='lan0'/>", host.xml("web1"))[1]
    expect(mac not in before, f"{mac} was there before")
    wait_for(lambda: mac in web1.out(NET), "the guest's card", 60)
    iovd.ok("detach", "slow", seconds=120)
    expect(mac not in web1.out(NET), "detached, and the guest has it")
    for words in LIVE, CONFIG:
        expect("lan0" not in host.xml("web1", *words), f"it is left in {words}")


def check_start_stop(iovd, host, web1, disk, nvme):
    step("its guest ends it")
    web1.start("poweroff -f")
    web1.wait_state("shut off", 120)
    wait_state(iovd, disk, "ready", 60)
    step("started, and destroyed")
    host.virsh("start", "--paused", "web1", seconds=120)
    wait_state(iovd, disk, "active", 60)
    host.virsh("destroy", "web1")
    wait_state(iovd, disk, "ready", 60)
    step("without iovd")
    iovd.stop()
    done = host.virsh_try("start", "web1")
    expect(done.returncode and "[NO-DAEMON]" in done.stderr, f"started without iovd: {done.stderr}")
    iovd.start()
    wait_state(iovd, disk, "ready", 60)
    iovd.ok("detach", disk)
    expect_defined(host, 0, CONFIG)
    expect_equal(driver_of(nvme), "nvme", "driver of the disk that is back")


def test(scratch):
    inside.load_kvm()
    inside.modprobe("-a", "bridge", "tun")
    guest.accelerator = lambda kernel=None: ("kvm", "host")  # whether it works is not asked: it must
    proc.PATIENCE *= 5  # an emulated machine in an emulated machine
    igb, nvme = device("igb"), device("nvme")
    hooks = {"qemu.d/iovd": libvirt.hook(scratch / "run/iovd.sock")}
    host = libvirt.LibvirtHost(scratch, "h1", hooks=hooks)
    with host, Iovd(scratch, libvirt=host.uri) as iovd:
        iovd.ok("vf", "create", igb, 1, seconds=180)
        proc.run(["ip", "link", "set", netdev(igb), "up"])  # igbvf wants it to be
        for words in ([], ["nsenter", f"--target={host.netns}", "-n"]):
            proc.run([*words, "ip", "link", "add", "lan0", "type", "bridge"])
        with libvirt.Domain(host, "web1", shared=False, build=image.qemu_full) as web1:
            wait_for(lambda: iovd.ok("list", "vms")["vms"], "the domain to be known", 60)
            disk = check_cold(iovd, host, web1, nvme)
            check_hot(iovd, host, web1, igb)
            check_emulated(iovd, host, web1)
            check_start_stop(iovd, host, web1, disk, nvme)
        iovd.ok("vf", "create", igb, 0, seconds=180)
    return "an NVMe disk that a domain starts with, an igb VF that it got and gave back"


inside.main(test)
