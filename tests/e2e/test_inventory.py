# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 240
"""What the host has, as iovctl shows it: made-up hosts, this one recorded, this one changing."""
import json
import os
import re
import statistics
import subprocess
import sys
import time

from lib import proc, report
from lib.daemon import Daemon
from lib.inventory import TESTS, Looker, make_tree
from lib.proc import Deadline, Failed, Process, Skipped, until
from lib.varlink import MANAGER, SERVICE, Client, Interface

SCENES = ("lvm", "multipath", "network", "sriov", "groups", "nvme", "volumes", "broken")
KEYS = ("id state class name driver vendor_id device_id iommu_group in_use_by paths "
        "fingerprint").split()
BIG = 10000
LIST_SECONDS = 1  # ten times what is promised: this test may run beside others
EXPLAIN_SECONDS = 1
PICTURE_SECONDS = 5
PRIVATE = ("unshare", "--net", "--mount", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh")


def expect(condition, what):
    if not condition:
        raise Failed(what)


# --- made-up hosts --------------------------------------------------------------------------------

def check_replies(looker):
    """All replies are of the described types, and have the keys that are promised."""
    with Client(looker.socket) as client:
        text = client.call(SERVICE + "GetInterfaceDescription", {"interface": MANAGER[:-1]})
        described = Interface(text["description"])
        for method in ("ListDevices", "ListGroups"):
            described.check_reply(method, client.call(method))
        for device in client.call("ListDevices")["devices"]:
            expect(all(key in device for key in KEYS), f"{device['id']} lacks a key")
            path = {"pci": "/sys/bus/pci/devices/", "net": "/sys/class/net/"}.get(
                device["class"], "/sys/class/block/") + device["id"]
            shown = client.call("Show", {"name": path})
            described.check_reply("Show", shown)
            facts = shown["device"].pop("facts")
            expect(shown["device"] == device, f"{path}: show and list differ")
            expect("stands_on" in facts, f"{path}: no facts")


def check_sriov(looker):
    expect(looker.devices()["0000:41:02.1"]["in_use_by"][0]["via"] == "ens1f0v1", "the way in")
    expect(set(looker.devices("--class", "net")) == {"ens1f0", "ens1f0v1"}, "--class net")
    free = looker.devices("--free")
    expect("0000:41:02.0" in free and "0000:41:02.1" not in free, "--free")
    groups = {g["id"]: g for g in looker.ctl("list", "groups")["groups"]}
    expect(groups[7]["devices"] == ["0000:03:00.0", "0000:03:00.1"], "group 7")
    expect(not groups[7]["viable"] and groups[32]["viable"], "viable")
    expect(groups[7].items() <= looker.ctl("show", "7")["group"].items(), "show 7")
    for words, status, said in ((["show", "41:00.0"], 2, "0001:41:00.0"),
                                (["show", "nothing"], 10, "nothing"),
                                (["list", "devices", "--class", "none"], 2, "none")):
        done = proc.run(looker.cli(*words), check=False)
        expect(done.returncode == status, f"{words}: status {done.returncode}")
        expect(said in done.stdout + done.stderr, f"{words}: {done.stderr}")


def check_groups(looker):
    """A group by any name of a device in it, and its type there and back."""
    expect(looker.ctl("group", "0000:07:01.0") == looker.ctl("group", "5"), "a group by its device")
    reasons = [(r["kind"], r["device"]) for r in looker.ctl("group", "3")["group"]["why"]]
    expect(reasons == [("no_acs", "0000:00:02.0"), ("acs_off", "0000:03:01.0")], f"why: {reasons}")
    for kind, word, already in (("identity", "identity", False), ("identity", "identity", True),
                                ("translate", "DMA-FQ", False), ("translate", "DMA-FQ", True),
                                ("identity", "identity", False), ("translate", "DMA-FQ", False)):
        done = looker.ctl("group", "12", "--type", kind)
        expect((done["group"]["type"], done["already"]) == (word, already), f"{kind}: {done}")
    with Client(looker.socket) as client:
        described = Interface(client.call(SERVICE + "GetInterfaceDescription",
                                          {"interface": MANAGER[:-1]})["description"])
        described.check_reply("ShowGroup", client.call("ShowGroup", {"group": "07:01.0"}))
        described.check_reply("SetGroup", client.call("SetGroup", {"group": "12", "type": "translate"}))
    for words, status, said in ((["group", "5", "--type", "identity"], 4, "GRP-VIABLE"),
                                (["group", "12", "--type", "blocked"], 4, "GRP-TYPE"),
                                (["group", "0000:00:08.0"], 4, "GRP-NONE"),
                                (["group", "99"], 10, "NO-SUCH"),
                                (["group", "12", "--type", "none"], 2, "--type")):
        done = proc.run(looker.cli(*words), check=False)
        expect(done.returncode == status, f"{words}: status {done.returncode}")
        expect(said in done.stdout + done.stderr, f"{words}: {done.stderr}")


def test_scenes(scratch):
    for scene in SCENES:
        tree = make_tree(scene, scratch / scene)
        with Looker(scratch, f"run-{scene}", tree) as looker:
            check_replies(looker)
            if scene == "sriov":
                check_sriov(looker)
            elif scene == "groups":
                check_groups(looker)


# --- this host ------------------------------------------------------------------------------------

def settled(devices):
    """Without what changes by itself while a test runs beside others."""
    return {name: d for name, d in devices.items()
            if d["class"] != "net" and not re.match("(loop|zram|dm-)", name)}


def test_record(scratch):
    """A tree recorded here answers as this host does."""
    tree = scratch / "recorded"
    proc.run([sys.executable, TESTS / "record.py", tree])
    with Looker(scratch, "live") as live, Looker(scratch, "replay", tree) as replay:
        here, there = settled(live.devices()), settled(replay.devices())
        for name in here.keys() | there.keys():
            expect(here.get(name) == there.get(name),
                   f"{name}: here {here.get(name)}, recorded {there.get(name)}")
        expect(here, "this host has no devices")


# --- hot plug -------------------------------------------------------------------------------------

class Watch:
    """`iovctl watch` and its lines."""

    def __init__(self, scratch, looker):
        # A file of its own: in one that has an earlier watch's lines this one would seem to run
        # before it does.
        self.process = Process(looker.cli("watch"), scratch / f"{looker.log.stem}-watch.out")
        self.seen = 0
        self.wait(lambda e: e["event"] == "watching", "the watch to begin")

    def events(self):
        lines = self.process.log.read_text().splitlines(True)[self.seen:]
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait(self, matches, what):
        """The next event that matches; those before it are passed over."""
        def find():
            for number, event in enumerate(self.events()):
                if matches(event):
                    self.seen += number + 1
                    return event
            return None
        return until(find, 10, what, every=0.002)

    def wait_device(self, event, name):
        found = self.wait(lambda e: e["event"] == event and e["id"] == name, f"{name} {event}")
        return found["data"]


def test_hot_plug(scratch):
    """Interfaces of a network namespace of our own come, change and go: seen at once."""
    with Looker(scratch, "hot", prefix=PRIVATE) as looker:
        watch = Watch(scratch, looker)
        with watch.process:
            def ip(*words):
                proc.run(["nsenter", f"--target={looker.pid}", "--net", "--mount", "ip", "link", *words])

            delays = []
            for number in range(5):
                begin = time.monotonic()
                ip("add", f"left{number}", "type", "veth", "peer", "name", f"right{number}")
                data = watch.wait_device("added", f"left{number}")
                delays.append(time.monotonic() - begin)
                expect(data["class"] == "net" and data["mac"], f"left{number}: {data}")
            ip("set", "left1", "name", "other")
            watch.wait_device("removed", "left1")
            watch.wait_device("added", "other")
            try:
                ip("add", "bridge0", "type", "bridge")
            except Failed:
                bridge = "no bridge in this kernel"
            else:
                bridge = "bridge"
                ip("set", "left2", "master", "bridge0")
                data = watch.wait_device("changed", "left2")
                uses = [(use["kind"], use["what"]) for use in data["in_use_by"]]
                expect(uses == [("master", "bridge0")], f"left2 is used by {uses}")
                expect(data["state"] == "host", f"left2 is {data['state']}")
            ip("del", "left0")
            watch.wait_device("removed", "left0")
            devices = looker.devices()
            expect("left0" not in devices and "other" in devices, "the list is behind")
            return f"{bridge}, added within {statistics.median(delays) * 1000:.0f} ms"


def test_loop(scratch):
    """A loop device gets a file and loses it; the file is in use as long as it has it."""
    image = scratch / "disk.img"
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    with Looker(scratch, "loop") as looker:
        watch = Watch(scratch, looker)
        with watch.process:
            done = proc.run(["losetup", "--find", "--show", image], check=False)
            if done.returncode:
                return f"no loop device ({done.stderr.strip()})"
            node = done.stdout.strip()
            name = os.path.basename(node)
            try:
                watch.wait(lambda e: e["id"] == name and e["data"]["size_bytes"] == 8 << 20,
                           f"{name} to have a size")
                shown = looker.ctl("show", str(image))["device"]
                expect(shown["class"] == "file" and shown["state"] == "host", f"image: {shown}")
                expect(shown["in_use_by"][0]["what"] == name, f"image: {shown['in_use_by']}")
                expect(looker.ctl("show", node)["device"]["facts"]["backing_file"] == str(image),
                       "the loop device's file")
            finally:
                proc.run(["losetup", "--detach", node])
            watch.wait(lambda e: e["id"] == name and e["data"]["size_bytes"] == 0,
                       f"{name} to be empty")
            shown = looker.ctl("show", str(image))["device"]
            expect(shown["state"] == "free", f"image afterwards: {shown}")
            with open(image, "ab"):
                by = looker.ctl("show", str(image))["device"]["facts"]["open_for_writing_by"]
                expect([f"(pid {os.getpid()})" in text for text in by] == [True], f"open by {by}")
    return "loop"


# --- what is not given away -----------------------------------------------------------------------

def root_disk():
    """The block device of this host's root file system, or None."""
    number = os.stat("/").st_dev
    link = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    return os.path.basename(os.readlink(link)) if os.path.islink(link) else None


def expect_refused(daemon, device, code, said):
    done = daemon.ctl("attach", str(device), "other", check=False)
    expect(done.returncode == 4, f"attach {device}: status {done.returncode}: {done.stderr}")
    expect(code in done.stderr and said in done.stderr, f"attach {device}: {done.stderr}")


def test_refusals(scratch):
    """A real iovd, with keeper and worker, keeps from VMs what the host or another VM has."""
    image, same = scratch / "first.img", scratch / "same.img"
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    os.link(image, same)
    with Daemon(scratch) as daemon:
        disk = root_disk()
        if disk:
            expect_refused(daemon, "/dev/" + disk, "HOST-USE", "/mountinfo: ")
        with open(image, "ab"):
            expect_refused(daemon, image, "HOST-USE", f"/proc/{os.getpid()}/fd/")
        attachment = daemon.attach(str(image), "one", "disk0")
        expect_refused(daemon, image, "DEV-TAKEN", attachment.id)
        expect_refused(daemon, same, "DEV-TAKEN", attachment.id)
        shown = daemon.ctl("list", "devices", "--vm", "one")["devices"]
        expect([(d["id"], d["state"]) for d in shown] == [(str(image), "attached")], f"{shown}")
        daemon.ctl("detach", attachment.id)
        daemon.ctl("detach", daemon.attach(str(same), "two", "disk0").id)


# --- ten thousand ---------------------------------------------------------------------------------

def test_big(scratch):
    tree = make_tree("big", scratch / "big")
    begin = time.monotonic()
    with Looker(scratch, "big-run", tree) as looker:
        started = time.monotonic() - begin
        devices = looker.devices()
        expect(len(devices) == BIG, f"{len(devices)} devices")
        expect(devices["sd0"]["in_use_by"][0]["kind"] == "root", "sd0 has the root")
        expect(devices["0000:20:00.0"]["state"] == "host", "the controller of the root disk")
        listed = []
        for what in "devices", "groups":
            times = []
            for _ in range(5):
                deadline = Deadline(LIST_SECONDS, f"a list of the {what} of {BIG} devices")
                begin = time.monotonic()
                subprocess.run([str(w) for w in looker.cli("list", what)], check=True,
                               stdout=subprocess.DEVNULL, timeout=60)
                times.append(time.monotonic() - begin)
                deadline.left()
            listed.append(f"{what} listed in {statistics.median(times) * 1000:.0f} ms")
        deadline = Deadline(PICTURE_SECONDS, f"a picture of {BIG} devices")
        begin = time.monotonic()
        tree = proc.run(looker.cli("show", "host", "--tree", "-o", "table")).stdout
        listed.append(f"drawn in {(time.monotonic() - begin) * 1000:.0f} ms")
        deadline.left()
        expect(BIG / 4 < len(tree.splitlines()) < BIG, f"{len(tree.splitlines())} lines")
        deadline = Deadline(EXPLAIN_SECONDS, f"why, of one of {BIG} devices")
        begin = time.monotonic()
        x = looker.ctl("explain", "0000:20:02.0")["explanation"]
        listed.append(f"one explained in {(time.monotonic() - begin) * 1000:.0f} ms")
        deadline.left()
        expect(x["path"] == "passthrough", f"{x}")
        return f"read in {started:.1f} s, {', '.join(listed)}"


def main(scratch):
    if os.geteuid():
        raise Skipped("needs root")
    proc.need("unshare", "util-linux")
    proc.need("ip", "iproute2")
    test_scenes(scratch)
    test_record(scratch)
    test_refusals(scratch)
    return "; ".join((test_hot_plug(scratch), test_loop(scratch), test_big(scratch)))


report.main(main, proc.tmpfs())
