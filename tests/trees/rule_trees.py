#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts for the rules (daemon/rules_*.c): one on which all is well, and for each code the same host with
one thing changed, so that the rule finds it.

    rule_trees.py DIR [well]

writes DIR/NAME/... for each host, and DIR/expected: lines of host, subject, what it is asked about,
code, and yes or no. A subject is "host", or a device; of the well host every code is asked as well,
with the answer no. With the word "well" only that host is written.
"""
import os
import shutil
import sys

from make_tree import ISOLATED, Tree, config

PORT, CARD, VF, DISK, CONTROLLER = (
    "0000:40:01.0", "0000:41:00.0", "0000:41:02.0", "sdb", "0000:43:00.0")
RELEASE = "6.1.0-28-amd64"
CPU = """processor\t: 0
vendor_id\t: GenuineIntel
flags\t\t: fpu msr vmx x2apic
address sizes\t: 46 bits physical, 48 bits virtual
"""
INTERRUPTS = "            CPU0\n   2:          0  IR-IO-APIC    2-edge  timer\n"
MEMORY = "MemTotal: 65000000 kB\nHugePages_Total: 512\nHugePages_Free: 500\nHugepagesize: 2048 kB\n"
LIMITS = "Limit                     Soft Limit           Hard Limit           Units\n" \
         "Max locked memory         unlimited            unlimited            bytes\n"
PACKAGE = """Package: qemu-system-x86
Status: install ok installed
Version: {}

"""
DOMAIN = """<domain type='kvm' id='1'>
  <name>web1</name>
  <memory unit='KiB'>8388608</memory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os><type arch='x86_64' machine='pc-q35-9.2'>hvm</type></os>
  <devices>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x0'/>
    </controller>
    <controller type='pci' index='2' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x1'/>
    </controller>
    <interface type='network'>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </interface>
    <memballoon model='none'/>
  </devices>
</domain>
"""
PLUGGED = """    <hostdev mode='subsystem' type='pci' managed='no'>
      <source><address domain='0x0000' bus='0x43' slot='0x00' function='0x0'/></source>
      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>
    </hostdev>
"""
UNSET = 0x20000000
MEMORY_64 = 0x140204
DEAD = b"\xff" * 4096


def dmar(flags=1):
    return b"DMAR" + (48).to_bytes(4, "little") + bytes(28) + bytes([45, flags]) + bytes(10)


def resources(own=(), vfs=()):
    """The file `resource`: pairs of first address and size, or flags as a third."""
    rows = list(own) + [(0, 0)] * (7 - len(own)) + list(vfs) + [(0, 0)] * (6 - len(vfs))
    text = []
    for start, size, *flags in rows:
        end = start + size - 1 if size else 0
        text.append(f"0x{start:016x} 0x{end:016x} 0x{flags[0] if flags else MEMORY_64 * bool(size):016x}")
    return "\n".join(text)


def card(t, **attrs):
    t.files(t.places[CARD], **attrs)


def well(t):
    """An Intel server: a network card with virtual functions below a port that isolates, an NVMe
    controller, a disk controller with the host's disk, and one with a disk that is free."""
    t.file("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 intel_iommu=on quiet")
    t.file("proc/cpuinfo", CPU)
    t.file("proc/interrupts", INTERRUPTS)
    t.file("proc/meminfo", MEMORY)
    t.file("proc/self/limits", LIMITS)
    t.file("proc/sys/kernel/osrelease", RELEASE)
    t.file("proc/sys/kernel/io_uring_disabled", 0)
    t.file("proc/sys/kernel/yama/ptrace_scope", 1)
    t.file("proc/sys/kernel/seccomp/actions_avail", "kill_process allow")
    t.file("sys/firmware/acpi/tables/DMAR", dmar())
    t.file("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "8d2078c106d0066")  # 46 bits
    t.link("sys/class/iommu/dmar0", "sys/devices/virtual/iommu/dmar0")
    t.file("sys/module/vfio_pci/parameters/disable_denylist", "N")
    t.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N")
    t.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N")
    t.file(f"lib/modules/{RELEASE}/modules.builtin", "kernel/drivers/char/mem.ko")
    t.folder("sys/class/misc/vfio")
    for node in ("vfio/vfio", "iommu", "kvm"):
        t.file(f"dev/{node}", b"")
    t.file("etc/group", "root:x:0:\niovd:x:990:")
    t.file("usr/bin/qemu-system-x86_64", b"")
    t.file("var/lib/dpkg/status", PACKAGE.format("1:10.0.2+ds-2~bpo12+1"))
    t.file("sys/module/apparmor/parameters/enabled", "Y")
    t.file("etc/apparmor.d/abstractions/libvirt-qemu", "  /run/iovd/vm/** rw,")
    t.file("domain.xml", DOMAIN)
    devices(t)


def devices(t):
    t.pci(PORT, device=0x2030, cls=0x060400, driver="pcieport", group=1,
          space=config(port=4, acs=ISOLATED, buses=(0x41, 0x41)))
    t.pci(CARD, device=0x1572, under=PORT, driver="i40e", group=2, vfs=8, numa=0,
          space=config(port=0, sriov=(8, 16, 1)))
    card(t, power_state="D0", dma_mask_bits=64, current_link_width=8, max_link_width=8,
         current_link_speed="8.0 GT/s PCIe", max_link_speed="8.0 GT/s PCIe",
         aer_dev_fatal="Undefined 0\nTOTAL_ERR_FATAL 0", boot_vga=0,
         resource=resources([(0x90000000, 0x800000)], [(0x92000000, 0x80000)]))
    t.net("ens1f0", under=CARD)
    t.pci(CONTROLLER, vendor=0x144d, device=0xa824, cls=0x010802, driver="nvme", group=4,
          space=config(port=0))
    t.pci("0000:00:17.0", device=0xa182, cls=0x010601, driver="ahci", group=5, space=config(port=9))
    t.scsi("sda", "8:0", "0000:00:17.0", serial="S0", wwid="naa.5000000000000000")
    t.partition("sda", "sda1", 1, "8:1")
    t.mount("8:1", "/", "/dev/sda1")
    t.pci("0000:44:00.0", vendor=0x1000, device=0x005d, cls=0x010400, driver="megaraid_sas", group=6,
          space=config(port=0))
    t.scsi("sdb", "8:16", "0000:44:00.0", serial="S1", wwid="naa.5000000000000001")


def space(t, addr, data):
    t.file(f"{t.places[addr]}/config", data)


def unlink(t, path):
    path = f"{t.root}/{path}"
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def cmdline(t, more):
    t.file("proc/cmdline", f"BOOT_IMAGE=/vmlinuz root=/dev/sda1 {more} quiet")


def no_iommu(t):
    """As the host is without any IOMMU in use."""
    for path in ("sys/class/iommu", "sys/kernel/iommu_groups", "sys/devices/virtual/iommu"):
        unlink(t, path)
    for addr in (PORT, CARD, CONTROLLER, "0000:00:17.0", "0000:44:00.0"):
        for name in ("iommu", "iommu_group"):
            unlink(t, f"{t.places[addr]}/{name}")


def firmware_has_none(t):
    no_iommu(t)
    unlink(t, "sys/firmware/acpi/tables/DMAR")


def kernel_uses_none(t):
    no_iommu(t)
    cmdline(t, "")


def no_modules(t):
    unlink(t, "sys/module/vfio_pci")


def no_interface(t):
    unlink(t, "sys/module/vfio_iommu_type1")
    unlink(t, "dev/iommu")


def no_node(t):
    unlink(t, "dev/vfio/vfio")
    unlink(t, "dev/iommu")


def region(t, text):
    t.file("sys/kernel/iommu_groups/2/reserved_regions", text)


def companion(t, **attrs):
    """A second function of the card, in its group."""
    t.pci("0000:41:00.1", device=0x1572, under=PORT, group=2, space=config(port=0, several=True),
          **attrs)
    space(t, CARD, config(port=0, several=True, sriov=(8, 16, 1)))


def used_companion(t):
    companion(t, driver="i40e")
    t.net("ens1f1", under="0000:41:00.1")
    t.route("ens1f1")


def bridge_at_work(t):
    t.pci("0000:40:02.0", device=0x2030, cls=0x060400, driver="shpchp", group=2,
          space=config(port=4, acs=ISOLATED, buses=(0x42, 0x42)))


def port_without(t, **port):
    """A second card below the port, which no longer isolates: one group, with the port."""
    unlink(t, f"{t.places[PORT]}/iommu_group")
    unlink(t, f"{t.places[PORT]}/iommu")
    unlink(t, "sys/kernel/iommu_groups/1")
    t.group(2, PORT)
    space(t, PORT, config(buses=(0x41, 0x41), **port))
    t.pci("0000:41:01.0", device=0x1533, under=PORT, group=2, space=config(port=0))


def behind_bridge(t):
    t.pci("0000:41:04.0", device=0x8112, cls=0x060400, under=PORT, group=2,
          space=config(port=7, buses=(0x42, 0x42)))
    t.pci("0000:42:01.0", device=0x1533, under="0000:41:04.0", group=2, space=config())
    t.pci("0000:42:02.0", device=0x1533, under="0000:41:04.0", group=2, space=config())


def unexplained(t):
    t.pci("0000:45:00.0", device=0x1533, group=2, space=config(port=0))


def virtual_function(t):
    t.pci(VF, device=0x154c, under=PORT, group=7, pf=CARD, space=config(port=0))


def link_down(t):
    virtual_function(t)
    t.file(f"{t.places['net:ens1f0']}/operstate", "down")


def bind(t, driver, addr=CARD):
    unlink(t, f"{t.places[addr]}/driver")
    if driver:
        t.folder(f"sys/bus/pci/drivers/{driver}")
        t.link(f"{t.places[addr]}/driver", f"sys/bus/pci/drivers/{driver}")


def denied(t):
    t.files(t.places[CARD], device="0x37c8")


def no_reset(t):
    card(t, reset_method="")
    t.pci("0000:41:01.0", device=0x1533, under=PORT, group=8, space=config(port=0))


def old_qemu(t):
    t.file("var/lib/dpkg/status", PACKAGE.format("1:7.2+dfsg-7+deb12u7"))


def memory(t, text):
    t.file("proc/meminfo", text)


def domain(old, new):
    """The machine, with one thing changed: a running domain's XML, as libvirt prints it."""
    if old not in DOMAIN:
        sys.exit(f"the domain has no {old}")
    return lambda t: t.file("domain.xml", DOMAIN.replace(old, new))


HOST, PASS, PARA, VFS, MOVE = "host", "passthrough", "paravirt", "vfs", "move"
VM_PASS, VM_PARA = "vm-passthrough", "vm-paravirt"

# Code; subject; what it is asked about; what changes on the well host.
CODES = (
    ("FW-NO-IOMMU", HOST, HOST, firmware_has_none),
    ("KERN-IOMMU-OFF", HOST, HOST, kernel_uses_none),
    ("IRQ-UNSAFE", HOST, HOST, lambda t: t.file("proc/interrupts", INTERRUPTS.replace("IR-", ""))),
    ("VFIO-MODULE", HOST, HOST, no_modules),
    ("IOMMU-NONE", HOST, HOST, no_interface),
    ("VFIO-NODE", HOST, HOST, no_node),
    ("IOURING-OFF", HOST, HOST, lambda t: t.file("proc/sys/kernel/io_uring_disabled", 2)),
    ("SECCOMP-NONE", HOST, HOST, lambda t: unlink(t, "proc/sys/kernel/seccomp")),
    ("IRQ-TRUSTED", HOST, HOST,
     lambda t: t.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y")),
    ("FW-NO-REMAP", HOST, HOST, lambda t: t.file("sys/firmware/acpi/tables/DMAR", dmar(0))),
    ("FW-X2APIC", HOST, HOST, lambda t: t.file("sys/firmware/acpi/tables/DMAR", dmar(3))),
    ("IOMMU-WIDTH", HOST, HOST,
     lambda t: t.file("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "1c0000c40660462")),  # 39
    ("ACS-OVERRIDE", HOST, HOST,
     lambda t: cmdline(t, "intel_iommu=on pcie_acs_override=downstream,multifunction")),
    ("VFIO-NOIOMMU", HOST, HOST,
     lambda t: t.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")),
    ("KERN-OLD", HOST, HOST, lambda t: t.file("proc/sys/kernel/osrelease", "5.10.0-33-amd64")),
    ("KERN-NOMSI", HOST, HOST, lambda t: cmdline(t, "intel_iommu=on pci=nomsi")),
    ("KERN-NOAER", HOST, HOST, lambda t: cmdline(t, "intel_iommu=on pcie_ports=compat")),
    ("FAULT-BLIND", HOST, HOST, lambda t: t.folder("dev/kmsg")),
    ("YAMA-TRACE", HOST, HOST, lambda t: t.file("proc/sys/kernel/yama/ptrace_scope", 3)),
    ("CPU-NO-VIRT", HOST, HOST, lambda t: (t.file("proc/cpuinfo", CPU.replace(" vmx", "")),
                                           unlink(t, "dev/kvm"))),
    ("KVM-NONE", HOST, HOST, lambda t: unlink(t, "dev/kvm")),
    ("HUGE-USED-UP", HOST, HOST, lambda t: memory(t, MEMORY.replace("Free: 500", "Free: 0"))),
    ("HUGE-NONE", HOST, HOST, lambda t: memory(t, MEMORY.replace("Total: 512", "Total: 0"))),
    ("QEMU-OLD", HOST, HOST, old_qemu),
    ("QEMU-NONE", HOST, HOST, lambda t: unlink(t, "usr/bin/qemu-system-x86_64")),
    ("APPARMOR-LIBVIRT", HOST, HOST,
     lambda t: t.file("etc/apparmor.d/abstractions/libvirt-qemu", "  /dev/kvm rw,")),
    ("IOMMU-IDENTITY", HOST, HOST, lambda t: [
        t.file(f"sys/kernel/iommu_groups/{n}/type", "identity") for n in (1, 2, 4, 5, 6)]),
    ("IOMMUFD-NONE", HOST, HOST, lambda t: unlink(t, "dev/iommu")),
    ("MEMLOCK-LOW", HOST, HOST, lambda t: t.file("proc/self/limits", LIMITS.replace("unlimited", "8388608  "))),
    ("GROUP-IOVD", HOST, HOST, lambda t: t.file("etc/group", "root:x:0:\n")),

    ("GRP-NONE", CARD, PASS, kernel_uses_none),
    ("GRP-VIABLE", CARD, PASS, bridge_at_work),
    ("GRP-SPLIT", CARD, PASS, companion),
    ("HOST-USE", CARD, PASS, used_companion),
    ("GRP-TYPE", CARD, PASS, lambda t: t.file("sys/kernel/iommu_groups/2/type", "unmanaged")),
    ("DEV-RMRR", CARD, PASS,
     lambda t: region(t, "0x00000000bdff0000 0x00000000be000fff direct")),
    ("RMRR-RELAXED", CARD, PASS,
     lambda t: region(t, "0x000000009d800000 0x000000009fffffff direct-relaxable")),
    ("GRP-HOLE", CARD, PASS, lambda t: region(t, "0x0000000008000000 0x00000000080fffff reserved")),
    ("ACS-ABSENT", CARD, PASS, lambda t: port_without(t, port=4)),
    ("ACS-OFF", CARD, PASS, lambda t: port_without(t, port=4, acs=(0x1d, 0x00))),
    ("ACS-BRIDGE", CARD, PASS, behind_bridge),
    ("ACS-FUNCTIONS", CARD, PASS, companion),
    ("ACS-UNSEEN", CARD, PASS, lambda t: port_without(t, port=4, size=64)),
    ("ACS-TRUSTED", CARD, PASS, lambda t: space(t, PORT, config(port=4, buses=(0x41, 0x41)))),
    ("GRP-UNEXPLAINED", CARD, PASS, unexplained),

    ("PATH", "ens1f0", PARA, None),
    ("PATH", CARD, PARA, None),
    ("HOST-USE", "sdb", PARA, lambda t: t.mount("8:16", "/srv", "/dev/sdb")),
    ("HOST-LEG", "sdb", PARA,
     lambda t: t.block("md9", "9:9", slaves=("sdb",), md__level="raid1", md__raid_disks=2)),
    ("DEV-DEAD", CARD, PASS, lambda t: space(t, CARD, DEAD)),
    ("DEV-ASLEEP", CARD, PASS, lambda t: (space(t, CARD, DEAD), card(t, power_state="D3cold"))),
    ("VFIO-DENYLIST", CARD, PASS, denied),
    ("HOST-CONSOLE", CARD, PASS, lambda t: card(t, boot_vga=1)),
    ("DEV-NO-RESET", CARD, PASS, no_reset),
    ("DEV-EMPTY", DISK, PARA, lambda t: t.files(t.places[DISK], size=0)),
    ("DEV-READONLY", DISK, PARA, lambda t: t.files(t.places[DISK], ro=1)),
    ("DEV-REMOVABLE", DISK, PARA, lambda t: t.files(t.places[DISK], removable=1)),
    ("DEV-BAR", CARD, PASS,
     lambda t: card(t, resource=resources([(0, 0x800000, MEMORY_64 | UNSET)]))),
    ("DEV-AER", CARD, PASS, lambda t: card(t, aer_dev_fatal="DLP 2\nTOTAL_ERR_FATAL 2")),
    ("DEV-LINK-SLOW", CARD, PASS, lambda t: card(t, current_link_width=1)),
    ("DEV-DMA-MASK", CARD, PASS, lambda t: card(t, dma_mask_bits=32)),
    ("DRV-HOLDS", CARD, PASS, lambda t: bind(t, "nvidia")),
    ("VFIO-NO-CDEV", CARD, PASS, lambda t: bind(t, "vfio-pci")),

    ("VM-SHMEM", DISK, VM_PARA, domain("<access mode='shared'/>", "")),
    ("VM-NO-PCI", CARD, VM_PASS, domain("pc-q35-9.2", "microvm")),
    ("VM-NO-PCI", DISK, VM_PARA, domain("pc-q35-9.2", "microvm")),
    ("VM-MACHINE", CARD, VM_PASS, domain("pc-q35-9.2", "pc-i440fx-9.2")),
    ("VM-PORTS", CARD, VM_PASS, domain("    <memballoon", PLUGGED + "    <memballoon")),
    ("VM-LOCK", CARD, VM_PASS, domain(
        "<os>", "<memtune><hard_limit unit='KiB'>4194304</hard_limit></memtune><os>")),
    ("VM-MEMORY", CARD, VM_PASS, domain("8388608", "134217728")),
    ("VM-BALLOON", CARD, VM_PASS, domain("model='none'", "model='virtio'")),

    ("SRIOV-NONE", CONTROLLER, VFS, None),
    ("SRIOV-FIRMWARE", CARD, VFS, lambda t: card(t, sriov_totalvfs=0)),
    ("SRIOV-KERNEL", CARD, VFS, lambda t: unlink(t, f"{t.places[CARD]}/sriov_totalvfs")),
    ("SRIOV-NO-DRIVER", CARD, VFS, lambda t: bind(t, None)),
    ("SRIOV-NO-MMIO", CARD, VFS, lambda t: card(t, resource=resources(
        [(0x90000000, 0x800000)], [(0, 0x80000, MEMORY_64 | UNSET)]))),
    ("SRIOV-NO-BUS", CARD, VFS, lambda t: space(t, CARD, config(port=0, sriov=(64, 256, 2)))),
    ("PF-IN-USE", CARD, PASS, virtual_function),
    ("PF-LINK-DOWN", VF, PASS, link_down),
    ("DEV-STAYS", CARD, MOVE, None),
)


def write(folder, name, edit=None):
    tree = Tree(f"{folder}/{name}")
    os.makedirs(tree.root)
    well(tree)
    if edit:
        edit(tree)
    tree.finish()


# Where the code must not be, for those that the well host itself has: other devices.
OTHERS = {("PATH", PARA): DISK, ("SRIOV-NONE", VFS): CARD, ("DEV-STAYS", MOVE): DISK,
          ("PF-LINK-DOWN", PASS): CARD}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    write(folder, "well")
    if sys.argv[2:] == ["well"]:
        return
    lines, others = [], []
    for n, (code, subject, about, edit) in enumerate(CODES):
        name = f"{n:02}-{code}" if edit else "well"
        if edit:
            write(folder, name, edit)
        lines.append(f"{name} {subject} {about} {code} yes")
        others.append(f"well {OTHERS.get((code, about), subject)} {about} {code} no")
    with open(f"{folder}/expected", "w", encoding="utf-8") as f:
        f.write("\n".join(lines + others) + "\n")


if __name__ == "__main__":
    main()
