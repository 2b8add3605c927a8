/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt, and its domains. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"LIBVIRT", "libvirt says no", .cause = "libvirt was asked for it, and refused or failed.",
		.seen = "Its own words, which follow.",
		.fix = "See the log of libvirtd, and /var/log/libvirt/qemu for the domain's."},
	{"LIBVIRT-DOWN", "libvirt is not there",
		.cause = "What belongs to a domain is changed through libvirt, and nobody answers "
			 "at "
			 "its "
			 "address.",
		.seen = "The URI that is named: --libvirt, or the key libvirt of iovd.conf.",
		.fix = "Start libvirtd (or virtqemud); iovd connects by itself."},
	{"LIBVIRT-LATE", "libvirt does not answer in time",
		.cause = "A call of libvirt waits for the domain's QEMU or for another client's "
			 "job.",
		.seen = "The call has not come back after its deadline. It may still have its "
			"effect.",
		.fix = "See what the domain does (virsh domjobinfo), then try again."},
	{"VM-SHMEM", "the domain's memory is not shared",
		.cause = "A paravirtual disk is served by a worker, which reads and writes the "
			 "guest's memory directly: it must be shared with it.",
		.seen = "The domain's XML: <access mode='shared'/> in <memoryBacking>, or "
			"memAccess='shared' for each NUMA cell.",
		.fix = "Shut the domain down, and put in <memoryBacking><source type='memfd'/>"
		       "<access mode='shared'/></memoryBacking>; attach --fix does it."},
	{"VM-NO-PCI", "the machine has no PCI",
		.cause = "Types of machines such as microvm and isapc have no PCI bus, and what "
			 "iovd gives is plugged into one.",
		.seen = "The domain's XML: <type machine='...'>.",
		.fix = "Use a machine of type q35 (x86) or virt (Arm)."},
	{"VM-MACHINE", "the machine has no PCI Express",
		.cause = "On a machine of type pc (i440fx) a device seems to be one of "
			 "conventional PCI: its extended configuration space cannot be seen, and "
			 "some drivers do not take it then.",
		.seen = "The domain's XML: <type machine='pc-i440fx-...'>.",
		.fix = "Use a machine of type q35; if the guest's driver takes the device as it "
		       "is, nothing is amiss."},
	{"VM-PORTS", "the running machine has no free port for a device",
		.cause = "A device is plugged into a running machine at a port of PCI Express, "
			 "which takes one. Ports are there from the start, or not at all.",
		.seen = "The domain's running XML: controllers of model pcie-root-port, and the "
			"bus in each device's address.",
		.fix = "Shut the domain down and attach then, which adds a port; or put some "
		       "<controller type='pci' model='pcie-root-port'/> into its definition for "
		       "later."},
	{"VM-LOCK", "the machine may not lock as much memory as it has",
		.cause = "A device that is passed through reaches all of the guest's memory, which "
			 "must stay where it is; libvirt takes <hard_limit> as the limit of what "
			 "may be locked.",
		.seen = "The domain's XML: <hard_limit> in <memtune>, against <memory>.",
		.fix = "Take <hard_limit> out of its definition, or make it larger than <memory> "
		       "by a gibibyte for QEMU itself."},
	{"VM-MEMORY", "the machine has more memory than the host",
		.cause = "A device that is passed through reaches all of the guest's memory, which "
			 "therefore is locked: it cannot be more than there is.",
		.seen = "The domain's XML: <memory>; the host's /proc/meminfo: MemTotal.",
		.fix = "Give the machine less memory than the host has, with some left for the "
		       "host."},
	{"VM-BALLOON", "the machine's balloon gives no memory back any more",
		.cause = "All memory of a machine with a device that is passed through is locked, "
			 "whether the guest uses it or not.",
		.seen = "The domain's XML: <memballoon>.",
		.fix = "Nothing is amiss, if the host has enough memory for all of its machines."},
	{"VM-UNMANAGED", "the machine is no domain of libvirt",
		.cause = "An emulated device is the VMM's own, and only libvirt's domains have a "
			 "definition that iovd can put it into.",
		.seen = "libvirt has no domain of that name or UUID.",
		.fix = "Give the VMM the device yourself, or use another path."},
	{"VM-RUNS", "the domain runs, and takes no such device while it does",
		.cause = "SATA disks cannot be plugged into a running machine.",
		.seen = "The domain's state, as libvirt tells it.",
		.fix = "Shut it down first; or give the disk with --path paravirt."},
	{"VM-FULL", "the domain has no free name for a disk",
		.cause = "Disks of a domain are called vda to vdz, and each is taken.",
		.seen = "The targets of the disks in its definitions.",
		.fix = "Detach one, or use fewer and larger disks."},
	{"GUEST-KEEPS", "the guest does not let go of the device",
		.cause = "A device is unplugged from a running guest only with its consent: it may "
			 "refuse, or may not be listening (at its boot, in a boot loader, "
			 "suspended).",
		.seen = "libvirt tells that the guest refused, or nothing within 20 seconds. The "
			"attachment is as it was; should the guest let go of it later, its disk "
			"is gone for this guest until the domain is started again.",
		.fix = "End what uses the device in the guest and try again, or shut the domain "
		       "down first."},
};
const struct code_area codes_libvirt = {"libvirt", pages, ARRAY_SIZE(pages)};
