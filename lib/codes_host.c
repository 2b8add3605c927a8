/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of the host as a whole: firmware, kernel, VFIO, memory. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"IOMMU-NONE", "the kernel offers no way to program the IOMMU",
		.cause =
			"Neither of the kernel's two interfaces to an IOMMU can be used: no "
			"iommufd, and "
			"no VFIO container of type 1, version 2. A device could not be kept to its "
			"machine's memory.",
		.seen = "/dev/iommu and /dev/vfio/vfio: missing, or the ioctl that asks for the "
			"interface "
			"is refused.",
		.fix = "Switch the IOMMU on (iovctl doctor says where), and load vfio_iommu_type1 "
		       "or "
		       "iommufd."},
	{"IRQ-UNSAFE", "the host does not remap interrupts",
		.cause = "A device can write to any address that raises an interrupt. Where the "
			 "IOMMU does "
			 "not translate those writes, a machine that has a device can raise any "
			 "interrupt of the host, and so VFIO refuses.",
		.seen = "/sys/class/iommu/dmar*/intel-iommu/ecap, bit 3 (interrupt remapping) is "
			"0; "
			"intremap=off or nointremap in /proc/cmdline; or VFIO's ioctl answers "
			"EPERM.",
		.fix = "Switch interrupt remapping (often: x2APIC) on in the firmware, and take "
		       "intremap=off and nointremap from the kernel's command line. "
		       "vfio_iommu_type1.allow_unsafe_interrupts=1 trusts all machines that have "
		       "devices."},
	{"MEMLOCK", "more memory would be locked than is allowed",
		.cause = "Memory that a device can reach is pinned, and pinned memory counts "
			 "against "
			 "RLIMIT_MEMLOCK: that of the process (type 1) or of the user (iommufd).",
		.seen = "RLIMIT_MEMLOCK, and VmLck or VmPin of /proc/self/status.",
		.fix = "Start the VMM with iovctl run, which sets the limit to the sum that is "
		       "needed; or "
		       "raise it (LimitMEMLOCK= of a unit, ulimit -l)."},
	{"IOVA-RANGE", "addresses that the IOMMU cannot translate",
		.cause = "Each IOMMU translates certain ranges of addresses, with holes for "
			 "interrupts and "
			 "for what the firmware reserves, in whole pages.",
		.seen = "The valid ranges that VFIO_IOMMU_GET_INFO or IOMMU_IOAS_IOVA_RANGES tell; "
			"/sys/kernel/iommu_groups/N/reserved_regions.",
		.fix = "Give the machine memory that lies in one of the ranges; iovctl show GROUP "
		       "lists "
		       "what is reserved."},
	{"IOVA-BUSY", "something is mapped at that address already",
		.cause = "Two buffers cannot have one I/O virtual address.",
		.seen = "iovd's own table of what it mapped in that address space.",
		.fix = "Unmap the first one; this is an error of the program that maps."},
	{"IOVA-LIMIT", "the kernel allows no more mappings",
		.cause = "The number of mappings of an address space is limited, so that a process "
			 "cannot "
			 "fill the kernel's memory.",
		.seen = "VFIO_IOMMU_MAP_DMA answers ENOSPC; "
			"/sys/module/vfio_iommu_type1/parameters/dma_entry_limit.",
		.fix = "Raise vfio_iommu_type1.dma_entry_limit, or let guest memory be made of "
		       "larger "
		       "pieces (hugepages)."},
	{"IOVA-NOSPC", "no contiguous I/O virtual addresses are free",
		.cause = "The buffer has to be contiguous for the device, below the highest "
			 "address that "
			 "the device can reach, and no hole is large enough.",
		.seen = "iovd's own table of what is mapped in that address space.",
		.fix = "Unmap something; a device that reaches more than 32 bits of address has "
		       "more "
		       "room."},
	{"NETLINK", "the kernel does not answer about networks",
		.cause = "Interfaces and virtual functions are known and set by netlink, and the "
			 "kernel "
			 "refused the socket or the request.",
		.seen = "The error that the kernel's answer carries.",
		.fix = "Run iovd as root, in the host's own network namespace."},
	{"SYSFS", "what /sys shows makes no sense",
		.cause = "A path does not lead where the kernel would have it lead.",
		.seen = "The path that the message names.",
		.fix = "Mount sysfs at /sys; of a recorded tree, record it again."},
	{"SYSROOT", "a recorded host can be looked at only",
		.cause = "iovd runs with --sysroot: it reads facts of another host, whose drivers "
			 "and "
			 "devices are not here.",
		.seen = "iovd's own option.", .fix = "Ask the daemon of the host itself."},
	{"SYS", "a call to the kernel failed",
		.cause =
			"The kernel refused something that mostly works. The message says what was "
			"attempted, and ends with the kernel's reason.",
		.seen = "errno.", .fix = "See the reason; the kernel's log (dmesg) may have more."},
	{"MEMORY", "there is no memory",
		.cause = "The daemon or the program was refused memory by the kernel, or reached "
			 "its own "
			 "limit for one request.",
		.seen = "malloc() and its kin answer NULL.",
		.fix = "Free memory, or raise the limit of the unit (MemoryMax=)."},
	{"FOLDER", "a folder that iovd needs is not fit",
		.cause = "State and sockets must lie in folders that only their owner can change, "
			 "or "
			 "somebody else could put other things in their place.",
		.seen = "Type, owner and mode of the folder, and of those above it.",
		.fix = "chown root and chmod go-w the folder that is named, or move it with "
		       "--state-dir "
		       "or --runtime-dir."},
	{"FW-NO-IOMMU", "the firmware describes no IOMMU",
		.cause = "Either the machine has none, or it is switched off in the firmware's "
			 "setup: then the "
			 "tables by which the kernel finds it are missing.",
		.seen = "/sys/firmware/acpi/tables has neither DMAR (Intel) nor IVRS (AMD), IORT "
			"(Arm) or VIOT "
			"(virtual).",
		.fix = "Switch it on in the firmware's setup: VT-d, AMD-Vi or IOMMU, SMMU."},
	{"KERN-IOMMU-OFF", "the kernel does not use the IOMMU that is there",
		.cause = "The firmware describes one, and the kernel was told not to use it, or on "
			 "Intel was "
			 "not told to.",
		.seen = "/proc/cmdline, and that /sys/class/iommu is empty.",
		.fix = "Add intel_iommu=on to the kernel's command line, and take iommu=off, "
		       "intel_iommu=off "
		       "and amd_iommu=off from it; update-grub, reboot."},
	{"IOMMU-IDENTITY", "the IOMMU lets the host's own devices pass",
		.cause = "The host was booted with iommu=pt (or so by default). That is fast, and "
			 "safe for "
			 "machines: a device that is passed through translates for as long.",
		.seen = "/sys/kernel/iommu_groups/*/type is identity for all of them.",
		.fix = "Nothing, unless the host's own devices shall be kept in bounds as well: "
		       "boot without "
		       "iommu=pt."},
	{"IRQ-TRUSTED", "machines with devices are trusted with all interrupts",
		.cause = "Where interrupts are not remapped VFIO refuses, unless it is told not "
			 "to: then a "
			 "machine that has a device can raise any interrupt of the host.",
		.seen = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts (or "
			"iommufd's).",
		.fix = "Take allow_unsafe_interrupts from /etc/modprobe.d and the kernel's command "
		       "line, if the "
		       "host remaps interrupts; else pass devices to trusted machines only."},
	{"FW-NO-REMAP", "the firmware says that interrupts cannot be remapped",
		.cause = "Platform, or its firmware's setup, has no interrupt remapping.",
		.seen = "/sys/firmware/acpi/tables/DMAR: bit 0 of the flags is 0.",
		.fix = "Update the firmware; switch VT-d and x2APIC on."},
	{"FW-X2APIC", "the firmware asks the kernel not to use x2APIC",
		.cause = "Some firmware opts out, for operating systems that cannot. Interrupts "
			 "can still be "
			 "remapped, in the older mode.",
		.seen = "/sys/firmware/acpi/tables/DMAR: bit 1 of the flags is 1.",
		.fix = "Switch x2APIC on in the firmware's setup; or boot with "
		       "intremap=no_x2apic_optout."},
	{"IOMMU-WIDTH", "the IOMMU translates fewer bits of address than the processor has",
		.cause = "A machine that places memory or BARs at the top of its address space, as "
			 "QEMU does "
			 "by the processor's width, asks for what cannot be mapped: VFIO_MAP_DMA "
			 "fails with "
			 "Invalid argument.",
		.seen = "/sys/class/iommu/dmar*/intel-iommu/cap, bits 21 to 16; address sizes in "
			"/proc/cpuinfo.",
		.fix = "Tell the VMM: -cpu host,host-phys-bits-limit=39 (the IOMMU's width), or a "
		       "smaller "
		       "pci-hole64-size."},
	{"ACS-OVERRIDE", "the kernel was told to take devices for isolated that are not",
		.cause = "pcie_acs_override splits groups without changing hardware: members can "
			 "still reach each "
			 "other's memory, past the IOMMU.",
		.seen = "/proc/cmdline.",
		.fix = "Take pcie_acs_override from the command line, and give whole groups "
		       "(--allow "
		       "GRP-SPLIT)."},
	{"VFIO-MODULE", "this kernel has no vfio-pci",
		.cause = "A device is opened by its machine through vfio-pci, and the module is "
			 "neither loaded, "
			 "nor built in, nor among those of the kernel that runs.",
		.seen = "/sys/module/vfio_pci; /lib/modules/RELEASE.",
		.fix = "Install the modules of the kernel that runs (linux-modules-extra on "
		       "Ubuntu), or reboot "
		       "after an update of the kernel."},
	{"VFIO-NODE", "/dev does not show VFIO",
		.cause = "The kernel has VFIO, and its nodes are not in this /dev: iovd runs in a "
			 "container, or "
			 "without udev or devtmpfs.",
		.seen = "/sys/class/misc/vfio is there, /dev/vfio/vfio is not.",
		.fix = "Run iovd on the host; or give its container /dev/vfio."},
	{"VFIO-NOIOMMU", "VFIO gives devices away that nothing isolates",
		.cause = "In this mode a program that opens a device reaches all memory by it. "
			 "iovd does not use "
			 "it, others may.",
		.seen = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode.",
		.fix = "Write N there, and take it from /etc/modprobe.d."},
	{"IOMMUFD-NONE", "the kernel has no iommufd",
		.cause = "Without it a machine opens the node of a whole group, which must belong "
			 "to its user, and "
			 "locked memory is counted once for each process.",
		.seen = "/dev/iommu is missing; /dev/vfio/vfio is there.",
		.fix = "Nothing: type 1 is used. modprobe iommufd, or a kernel of 6.2 or later "
		       "that is built with "
		       "it."},
	{"KERN-OLD", "the kernel is older than those that iovd is tested with",
		.cause = "iovd relies on what 6.1 does, and tests it there and later.",
		.seen = "/proc/sys/kernel/osrelease.", .fix = "Use a later kernel."},
	{"KERN-NOMSI", "devices have no interrupts of their own",
		.cause = "Without MSI devices share the old interrupt lines, and virtual "
			 "functions, which have "
			 "nothing else, cannot work.",
		.seen = "/proc/cmdline: pci=nomsi.",
		.fix = "Take pci=nomsi from the kernel's command line."},
	{"KERN-NOAER", "the kernel does not hear of errors that devices report",
		.cause = "Errors of PCI Express are lost: a failing device is seen by its silence "
			 "only.",
		.seen = "/proc/cmdline: pci=noaer or pcie_ports=compat.",
		.fix = "Take it from the kernel's command line."},
	{"IOURING-OFF", "the kernel lets nobody use io_uring",
		.cause = "Workers do all I/O of disks by io_uring.",
		.seen = "/proc/sys/kernel/io_uring_disabled is 2.",
		.fix = "sysctl kernel.io_uring_disabled=1: then only what is privileged may make "
		       "one, as iovd "
		       "does for its workers."},
	{"SECCOMP-NONE", "the kernel cannot filter system calls",
		.cause = "A worker serves a guest that is not trusted, and gives up all system "
			 "calls that it does "
			 "not need before it does.",
		.seen = "/proc/sys/kernel/seccomp/actions_avail is missing.",
		.fix = "Use a kernel with CONFIG_SECCOMP_FILTER."},
	{"YAMA-TRACE", "no process may take another one's descriptors",
		.cause = "After an update of the keeper the new one takes the rings of living "
			 "workers over, which "
			 "this setting forbids even to root. They go on, but cannot be recovered "
			 "when they die.",
		.seen = "/proc/sys/kernel/yama/ptrace_scope is 3.",
		.fix = "Boot with kernel.yama.ptrace_scope=2 at most (it cannot be lowered at run "
		       "time)."},
	{"CPU-NO-VIRT", "the processor cannot run virtual machines, or must not",
		.cause = "The processor does not say that it can, or the firmware switched that "
			 "off. QEMU "
			 "would interpret every instruction.",
		.seen = "/proc/cpuinfo: no vmx (Intel) or svm (AMD) among the flags.",
		.fix = "Switch VT-x, SVM or virtualization on in the firmware's setup; for a "
		       "virtual machine, "
		       "nested virtualization on its host."},
	{"KVM-NONE", "the kernel does not run virtual machines",
		.cause = "The processor can, and kvm_intel or kvm_amd is not loaded, or /dev lacks "
			 "its node.",
		.seen = "/dev/kvm is missing.",
		.fix = "modprobe kvm_intel (or kvm_amd); see the kernel's log if that fails."},
	{"HUGE-NONE", "no hugepages are set aside",
		.cause = "Guests work without; with them the IOMMU and the processor translate "
			 "faster, and a "
			 "device needs fewer mappings.",
		.seen = "/proc/meminfo: HugePages_Total.",
		.fix = "sysctl vm.nr_hugepages=N, early; or hugepages=N on the kernel's command "
		       "line."},
	{"HUGE-USED-UP", "all hugepages are taken",
		.cause = "A machine whose memory is to be made of hugepages would not start.",
		.seen = "/proc/meminfo: HugePages_Free is 0.",
		.fix = "Raise vm.nr_hugepages, or end what has them."},
	{"MEMLOCK-LOW", "programs may lock little memory",
		.cause = "A VMM that is started by hand with a passed-through device inherits such "
			 "a limit, and "
			 "fails. iovctl run and libvirt set the sum that is needed.",
		.seen = "/proc/self/limits: Max locked memory.",
		.fix = "Use iovctl run; or LimitMEMLOCK=infinity, or /etc/security/limits.d."},
	{"QEMU-NONE", "no QEMU is installed",
		.cause = "iovd gives devices to virtual machines, and the usual program for them "
			 "is not here. "
			 "Others (cloud-hypervisor, crosvm) are not looked for.",
		.seen = "/usr/bin/qemu-system-*, /usr/libexec/qemu-kvm.",
		.fix = "apt-get install qemu-system-x86."},
	{"QEMU-OLD", "QEMU does not know all words that iovd prints",
		.cause = "vmm_args have reconnect-ms, by which a machine comes back after a "
			 "connection was "
			 "dropped on purpose. QEMU knows it since 9.2.",
		.seen = "The version of its package in /var/lib/dpkg/status.",
		.fix = "Install QEMU 9.2 or later (Debian 12: from backports)."},
	{"APPARMOR-LIBVIRT", "AppArmor keeps libvirt's machines from iovd's sockets",
		.cause = "libvirt confines each QEMU by a profile, which lets it open only what it "
			 "lists.",
		.seen = "/etc/apparmor.d/abstractions/libvirt-qemu and local/: nothing about "
			"/run/iovd.",
		.fix = "Add the line of /usr/share/iovd/apparmor-libvirt-qemu to "
		       "/etc/apparmor.d/local/abstractions/libvirt-qemu."},
	{"GROUP-IOVD", "there is no group of those who may ask",
		.cause = "The daemon's socket belongs to the group iovd, whose members may look; "
			 "without it only "
			 "root can.",
		.seen = "/etc/group has no iovd.",
		.fix = "groupadd --system iovd, restart iovd, usermod -aG iovd USER."},
};
const struct code_area codes_host = {"host", pages, ARRAY_SIZE(pages)};
