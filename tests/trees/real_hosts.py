#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts that people have described in public issues, typed from their listings: what stands there and
nothing else. Where a listing has no configuration spaces, these are not there; IDs, and classes, that it leaves
out are 0.

    real_hosts.py DIR

writes DIR/NAME/... for each host, and DIR/expected, as rule_trees.py does.

A line of a listing: address, class, vendor and device, group ("-": none), then words: a driver, or
<ADDRESS, the bridge above it.
"""
import os
import sys

from make_tree import Tree, config
from rule_trees import DEAD, MEMORY_64, UNSET, resources

PASS, VFS, HOST = "passthrough", "vfs", "host"


def add(t, line):
    addr, kind, ids, group, *words = line.split()
    addr = addr if addr.count(":") == 2 else "0000:" + addr
    vendor, device = (int(word, 16) for word in ids.split(":"))
    under = next((word[1:] if word.count(":") == 2 else "0000:" + word[1:] for word in words if word[0] == "<"), None)
    driver = next((word for word in words if word[0] != "<"), None)
    t.pci(addr, vendor, device, int(kind, 16) << 8, under=under, driver=driver,
          group=None if group == "-" else int(group))


def dead(t):
    place = t.places["0000:01:00.0"]
    t.file(f"{place}/config", DEAD)
    t.files(place, power_state="D3cold")


def sriov(addr, total, first, vf_bars):
    """A function that can have `total` virtual ones: their BARs as pairs of address and size."""
    def edit(t):
        place = t.places[addr]
        t.files(place, sriov_totalvfs=total, resource=resources([first], vf_bars))
        t.file(f"{place}/config", config(port=0, sriov=(total, 16, 1)))
    return edit


def cmdline(text, release=None):
    def edit(t):
        t.file("proc/cmdline", text)
        if release:
            t.file("proc/sys/kernel/osrelease", release)
    return edit


def no_iommu_mode(t):
    t.file("proc/cmdline", "iommu=off")
    t.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")


def passes(t):
    cmdline("quiet intel_iommu=on iommu=pt", "6.2.10-201.fsync.fc37.x86_64")(t)
    for group in (1, 2, 3, 4):
        t.file(f"sys/kernel/iommu_groups/{group}/type", "identity")


def passes_all(groups, text, release):
    """The kernel says "Default domain type: Passthrough"."""
    def edit(t):
        cmdline(text, release)(t)
        for group in groups:
            t.file(f"sys/kernel/iommu_groups/{group}/type", "identity")
    return edit


def slow_link(t):
    """limited by 5 GT/s x2 link, capable of 8 GT/s x2"""
    t.files(t.places["0000:08:00.0"], current_link_width=2, max_link_width=2,
            current_link_speed="5.0 GT/s PCIe", max_link_speed="8.0 GT/s PCIe")


def firmware_memory(t):
    """The kernel's log says that there is such a region, and not where."""
    t.file("sys/kernel/iommu_groups/0/reserved_regions", "0x0000000000000000 0x0000000000000fff direct")


# Name; issue; listing; what else it says; asks: subject, about, codes (with "-" in front: not these).
HOSTS = (
    ("laptop-cezanne", "ryanprescott/realtek-verb-tools#8", """
        00:08.0 0600 1022:1632 5
        00:08.1 0604 1022:1635 5
        04:00.0 0300 1002:1638 5 <00:08.1
        04:00.1 0403 1002:1637 5 <00:08.1
        04:00.2 1080 1022:15df 5 <00:08.1
        04:00.3 0c03 1022:1639 5 <00:08.1
     """, None, (("04:00.1", PASS, "GRP-SPLIT -GRP-VIABLE -GRP-NONE"),)),
    ("desktop-skylake", "Coopydood/ultimate-macOS-KVM#213", """
        00:00.0 0600 8086:191f 1
        00:01.0 0604 8086:1901 2
        00:02.0 0380 8086:1912 0
        01:00.0 0300 10de:2184 2 <00:01.0
        01:00.1 0403 10de:1aeb 2 <00:01.0
        01:00.2 0c03 10de:1aec 2 <00:01.0
        01:00.3 0c80 10de:1aed 2 <00:01.0
     """, None, (("01:00.0", PASS, "GRP-SPLIT -GRP-VIABLE"), ("00:02.0", PASS, "-GRP-SPLIT"))),
    ("board-x370", "HikariKnight/quickpassthrough#22", """
        01:00.0 0c03 1022:43d0 12 xhci_hcd
        01:00.1 0106 1022:43c8 12 ahci
        01:00.2 0604 1022:43c6 12 pcieport
        02:00.0 0604 1022:43c7 12 pcieport <01:00.2
        02:01.0 0604 1022:43c7 12 pcieport <01:00.2
     """, None, (("01:00.0", PASS, "GRP-SPLIT -GRP-VIABLE"),)),
    ("desktop-haswell", "64kramsystem/vga-passthrough#15", """
        00:01.0 0604 8086:0c01 1
        00:03.0 0403 8086:0c0c 3
        00:16.0 0780 8086:8cba 5
        00:1b.0 0403 8086:8ca0 7
        00:1d.0 0c03 8086:8ca6 11
        01:00.0 0300 10de:1187 1 <00:01.0
        01:00.1 0403 10de:0 1 <00:01.0
        03:00.0 0200 10ec:8168 13
     """, None, (("01:00.0", PASS, "GRP-SPLIT"), ("03:00.0", PASS, "-GRP-SPLIT -GRP-NONE"),
                 ("00:1b.0", PASS, "-GRP-SPLIT"))),
    ("laptop-hm87", "T-vK/MobilePassThrough#7", """
        00:00.0 0600 8086:0c04 0
        00:01.0 0604 8086:0c01 1
        01:00.0 0302 10de:11e1 1 <00:01.0
        01:00.1 0403 10de:0e0b 1 <00:01.0
        00:1d.0 0c03 8086:8c26 10
        00:1f.0 0601 8086:8c4b 11
        00:1f.2 0104 8086:282a 11
        00:1f.3 0c05 8086:8c22 11
        04:00.0 0200 1969:e091 12
        05:00.0 0280 168c:0034 13
     """, None, (("00:1f.2", PASS, "GRP-SPLIT"), ("04:00.0", PASS, "-GRP-SPLIT"),
                 ("01:00.0", PASS, "GRP-SPLIT"))),
    ("desktop-comet-lake", "lexi-src/sGPUpt#28", """
        00:00.0 0600 8086:9b33 0
        00:01.0 0604 8086:1901 1
        01:00.0 0300 10de:2482 1 <00:01.0
        01:00.1 0403 10de:228b 1 <00:01.0
        00:14.0 0c03 8086:43ed 2
        00:14.2 0500 8086:43ef 2
        00:15.0 0c80 8086:43e8 3
        00:15.1 0c80 8086:43e9 3
        00:16.0 0780 8086:43e0 4
     """, passes, (("01:00.0", PASS, "GRP-SPLIT"), ("00:14.0", PASS, "GRP-SPLIT"),
                   ("00:16.0", PASS, "-GRP-SPLIT"), (HOST, HOST, "-KERN-OLD -ACS-OVERRIDE"))),
    ("server-x58", "foxlet/vmra1n#4", """
        00:00.0 0600 8086:3405 0
        00:1f.0 0601 8086:3a16 10
        00:1f.2 0101 8086:3a20 10
        00:1f.3 0c05 8086:3a30 10
        00:1f.5 0101 8086:3a26 10
        02:00.0 0300 10de:1c03 11
        02:00.1 0403 10de:10f1 11
     """, None, (("02:00.0", PASS, "GRP-SPLIT"), ("00:1f.5", PASS, "GRP-SPLIT"))),
    ("laptop-qm77", "foxlet/macOS-Simple-KVM#373", """
        00:00.0 0600 8086:0154 0
        00:14.0 0c03 8086:0 2
        00:1c.3 0604 8086:1e16 10
        00:1d.0 0c03 8086:1e26 11
        00:1f.0 0601 8086:1e55 12
        00:1f.2 0106 8086:1e03 12
        00:1f.3 0c05 8086:1e22 12
        24:00.0 0c00 197b:2380 13 <00:1c.3
        24:00.1 0880 197b:2392 13 <00:1c.3
     """, None, (("00:14.0", PASS, "-GRP-SPLIT -GRP-NONE"), ("24:00.0", PASS, "GRP-SPLIT"))),
    ("no-group", "foxlet/macOS-Simple-KVM#143", """
        00:14.0 0c03 8086:9c31 -
     """, cmdline("quiet nvidia-drm.modeset=1 iommu=pt intel_iommu=on vfio-pci.ids=8086:9c31",
                  "5.2.0-kali2-amd64"),
     (("00:14.0", PASS, "GRP-NONE -GRP-SPLIT"), (HOST, HOST, "KERN-OLD -FW-NO-IOMMU"))),
    ("vfs-in-one-group", "allegro0132/Openwrt-mlnx-ofed#2", """
        01:00.0 0200 15b3:1015 1
        01:00.1 0200 15b3:1015 1
        01:00.2 0200 15b3:1016 1
        01:00.3 0200 15b3:1016 1
        01:00.4 0200 15b3:1016 1
        01:00.5 0200 15b3:1016 1
     """, None, (("01:00.2", PASS, "GRP-SPLIT"),)),
    ("server-a100", "kata-containers/kata-containers#6663", """
        40:03.0 0600 1022:1482 44
        40:03.1 0604 1022:1483 44
        41:00.0 0302 10de:20b5 44 <40:03.1
     """, None, (("41:00.0", PASS, "-GRP-SPLIT -GRP-VIABLE -GRP-NONE"),)),
    ("board-apu2", "pcengines/apu2-documentation#236", """
        00:00.0 0600 1022:0 0
        00:02.0 0600 1022:0 1
        00:02.2 0604 1022:0 1
        00:02.3 0604 1022:0 1
        00:02.4 0604 1022:0 1
        00:02.5 0604 1022:0 1
        01:00.0 0200 8086:0 1 <00:02.2
        02:00.0 0200 8086:0 1 <00:02.3
        03:00.0 0200 8086:0 1 <00:02.4
        04:00.0 0280 0:0 1 <00:02.5
     """, None, (("04:00.0", PASS, "GRP-SPLIT -GRP-VIABLE"),)),
    ("desktop-am5", "harvester/harvester#10499", """
        00:01.0 0600 1022:14da 0
        00:01.1 0604 1022:14db 1
        00:08.1 0604 1022:14dd 11
        00:14.0 0c05 1022:790b 13
        00:14.3 0601 1022:790e 13
     """, None, (("00:14.0", PASS, "-GRP-SPLIT"),)),
    ("graphics-no-room", "strongtz/i915-sriov-dkms#129 (the BARs: #237)", """
        00:02.0 0300 8086:46d4 0 i915
     """, sriov("0000:00:02.0", 7, (0x6000000000, 0x1000000), [
         (0, 0x7000000, MEMORY_64 | UNSET), (0, 0), (0, 0xe0000000, MEMORY_64 | UNSET)]),
     (("00:02.0", VFS, "SRIOV-NO-MMIO -SRIOV-FIRMWARE -SRIOV-NO-DRIVER"),)),
    ("x722-with-room", "projectacrn/acrn-hypervisor#4444", """
        67:00.0 0200 8086:0 1 i40e
     """, sriov("0000:67:00.0", 32, (0xbc000000, 0x1000000), [(0xc0000000, 0x400000)]),
     (("67:00.0", VFS, "-SRIOV-NO-MMIO -SRIOV-NONE -SRIOV-FIRMWARE -SRIOV-NO-BUS"),)),
    ("quickassist", "intel/intel-device-plugins-for-kubernetes#517", """
        b1:01.0 0b40 8086:37c9 3
     """, None, (("b1:01.0", PASS, "VFIO-DENYLIST"),)),
    ("gpu-without-power", "kata-containers/kata-containers#11708", """
        01:00.0 0302 10de:0 3 vfio-pci
     """, dead, (("01:00.0", PASS, "DEV-ASLEEP -DEV-DEAD"),)),
    ("gpu-with-usb", "uwzis/GPU-Passthrough-Manager#21", """
        09:00.0 0300 10de:21c4 15
        09:00.1 0403 10de:1aeb 15
        09:00.2 0c03 10de:1aec 15
        09:00.3 0c80 10de:1aed 15
     """, None, (("09:00.0", PASS, "GRP-SPLIT -GRP-VIABLE"), ("09:00.2", PASS, "GRP-SPLIT"))),
    ("board-pi5-i350", "raspberrypi/linux#6834", """
        0001:00:00.0 0604 14e4:0 -
        0001:01:00.0 0200 8086:0 - <0001:00:00.0
        0001:01:00.1 0200 8086:0 - <0001:00:00.0
        0001:01:00.2 0200 8086:0 - <0001:00:00.0
        0001:01:00.3 0200 8086:0 - <0001:00:00.0
     """, None, (("0001:01:00.0", PASS, "GRP-NONE -GRP-SPLIT"), (HOST, HOST, "-FW-NO-IOMMU"))),
    ("board-pi-gtx1050", "geerlingguy/raspberry-pi-pcie-devices#754", """
        0001:01:00.0 0300 10de:1c82 -
     """, None, (("0001:01:00.0", PASS, "GRP-NONE"),)),
    ("minipc-cezanne", "isc30/ryzen-gpu-passthrough-proxmox#45", """
        00:01.0 0600 1022:1632 0
        00:01.2 0604 1022:1634 1
        01:00.0 0200 10ec:8125 10
        02:00.0 0200 10ec:8125 11
     """, None, (("01:00.0", PASS, "-GRP-SPLIT -GRP-VIABLE -GRP-NONE"),
                 ("02:00.0", PASS, "-GRP-SPLIT"))),
    ("minipc-hawk-point", "isc30/ryzen-gpu-passthrough-proxmox#99", """
        00:01.0 0000 0:0 0
        00:01.2 0000 0:0 1
        00:02.4 0000 0:0 6
        00:08.1 0000 0:0 11
        00:14.0 0000 0:0 14
        00:14.3 0000 0:0 14
        00:18.0 0000 0:0 15
        00:18.1 0000 0:0 15
        00:18.2 0000 0:0 15
     """, None, (("00:14.0", PASS, "GRP-SPLIT"), ("00:18.1", PASS, "GRP-SPLIT"),
                 ("00:02.4", PASS, "-GRP-SPLIT -GRP-NONE"))),
    ("desktop-switch", "cloud-hypervisor/cloud-hypervisor#6147", """
        00:07.1 0000 0:0 9
        00:14.0 0000 0:0 12
        00:14.3 0000 0:0 12
        01:00.0 0000 0:0 14
        02:00.0 0000 0:0 15
        03:02.0 0000 0:0 16
        03:03.0 0000 0:0 17
     """, None, (("00:14.3", PASS, "GRP-SPLIT"), ("01:00.0", PASS, "-GRP-SPLIT"),
                 ("03:03.0", PASS, "-GRP-SPLIT -GRP-NONE"))),
    ("no-group-manjaro", "foxlet/macOS-Simple-KVM#579", """
        08:00.0 0300 0:0 -
     """, None, (("08:00.0", PASS, "GRP-NONE -GRP-SPLIT"),)),
    ("desktop-passes", "kata-containers/kata-containers#10622", """
        00:00.0 0600 0:0 0
        00:01.0 0604 0:0 1
        00:12.0 0000 0:0 2
        00:14.0 0000 0:0 3
        00:14.2 0000 0:0 3
        01:00.0 0300 10de:1c82 1 <00:01.0
        01:00.1 0403 10de:0fb9 1 <00:01.0
     """, passes_all((0, 1, 2, 3), "BOOT_IMAGE=/vmlinuz-6.5.0-45-generic ro quiet splash intel_iommu=on "
                     "iommu=pt video=vesafb:off video=efifb:off vfio_pci.ids=10de:1c82,10de:0fb9",
                     "6.5.0-45-generic"),
     (("01:00.1", PASS, "GRP-SPLIT -GRP-VIABLE -GRP-TYPE"),
      (HOST, HOST, "IOMMU-IDENTITY -KERN-OLD -KERN-IOMMU-OFF"))),
    ("card-with-its-port", "VoltCyclone/PCILeechFWGenerator#74", """
        04:00.0 0604 0:0 15 pcieport
        05:00.0 0000 0:0 15 <04:00.0
     """, None, (("05:00.0", PASS, "-GRP-SPLIT -GRP-VIABLE"),)),
    ("desktop-zen", "void-linux/void-docs#217", """
        00:04.0 0600 1022:1452 6
        00:07.0 0600 1022:1452 7
        00:07.1 0604 1022:1454 8
        00:08.0 0600 1022:1452 9
     """, None, (("00:04.0", PASS, "-GRP-SPLIT -GRP-NONE"),)),
    ("server-milan", "enarx/enarx#2263", """
        00:01.0 0000 0:0 94
        00:14.0 0000 0:0 103
        00:14.3 0000 0:0 103
        00:18.0 0000 0:0 104
        00:18.7 0000 0:0 104
        00:19.0 0000 0:0 105
        00:19.1 0000 0:0 105
     """, None, (("00:19.1", PASS, "GRP-SPLIT"), ("00:01.0", PASS, "-GRP-SPLIT"))),
    ("workstation-slow-link", "QubesOS/qubes-issues#6439", """
        00:03.1 0604 0:0 -
        02:09.0 0604 0:0 -
        08:00.0 0000 0:0 - <02:09.0
        09:00.0 0604 1022:1470 - <00:03.1
        0a:00.0 0604 1022:1471 - <09:00.0
        0b:00.0 0300 1002:687f - <0a:00.0
     """, slow_link, (("08:00.0", PASS, "DEV-LINK-SLOW GRP-NONE"), ("0b:00.0", PASS, "-DEV-LINK-SLOW"))),
    ("server-5520", "sebhildebrandt/systeminformation#174", """
        00:00.0 0600 8086:3406 0
        00:01.0 0604 8086:3408 1
        00:03.0 0604 8086:340a 2
        00:04.0 0604 8086:340b 3
        fe:04.2 0600 8086:2da2 20
        fe:04.3 0600 8086:2da3 20
        fe:05.0 0600 8086:2da8 21
        fe:05.1 0600 8086:2da9 21
     """, None, (("fe:05.1", PASS, "HOST-USE -GRP-SPLIT"), ("fe:04.2", PASS, "HOST-USE -GRP-SPLIT"))),
    ("server-behind-bridge", "RemixVSL/iomemory-vsl#153", """
        00:1c.7 0604 8086:0 17
        00:1d.0 0000 8086:0 18
        00:1f.0 0000 8086:0 20
        00:1f.2 0000 8086:0 20
        01:00.0 0000 0:0 21
        01:00.1 0000 0:0 22
        09:00.0 0000 0:0 27
        09:01.0 0000 0:0 28
        0a:00.0 0000 0:0 27
        0b:00.0 0000 0:0 27
        3f:0a.0 0000 8086:0 31
        3f:0a.1 0000 8086:0 31
     """, None, (("00:1f.2", PASS, "GRP-SPLIT"), ("01:00.0", PASS, "-GRP-SPLIT"),
                 ("0a:00.0", PASS, "GRP-SPLIT"), ("09:01.0", PASS, "-GRP-SPLIT"))),
    ("server-ice-lake", "snu-csl/nvmevirt#60", """
        14:08.7 0000 0:0 50
        14:09.0 0000 0:0 51
        14:09.1 0000 0:0 51
        14:0e.0 0000 0:0 52
        14:0e.1 0000 0:0 52
        14:0f.0 0000 0:0 53
        14:0f.1 0000 0:0 53
     """, None, (("14:09.0", PASS, "GRP-SPLIT"), ("14:08.7", PASS, "-GRP-SPLIT"))),
    ("board-b850m", "frankcrawford/it87#60", """
        00:02.2 0000 0:0 5
        00:14.0 0000 0:0 11
        00:14.3 0000 0:0 11
        01:00.0 0000 0:0 13
        01:00.1 0000 0:0 13
        02:00.0 0000 0:0 14
        03:00.0 0000 0:0 15
        03:01.0 0000 0:0 16
     """, None, (("01:00.0", PASS, "GRP-SPLIT -GRP-NONE"), ("02:00.0", PASS, "-GRP-SPLIT"))),
    ("laptop-raven", "Ashark/davinci-resolve-checker#4", """
        00:00.0 0600 1022:15d0 -
        00:00.2 0806 1022:15d1 -
        00:01.0 0600 1022:1452 0
        00:01.3 0604 1022:15d3 1 pcieport
        00:01.7 0604 1022:15d3 2 pcieport
        00:08.0 0600 1022:1452 3
        00:08.1 0604 1022:15db 4 pcieport
     """, None, (("00:01.0", PASS, "-GRP-SPLIT -GRP-NONE"), (HOST, HOST, "-FW-NO-IOMMU"))),
    ("board-x300", "mkoreneff/iommu_info_generate#11", """
        00:00.0 0600 1022:1630 -
        00:00.2 0806 1022:1631 -
        00:01.0 0600 1022:1632 0
        00:01.1 0604 1022:1633 1
        00:02.0 0600 1022:1632 2
        00:02.1 0604 1022:1634 -
     """, None, (("00:02.0", PASS, "-GRP-SPLIT -GRP-NONE"),)),
    ("desktop-nvme-root", "16SalomonArs/Pcileech-DMA-FirmwareCustomizationGuide#2", """
        00:1f.0 0000 0:0 8
        00:1f.3 0000 0:0 8
        00:1f.4 0c05 0:0 8 i801_smbus
        00:1f.5 0000 0:0 8
        01:00.0 0000 0:0 1
        01:00.1 0000 0:0 1
        02:00.0 0108 0:0 9 nvme
        03:00.0 0000 0:0 10
     """, None, (("02:00.0", PASS, "-GRP-SPLIT"), ("01:00.0", PASS, "GRP-SPLIT"),
                 ("00:1f.3", PASS, "GRP-SPLIT"))),
    ("server-rmrr", "harvester/harvester#7340", """
        04:00.1 0200 0:0 0 vfio-pci
     """, firmware_memory, (("04:00.1", PASS, "DEV-RMRR -RMRR-RELAXED -GRP-SPLIT"),)),
    ("server-a10", "kata-containers/kata-containers#11687", """
        17:00.0 0302 10de:0 25 vfio-pci
     """, None, (("17:00.0", PASS, "-GRP-SPLIT -GRP-NONE -DEV-DEAD"),)),
    ("server-sky-lake", "kata-containers/kata-containers#6779", """
        00:00.0 0600 8086:2020 0
        00:04.0 0880 8086:2021 1
        00:04.1 0880 8086:2021 1
        00:04.2 0880 8086:2021 1
        00:04.3 0880 8086:2021 1
        00:04.7 0880 8086:2021 1
     """, None, (("00:04.3", PASS, "GRP-SPLIT -VFIO-DENYLIST"),)),
    ("server-switches", "kata-containers/kata-containers#8847", """
        4d:00.0 0604 1000:c010 43
        4e:10.0 0604 1000:c010 44
        4f:00.0 0300 10de:2231 45
        4f:00.1 0403 10de:1aef 45
        50:00.0 0604 1000:c010 46
        51:10.0 0604 1000:c010 48
        52:00.0 0300 10de:2231 49
        52:00.1 0403 10de:1aef 49
        53:00.0 0104 1000:10e2 50
     """, None, (("4f:00.0", PASS, "GRP-SPLIT"), ("53:00.0", PASS, "-GRP-SPLIT"))),
    ("desktop-granite", "ilya-zlobintsev/LACT#1180", """
        00:00.0 0000 0:0 0
        00:01.1 0000 0:0 2
        00:14.0 0000 0:0 11
        00:14.3 0000 0:0 11
        00:18.0 0000 0:0 12
        00:18.1 0000 0:0 12
     """, None, (("00:14.0", PASS, "GRP-SPLIT"), ("00:01.1", PASS, "-GRP-SPLIT"))),
    ("no-iommu-mode", "rust-vmm/vfio#152", "", no_iommu_mode, ((HOST, HOST, "VFIO-NOIOMMU"),)),
)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lines = []
    for name, _issue, listing, edit, asks in HOSTS:
        tree = Tree(f"{sys.argv[1]}/{name}")
        os.makedirs(tree.root)
        for line in filter(str.strip, listing.splitlines()):
            add(tree, line)
        if edit:
            edit(tree)
        tree.finish()
        for subject, about, codes in asks:
            lines += [f"{name} {subject} {about} {code.lstrip('-')} {'no' if code[0] == '-' else 'yes'}"
                      for code in codes.split()]
    with open(f"{sys.argv[1]}/expected", "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
