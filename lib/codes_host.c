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
};
const struct code_area codes_host = {"host", pages, ARRAY_SIZE(pages)};
