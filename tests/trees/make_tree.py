#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a tree for `iovd --sysroot`: a host that is described here, as /sys and /proc would show it.

    make_tree.py SCENE DIR

The layout is the kernel's: devices below sys/devices, and links to them from sys/class and sys/bus,
all links relative. A scene is a function of this file, named in SCENES.
"""
import os
import sys


def config(port=None, acs=None, several=False, buses=None, phantoms=None, size=4096, sriov=None):
    """Configuration space: `port`: type of the PCI Express capability, None without one; `acs`: its
    capability and control registers; `buses`: secondary and subordinate of a bridge; `sriov`: how
    many functions, offset and stride."""
    data = bytearray(size)

    def put(at, width, value):
        data[at:at + width] = value.to_bytes(width, "little")
    put(0, 4, 0x15218086)
    put(0x0e, 1, (1 if buses else 0) | (0x80 if several else 0))
    if buses:
        put(0x19, 1, buses[0])
        put(0x1a, 1, buses[1])
    put(0x06, 2, 0x10)
    put(0x34, 1, 0x40)
    if size > 64:
        put(0x40, 2, 0x5001)  # power management, then
        put(0x50, 2, 0x0010 if port is not None else 0x0005)  # PCI Express, or MSI
        if port is not None:
            put(0x52, 2, port << 4 | 2)
        if phantoms:
            put(0x54, 4, phantoms << 3)
            put(0x58, 2, 1 << 9)
    if size > 256 and port is not None:
        put(0x100, 4, 0x00010001 | (0x148 if acs else 0x180 if sriov else 0) << 20)  # errors, then
        if sriov:
            put(0x180, 4, 0x00010010)  # SR-IOV
            for at, value in zip((0x18e, 0x194, 0x196), sriov):
                put(at, 2, value)
        if acs:
            put(0x148, 4, 0x0001000d | (0x180 if sriov else 0) << 20)  # ACS
            put(0x14c, 2, acs[0])
            put(0x14e, 2, acs[1])
    return bytes(data)


def iort(base, rows, segment=0):
    """ACPI's table: one SMMUv3 at `base`, and a root complex whose IDs go there by `rows` of first
    ID, how many, first StreamID."""
    smmu = bytes([4]) + (68).to_bytes(2, "little") + bytes(13) + base.to_bytes(8, "little") + bytes(44)
    complex_ = bytearray(bytes([2]) + (36 + 20 * len(rows)).to_bytes(2, "little") + bytes(33))
    complex_[8:16] = len(rows).to_bytes(4, "little") + (36).to_bytes(4, "little")
    complex_[28:32] = segment.to_bytes(4, "little")
    for first, count, output in rows:
        for word in (first, count - 1, output, 48, 0):
            complex_ += word.to_bytes(4, "little")
    table = bytearray(b"IORT" + bytes(44)) + smmu + complex_
    table[4:8] = len(table).to_bytes(4, "little")
    table[36:44] = (2).to_bytes(4, "little") + (48).to_bytes(4, "little")
    return bytes(table)


ISOLATED = (0x1d, 0x1d)  # ACS has what the kernel asks for, and it is on


class Tree:
    def __init__(self, root):
        self.root = root
        self.mounts = []
        self.swaps = []
        self.routes = []
        self.routes6 = []
        self.places = {}  # device name -> its path below the root
        self.vfs = {}  # how many a function has
        self.made = set()  # folders: asking the file system each time is most of the work

    def file(self, path, content):
        self.folder(os.path.dirname(path))
        data = content if isinstance(content, bytes) else (str(content) + "\n").encode()
        with open(f"{self.root}/{path}", "wb") as f:
            f.write(data)

    def files(self, folder, **attrs):
        """One file per attribute: "__" in a name is a slash."""
        self.folder(folder)
        for name, content in attrs.items():
            self.file(os.path.join(folder, name.replace("__", "/")), content)

    def folder(self, path):
        if path not in self.made:
            os.makedirs(f"{self.root}/{path}", exist_ok=True)
            self.made.add(path)

    def link(self, path, target):
        """`target` is a path from the root; the link is relative, as the kernel's are."""
        folder = os.path.dirname(path)
        self.folder(folder)
        here, there = folder.split("/"), target.split("/")
        common = 0  # the name is always there, even where ".." alone would do
        while common < min(len(here), len(there) - 1) and here[common] == there[common]:
            common += 1
        words = [".."] * (len(here) - common) + there[common:]
        os.symlink("/".join(words), f"{self.root}/{path}")

    def pci(self, addr, vendor=0x8086, device=0x1521, cls=0x020000, under=None, driver=None,
            group=None, pf=None, numa=-1, vfs=None, reset="flr bus", space=None):
        where = self.places[under] if under else "sys/devices/pci" + addr[:7]
        place = f"{where}/{addr}"
        self.places[addr] = place
        self.files(place, vendor=f"0x{vendor:04x}", device=f"0x{device:04x}", class_=f"0x{cls:06x}",
                   subsystem_vendor=f"0x{vendor:04x}", subsystem_device="0x0001", numa_node=numa,
                   reset_method=reset)
        os.rename(f"{self.root}/{place}/class_", f"{self.root}/{place}/class")
        if space:
            self.file(f"{place}/config", space)
        self.link(f"sys/bus/pci/devices/{addr}", place)
        if driver:
            self.folder(f"sys/bus/pci/drivers/{driver}")
            self.link(f"{place}/driver", f"sys/bus/pci/drivers/{driver}")
        if group is not None:
            self.group(group, addr)
        if vfs is not None:
            self.files(place, sriov_totalvfs=vfs, sriov_numvfs=0)
        if pf:
            n = self.vfs[pf] = self.vfs.get(pf, -1) + 1
            self.link(f"{place}/physfn", self.places[pf])
            self.link(f"{self.places[pf]}/virtfn{n}", place)
        return place

    def group(self, number, addr, kind="DMA-FQ"):
        base = f"sys/kernel/iommu_groups/{number}"
        if not os.path.exists(f"{self.root}/{base}/type"):
            self.files(base, type=kind, reserved_regions=(
                "0x00000000fee00000 0x00000000feefffff msi"))
        self.link(f"{base}/devices/{addr}", self.places[addr])
        self.link(f"{self.places[addr]}/iommu_group", base)
        self.folder("sys/devices/virtual/iommu/dmar0")
        self.link(f"{self.places[addr]}/iommu", "sys/devices/virtual/iommu/dmar0")

    def net(self, name, under=None, kind=None, lower=(), master=None, mac="02:00:00:00:00:01",
            driver=None):
        place = f"{self.places[under]}/net/{name}" if under else f"sys/devices/virtual/net/{name}"
        index = 1 + sum(key.startswith("net:") for key in self.places)
        self.places["net:" + name] = place
        self.files(place, address=mac, operstate="up", ifindex=index, addr_assign_type=0, dev_port=0,
                   uevent=(f"DEVTYPE={kind}\n" if kind else "") + f"INTERFACE={name}\nIFINDEX={index}")
        self.link(f"sys/class/net/{name}", place)
        if under:
            self.link(f"{place}/device", self.places[under])
        for other in lower:
            below = self.places["net:" + other]
            self.link(f"{place}/lower_{other}", below)
            self.link(f"{below}/upper_{name}", place)
            if kind in ("bridge", "bond"):
                self.link(f"{below}/master", place)

    def block(self, name, number, sectors=2048000, place=None, under=None, slaves=(), **attrs):
        if not place:
            place = f"{self.places[under]}/block/{name}" if under else f"sys/devices/virtual/block/{name}"
        self.places[name] = place
        self.files(place, dev=number, size=sectors, ro=0, removable=0, **attrs)
        self.files(place, queue__logical_block_size=512, queue__rotational=0)
        for folder in ("slaves", "holders"):
            self.folder(f"{place}/{folder}")
        self.link(f"sys/class/block/{name}", place)
        self.link(f"sys/dev/block/{number}", place)
        self.file(f"dev/{name}", b"")
        for slave in slaves:
            self.link(f"{place}/slaves/{slave}", self.places[slave])
            self.link(f"{self.places[slave]}/holders/{name}", place)

    def scsi(self, name, number, host, serial=None, wwid=None, model="TURBO DISK"):
        """A disk below a SCSI host of a PCI function."""
        device = f"{self.places[host]}/host0/target0:0:0/0:0:0:{number.split(':')[1]}"
        self.places["scsi:" + name] = device
        self.files(device, model=model + "        ")
        if wwid:
            self.files(device, wwid=wwid)
        if serial:
            self.file(f"{device}/vpd_pg80", b"\0\x80" + len(serial).to_bytes(2, "big") + serial.encode())
        self.folder("sys/bus/scsi/drivers/sd")
        self.link(f"{device}/driver", "sys/bus/scsi/drivers/sd")
        self.block(name, number, place=f"{device}/block/{name}")
        self.link(f"{self.places[name]}/device", device)

    def partition(self, disk, name, index, number, sectors=1024000):
        place = f"{self.places[disk]}/{name}"
        self.places[name] = place
        self.files(place, dev=number, size=sectors, ro=0, partition=index, start=2048 * index)
        self.folder(f"{place}/holders")
        self.link(f"sys/class/block/{name}", place)
        self.link(f"sys/dev/block/{number}", place)
        self.file(f"dev/{name}", b"")

    def dm(self, index, name, slaves, uuid=None, sectors=1024000):
        self.block(f"dm-{index}", f"253:{index}", sectors, slaves=slaves,
                   dm__name=name, dm__uuid=uuid or "LVM-" + name)
        self.link(f"dev/mapper/{name}", f"dev/dm-{index}")

    def mount(self, number, point, source, fstype="ext4", root="/"):
        self.mounts.append(f"{len(self.mounts) + 30} 1 {number} {root} {point} rw,relatime shared:1 - "
                           f"{fstype} {source} rw")

    def swap(self, path, kind="partition"):
        self.swaps.append(f"{path}\t{kind}\t8388604\t0\t-2")

    def route(self, interface, destination="00000000", mask="00000000", flags="0003"):
        self.routes.append(f"{interface}\t{destination}\t0100000A\t{flags}\t0\t0\t0\t{mask}\t0\t0\t0")

    def route6(self, interface, destination="0" * 32, length="00", flags="00000003"):
        self.routes6.append(f"{destination} {length} {'0' * 32} 00 fe80{'0' * 27}1 00000400 00000001 "
                            f"00000000 {flags} {interface:>8}")

    def finish(self):
        """The tables of /proc, and what every host has."""
        common = ["22 1 0:21 / /proc rw - proc proc rw", "23 1 0:22 / /sys rw - sysfs sysfs rw"]
        self.file("proc/self/mountinfo", "\n".join(common + self.mounts))
        self.file("proc/swaps", "\n".join(["Filename\t\tType\t\tSize\t\tUsed\t\tPriority"] + self.swaps))
        self.file("proc/net/route", "\n".join(
            ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"]
            + self.routes))
        self.file("proc/net/ipv6_route", "\n".join(self.routes6))
        for folder in ("sys/bus/pci/devices", "sys/class/net", "sys/class/block"):
            self.folder(folder)


def scene_lvm(t):
    """Root and swap on LVM on md RAID 1 on a partition of each of two disks; a third disk is free."""
    t.pci("0000:00:1f.2", device=0x2922, cls=0x010601, driver="ahci", group=3)
    for i, disk in enumerate(("sda", "sdb", "sdc")):
        t.scsi(disk, f"8:{16 * i}", "0000:00:1f.2", serial=f"S{i:04d}", wwid=f"naa.500000000000000{i}")
    for i, disk in enumerate(("sda", "sdb")):
        t.partition(disk, disk + "1", 1, f"8:{16 * i + 1}")
        t.partition(disk, disk + "2", 2, f"8:{16 * i + 2}")
    t.block("md0", "9:0", slaves=("sda2", "sdb2"), md__level="raid1", md__raid_disks=2)
    t.dm(0, "vg-root", ["md0"])
    t.dm(1, "vg-swap", ["md0"])
    t.dm(2, "vg-spare", ["md0"])
    t.mount("253:0", "/", "/dev/mapper/vg-root")
    t.mount("8:1", "/boot/efi", "/dev/sda1", "vfat")
    t.mount("253:0", "/srv/a\\040b", "/dev/mapper/vg-root", root="/srv")
    t.swap("/dev/dm-1")
    t.link("dev/disk/by-id/ata-TURBO_S0002", "dev/sdc")


def scene_multipath(t):
    """One volume by two host adapters; a partition of it is mounted through multipath."""
    for i, addr in enumerate(("0000:05:00.0", "0000:82:00.0")):
        t.pci(addr, vendor=0x1077, device=0x2261, cls=0x0c0400, driver="qla2xxx", group=10 + i, numa=i)
        t.scsi("sd" + "ab"[i], f"8:{16 * i}", addr, wwid="naa.6000000000000000000000000000abcd")
    t.dm(0, "mpatha", ["sda", "sdb"], uuid="mpath-36000")
    t.dm(1, "mpatha-part1", ["dm-0"], uuid="part1-mpath-36000")
    t.mount("253:1", "/data", "/dev/mapper/mpatha-part1", "xfs")


def scene_network(t):
    """eth0 and eth1 in bond0, VLAN 100 on it, that in br0, which has the default route; eth2 free."""
    for i in range(4):
        t.pci(f"0000:41:00.{i}", group=20 + i, driver="igb", numa=1)
        t.net(f"eth{i}", under=f"0000:41:00.{i}", mac=f"00:1b:21:00:00:0{i}")
    t.net("bond0", kind="bond", lower=("eth0", "eth1"))
    t.net("bond0.100", kind="vlan", lower=("bond0",))
    t.net("br0", kind="bridge", lower=("bond0.100",))
    t.net("macvtap0", kind="macvtap", lower=("eth3",))
    t.net("br1", kind="bridge")
    t.file("sys/class/net/bonding_masters", "bond0")  # not all that is listed is an interface
    t.route("br0")
    t.route("eth2", destination="0000000A", mask="000000FF", flags="0001")
    t.route("eth2", flags="0200")  # "unreachable": no way to anywhere


def scene_sriov(t):
    """A function with virtual functions, one of which has the host's way to the IPv6 network."""
    t.pci("0000:40:01.0", device=0x2030, cls=0x060400, driver="pcieport", group=1)
    t.pci("0000:41:00.0", device=0x1572, under="0000:40:01.0", driver="i40e", group=2, vfs=64)
    for i in range(4):
        t.pci(f"0000:41:02.{i}", device=0x154c, under="0000:40:01.0", driver="iavf" if i == 1 else
              "vfio-pci" if i == 2 else None, group=30 + i, pf="0000:41:00.0")
    t.net("ens1f0", under="0000:41:00.0")
    t.net("ens1f0v1", under="0000:41:02.1")
    t.route6("ens1f0v1")
    t.route6("lo", flags="00200200")
    # another domain has a function of the same bus, slot and function
    t.pci("0001:41:00.0", device=0x1572, group=50)
    # a group that cannot be split: one function is on vfio-pci, the other keeps its driver
    t.pci("0000:03:00.0", device=0x1521, group=7, driver="vfio-pci")
    t.pci("0000:03:00.1", device=0x1521, group=7, driver="igb")


def bridge(t, addr, under=None, group=None, driver="pcieport", **space):
    t.pci(addr, device=0x2030, cls=0x060400, driver=driver, group=group, under=under,
          space=config(**space))


def scene_groups(t):
    """Groups of every kind, with the configuration spaces that explain them."""
    end = dict(space=config(port=0))
    # 1, 2: a root port that isolates, and the function behind it
    bridge(t, "0000:00:01.0", group=1, port=4, acs=ISOLATED, buses=(1, 1))
    t.pci("0000:01:00.0", under="0000:00:01.0", group=2, driver="nvme", **end)
    # 3: a root port without ACS, an upstream and two downstream ports, of which one isolates
    bridge(t, "0000:00:02.0", group=3, port=4, buses=(2, 5))
    bridge(t, "0000:02:00.0", under="0000:00:02.0", group=3, port=5, buses=(3, 5))
    bridge(t, "0000:03:00.0", under="0000:02:00.0", group=3, port=6, acs=ISOLATED, buses=(4, 4))
    bridge(t, "0000:03:01.0", under="0000:02:00.0", group=3, port=6, acs=(0x1d, 0x11), buses=(5, 5))
    t.pci("0000:04:00.0", under="0000:03:00.0", group=3, **end)
    t.pci("0000:05:00.0", under="0000:03:01.0", group=3, **end)
    # 4, 5: two functions behind a PCI bridge, below a root port that isolates
    bridge(t, "0000:00:03.0", group=4, port=4, acs=ISOLATED, buses=(6, 7))
    bridge(t, "0000:06:00.0", under="0000:00:03.0", group=5, port=7, buses=(7, 7), driver="shpchp")
    for slot in (1, 2):
        t.pci(f"0000:07:{slot:02x}.0", under="0000:06:00.0", group=5, space=config())
    # 6, 7, 8: functions of one device: without ACS together, one with ACS apart
    bridge(t, "0000:00:04.0", group=6, port=4, acs=ISOLATED, buses=(8, 8))
    for function, acs, group in ((0, None, 7), (1, None, 7), (2, (0x1c, 0x1c), 8)):
        t.pci(f"0000:08:00.{function}", under="0000:00:04.0", group=group,
              space=config(port=0, acs=acs, several=True))
    # 9, 10: a root port without ACS that the kernel trusts; the function has phantoms
    bridge(t, "0000:00:05.0", group=9, port=4, buses=(9, 9))
    t.pci("0000:09:00.0", under="0000:00:05.0", group=10, space=config(port=0, phantoms=2))
    # 11: all that is not root can see is the header
    bridge(t, "0000:00:06.0", group=11, port=4, buses=(10, 10), size=64)
    t.pci("0000:0a:00.0", under="0000:00:06.0", group=11, space=config(port=0, size=64))
    # 12: together, and nothing says why
    bridge(t, "0000:00:07.0", group=12, port=4, acs=ISOLATED, buses=(11, 11))
    t.pci("0000:0b:00.0", under="0000:00:07.0", group=12, **end)
    # no group: on Arm, a device that no driver has probed yet
    t.pci("0000:00:08.0", space=config(port=9))
    # a group that the kernel lets through, and one of conventional functions of one device
    t.pci("0000:00:09.0", group=13, space=config(port=9))
    for function in (0, 2, 3, 4, 5):
        t.pci(f"0000:00:1f.{function}", group=14, space=config(several=True))
    t.file("sys/kernel/iommu_groups/13/type", "identity")
    t.file("sys/kernel/iommu_groups/13/reserved_regions",
           "0x0000000008000000 0x00000000080fffff msi\n0x000000fd00000000 0x000000ffffffffff reserved")
    t.file("sys/firmware/acpi/tables/IORT", iort(0x9050000, ((0x700, 0x100, 0x40700), (0, 0x600, 0x1000))))


def scene_nvme(t):
    """A plain namespace with swap on a partition, and one of two controllers that share it."""
    nvme = dict(vendor=0x144d, device=0xa824, cls=0x010802, driver="nvme")
    for i, addr in enumerate(("0000:01:00.0", "0000:02:00.0", "0000:03:00.0")):
        t.pci(addr, group=i, **nvme)
        t.places[f"nvme{i}"] = f"{t.places[addr]}/nvme/nvme{i}"
        t.files(t.places[f"nvme{i}"], model="FAST 9000", serial=f"N{i}")
        t.link(f"{t.places[f'nvme{i}']}/device", t.places[addr])
    t.block("nvme0n1", "259:0", place=t.places["nvme0"] + "/nvme0n1", wwid="eui.0025385a00000001")
    t.link(t.places["nvme0n1"] + "/device", t.places["nvme0"])
    t.partition("nvme0n1", "nvme0n1p1", 1, "259:1")
    t.partition("nvme0n1", "nvme0n1p2", 2, "259:2")
    t.swap("/dev/nvme0n1p2")
    subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys1"
    t.files(subsystem, model="FAST 9000", serial="N12")
    for i in (1, 2):
        t.link(f"{subsystem}/nvme{i}", t.places[f"nvme{i}"])
        t.block(f"nvme1c{i}n1", f"259:{9 + i}", place=f"{t.places[f'nvme{i}']}/nvme1c{i}n1", hidden=1)
    t.block("nvme1n1", "259:5", place=subsystem + "/nvme1n1", wwid="uuid.0-1")
    t.link(t.places["nvme1n1"] + "/device", subsystem)
    t.mount("259:5", "/fast", "/dev/nvme1n1", "xfs")


def scene_volumes(t):
    """btrfs over two disks, bcache, a loop device, and a name that is a disk's and an interface's."""
    t.pci("0000:00:1f.2", device=0x2922, cls=0x010601, driver="ahci", group=3)
    for i, disk in enumerate(("sda", "sdb", "sdc", "sdd", "sde")):
        t.scsi(disk, f"8:{16 * i}", "0000:00:1f.2", serial=f"V{i:04d}")
    for disk in ("sda", "sdb"):
        t.link(f"sys/fs/btrfs/11111111-2222-3333-4444-555555555555/devices/{disk}", t.places[disk])
    t.folder("sys/fs/btrfs/features")
    t.mount("0:45", "/pool", "/dev/sdb", "btrfs")
    t.block("bcache0", "252:0", slaves=("sdc",))
    for disk, name in (("sdc", "bdev0"), ("sdd", "cache0")):
        t.folder(f"{t.places[disk]}/bcache")
        t.link(f"sys/fs/bcache/66666666-7777-8888-9999-000000000000/{name}", f"{t.places[disk]}/bcache")
    t.block("loop0", "7:0", loop__backing_file="/srv/images/a.img")
    t.block("loop1", "7:1", sectors=0)
    t.block("cciss!c0d0", "104:0")
    t.file("dev/cciss/c0d0", b"")
    t.net("sde")


def scene_broken(t):
    """What no kernel shows: links in circles, links out of the tree, junk, files of any size."""
    t.pci("0000:00:01.0", group=1)
    os.unlink(f"{t.root}/sys/bus/pci/devices/0000:00:01.0")
    os.symlink("0000:00:01.0", f"{t.root}/sys/bus/pci/devices/0000:00:01.0")  # a circle
    t.pci("0000:00:02.0")
    t.file("sys/devices/pci0000:00/0000:00:02.0/vendor", b"\xff\xfe\x00junk")
    t.pci("0000:00:03.0")
    t.file("sys/devices/pci0000:00/0000:00:03.0/vendor", b"0x8086" * 100000)
    t.pci("0000:00:04.0")  # the one that is well, with a hostile neighbour's name in it
    t.file("sys/devices/pci0000:00/0000:00:04.0/reset_method", b"flr\x1b[31m\n")
    t.folder("sys/bus/pci/devices/0000:00:05.0")  # nothing in it
    t.file("sys/bus/pci/devices/0000:00:06.0", "a file")
    os.symlink("/etc", f"{t.root}/sys/bus/pci/devices/0000:00:07.0")
    t.folder("sys/bus/pci/devices/" + "x" * 200)
    t.block("sda", "8:0")
    t.block("sdb", "8:16")
    for a, b in (("sda", "sdb"), ("sdb", "sda")):  # each on the other
        t.link(f"{t.places[a]}/slaves/{b}", t.places[b])
        t.link(f"{t.places[b]}/holders/{a}", t.places[a])
    t.block("sdc", "8:32")
    t.file(f"{t.places['sdc']}/size", "18446744073709551615")
    t.block("sdd", "no number")
    t.block("sde", "8:64")
    os.unlink(f"{t.root}/{t.places['sde']}/size")
    os.mkfifo(f"{t.root}/{t.places['sde']}/size")  # reading it would wait for ever
    t.net("eth0")
    os.unlink(f"{t.root}/{t.places['net:eth0']}/address")
    os.symlink("/etc/hostname", f"{t.root}/{t.places['net:eth0']}/address")
    t.net("\x1b[2J")
    t.mounts += ["", "garbage", "1 2 3", "9 9 8:0 / /x rw", "40 1 8:0 / /a\\0", "\\ \\ \\ - - -",
                 "41 1 999999:999999999999 / /big rw - ext4 /dev/none rw",
                 "42 1 8:0 / /bad\\012line rw shared:1 - ext4 /dev/sda rw"]
    t.swaps += ["x", "/dev/../../../etc/passwd partition 1 1 1", "\\"]
    t.routes += ["eth0", "eth0\tZZ\t0\t0003\t0\t0\t0\t00000000\t0\t0\t0"]
    t.routes6 += ["0", "0 0 0 0 0 0 0 0 0 0 0 0 0 0"]


def scene_big(t):
    """Ten thousand devices: 6000 PCI functions (5520 of them virtual), 2000 interfaces, 2000 disks
    and partitions, with mounts, bridges and volumes among them."""
    pf_count, vf_count = 120, 46
    for i in range(360):
        t.pci(f"0000:{i // 32:02x}:{i % 32:02x}.0", device=0x2030, cls=0x060400, driver="pcieport")
    functions = []
    for p in range(pf_count):
        bus, base = 0x20 + p % 96, f"{p // 96:04x}"
        pf = f"{base}:{bus:02x}:00.0"
        t.pci(pf, device=0x1572, driver="i40e", group=p * 64, vfs=64, numa=p % 2)
        functions.append(pf)
        for v in range(vf_count):
            addr = f"{base}:{bus:02x}:{2 + v // 8:02x}.{v % 8}"
            t.pci(addr, device=0x154c, driver="iavf" if v < 16 else "vfio-pci", group=p * 64 + v + 1,
                  pf=pf, numa=p % 2)
            functions.append(addr)
    carriers = [f for n, f in enumerate(functions) if n % (vf_count + 1) < 16][:1900]
    for i, addr in enumerate(carriers):
        t.net(f"eth{i}", under=addr, mac=f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}")
    for i in range(100):
        t.net(f"br{i}", kind="bridge", lower=(f"eth{i}",))
    t.route("br0")
    t.route6("br1")
    hba = carriers[0]
    for i in range(400):
        t.scsi(f"sd{i}", f"8:{i * 16}", hba, serial=f"BIG{i:05d}", wwid=f"naa.5{i:015x}")
        for part in (1, 2, 3):
            t.partition(f"sd{i}", f"sd{i}p{part}", part, f"8:{i * 16 + part}")
    for i in range(400):
        t.dm(i, f"vg-lv{i}", [f"sd{i}p3"])
    t.mount("253:0", "/", "/dev/mapper/vg-lv0")
    for i in range(1, 100):
        t.mount(f"253:{i}", f"/srv/{i}", f"/dev/mapper/vg-lv{i}", "xfs")
    t.swap("/dev/sd0p1")


SCENES = {name[6:]: f for name, f in list(globals().items()) if name.startswith("scene_")}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in SCENES:
        sys.exit(f"usage: make_tree.py SCENE DIR\nscenes: {' '.join(sorted(SCENES))}")
    tree = Tree(sys.argv[2])
    os.makedirs(sys.argv[2], exist_ok=True)
    SCENES[sys.argv[1]](tree)
    tree.finish()


if __name__ == "__main__":
    main()
