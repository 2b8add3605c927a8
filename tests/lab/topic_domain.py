# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd
# timeout: 900
# needs: guest asking
"""PCI functions of a libvirt domain (<hostdev managed='no'>): given while it is off and while it runs,
started, ended and kept by libvirt alone, a VF with a standby. Its machine is never let run, so nobody
answers an unplug; topic_domain_guest has one that does."""
import inside
from inside import Iovd, device, driver_of, expect, expect_equal, netdev, vfs, wait_for

from lib import guest, libvirt, proc
from vmms import shown, wait_state

MAC = "52:54:00:aa:bb:07"
LIVE, CONFIG = (), ("--inactive",)


def done(iovd, *words):
    """iovctl, however long libvirt takes in an emulated machine; the attachment, if there is one yet."""
    answer = iovd.iovctl(*words, seconds=120)
    if answer.status == 3:
        iovd.ok("job", answer.json["error"]["job"], "--wait", 300000, seconds=320)
    else:
        expect(not answer.status, f"iovctl {words}: {answer.text}")
    name = words[words.index("--as") + 1] if "--as" in words else None
    return iovd.ok("show", name)["attachment"] if name else None


def expect_defined(host, count, *which):
    for words in which:
        text = host.xml("web1", *words)
        expect_equal(text.count("<hostdev "), count, f"hostdevs, {words or 'running'}: {text}")
        expect_equal(text.count("managed='no'"), count, "that iovd binds")


def start(host):
    host.virsh("start", "--paused", "web1", seconds=180)


def check_given(iovd, host, web1, nvme, igb):
    disk = done(iovd, "attach", nvme, "web1", "--as", "disk")
    expect_equal((disk["state"], disk["domain"]), ("ready", web1.uuid), "given while it is off")
    expect_defined(host, 1, CONFIG)
    start(host)
    active = wait_state(iovd, disk["id"], "active")
    expect_equal(active["vmm_pid"], host.qemu("web1"), "the process that has it")
    added = done(iovd, "attach", f"vf:{igb}", "web1", "--as", "hot")
    wait_state(iovd, added["id"], "active")
    expect_defined(host, 2, LIVE, CONFIG)
    answer = iovd.refused("GUEST-KEEPS", "detach", "hot", seconds=120)
    expect_equal(answer.status, 5, "status of a detach that nobody answers")
    expect_defined(host, 2, LIVE, CONFIG)
    expect_equal(shown(iovd, added["id"])["state"], "active", "state of what the guest keeps")
    return disk["id"], added["id"]


def check_ended(iovd, host, disk, added, vf):
    """Both are made as new, whoever ended it, and go to the next one that is started."""
    host.virsh("destroy", "web1")
    for name in disk, added:
        wait_state(iovd, name, "ready", 60)
    before = driver_of(vf)
    done(iovd, "detach", added)
    expect_equal((before, driver_of(vf)), ("vfio-pci", None), "its driver, and afterwards")
    expect_defined(host, 1, CONFIG)


def check_standby(iovd, host, igb, disk):
    """A VF and a virtio card that know each other, with one MAC."""
    words = ("--standby", "lan0", "--set", f"mac={MAC},vlan=10")
    lan = done(iovd, "attach", f"vf:{igb}", "web1", "--as", "lan", *words)
    expect_equal(lan["vf"]["standby"], "lan0", "standby that is shown")
    shows = proc.run(["ip", "link", "show", netdev(igb)]).stdout
    expect(MAC in shows and "vlan 10" in shows, f"not set: {shows}")
    text = host.xml("web1", *CONFIG)
    for part in ("<teaming type='persistent'/>", f"<mac address='{MAC}'/>", "<source bridge='lan0'/>",
                 "<teaming type='transient' persistent='ua-iovd-lan-standby'/>"):
        expect(part in text, f"no {part}: {text}")
    start(host)
    wait_state(iovd, disk, "active")
    with open(f"/proc/{host.qemu('web1')}/cmdline", "rb") as file:
        line = file.read().decode()
    expect('"failover":true' in line or "failover=on" in line, f"the card is no standby: {line}")
    expect("failover_pair_id" in line, f"the VF has none: {line}")
    host.virsh("destroy", "web1")
    wait_state(iovd, disk, "ready", 60)
    done(iovd, "detach", "lan")
    text = host.xml("web1", *CONFIG)
    expect("lan0" not in text and "iovd-lan" not in text, f"it is left: {text}")
    expect(MAC not in proc.run(["ip", "link", "show", netdev(igb)]).stdout, "its MAC is left")


def check_without_iovd(iovd, host, disk):
    iovd.stop()
    done = host.virsh_try("start", "--paused", "web1")
    expect(done.returncode and "[NO-DAEMON]" in done.stderr, f"started without iovd: {done.stderr}")
    iovd.start()
    wait_state(iovd, disk, "ready", 60)


def test(scratch):
    inside.load_kvm()
    inside.modprobe("-a", "bridge", "tun")
    guest.accelerator = lambda kernel=None: ("kvm", "host")  # whether it works is not asked: it must
    proc.PATIENCE *= 5  # libvirtd tries QEMU out, in an emulated machine
    igb, nvme = device("igb"), device("nvme")
    hooks = {"qemu.d/iovd": libvirt.hook(scratch / "run/iovd.sock")}
    host = libvirt.LibvirtHost(scratch, "h1", hooks=hooks)
    with host, Iovd(scratch, libvirt=host.uri) as iovd:
        for words in ([], ["nsenter", f"--target={host.netns}", "-n"]):
            proc.run([*words, "ip", "link", "add", "lan0", "type", "bridge"])
        with libvirt.Domain(host, "web1", shared=False) as web1:
            wait_for(lambda: iovd.ok("list", "vms")["vms"], "the domain to be known", 60)
            iovd.ok("vf", "create", igb, 1, seconds=180)
            disk, added = check_given(iovd, host, web1, nvme, igb)
            check_ended(iovd, host, disk, added, vfs(igb)[0])
            check_standby(iovd, host, igb, disk)
            check_without_iovd(iovd, host, disk)
            done(iovd, "detach", disk)
            expect_defined(host, 0, CONFIG)
            expect_equal(driver_of(nvme), "nvme", "driver of the disk that is back")
        iovd.ok("vf", "create", igb, 0, seconds=180)
        proc.run(["ip", "link", "delete", "lan0"])
    return "an NVMe disk, and an igb VF with and without a standby, of a domain"


inside.main(test)
