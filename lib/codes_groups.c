/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of IOMMU groups, and of what keeps their members together. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"GRP-NONE", "no IOMMU isolates the device",
		.cause = "A device in no IOMMU group reaches all memory of the host, whoever has "
			 "it. So it "
			 "cannot be passed through.",
		.seen = "/sys/bus/pci/devices/ADDRESS/iommu_group is missing.",
		.fix = "Switch the IOMMU on, in the firmware's setup (VT-d, AMD-Vi, SMMU) and by "
		       "the "
		       "kernel's option (intel_iommu=on). On some Arm hosts the group comes when a "
		       "driver "
		       "is bound: iovctl bind DEVICE vfio."},
	{"GRP-VIABLE", "the host works with a member of the device's group",
		.cause = "The kernel hands a group to a machine as a whole, when none of its "
			 "members has a "
			 "driver that does DMA for the host. A port or bridge that stays with the "
			 "host "
			 "may have the driver pcieport, or none.",
		.seen = "/sys/kernel/iommu_groups/N/devices/ADDRESS/driver.",
		.fix = "Take that driver from it (for shpchp: boot with it off), or use a device "
		       "of "
		       "another group."},
	{"GRP-SPLIT", "the device shares its IOMMU group with others",
		.cause = "The IOMMU cannot keep the members of a group apart, so that all of them "
			 "go to "
			 "one owner, or none does. iovctl group DEVICE says which port, bridge or "
			 "function is the reason.",
		.seen = "/sys/kernel/iommu_groups/N/devices has other functions than ports and "
			"bridges.",
		.fix = "Let all go together, if the host needs none of them; or put the card into "
		       "a slot "
		       "below a port with ACS.",
		.waiver = "attach --allow GRP-SPLIT, bind --group: the whole group goes along"},
	{"GRP-TYPE", "the group's default domain cannot be so",
		.cause =
			"What the IOMMU does with a group while nobody has it open is its type: "
			"DMA, "
			"DMA-FQ, identity or blocked. Between two owners it must be known, and the "
			"kernel changes it only while no member has a driver of the host.",
		.seen = "/sys/kernel/iommu_groups/N/type, and what the kernel answers to a write "
			"to it.",
		.fix = "Take the drivers from its members first; boot with iommu=pt or without for "
		       "all "
		       "groups."},
	{"GRP-IDENTITY", "the group could not be made to translate",
		.cause =
			"The host was booted with iommu=pt, so that the group's own domain lets a "
			"device "
			"reach all memory. Before its machine has opened it that must end, and the "
			"kernel refused.",
		.seen = "/sys/kernel/iommu_groups/N/type is identity after DMA was written.",
		.fix = "Boot without iommu=pt; or take the drivers from all members of the group, "
		       "and try "
		       "again."},
	{"GRP-IOMMU", "the IOMMU takes no part in that address space",
		.cause = "Devices behind two IOMMUs of different abilities, or one that the "
			 "platform "
			 "reserves addresses for, cannot share an address space.",
		.seen = "VFIO_SET_IOMMU, VFIO_GROUP_SET_CONTAINER or VFIO_DEVICE_ATTACH_IOMMUFD_PT "
			"fails.",
		.fix = "Give the device an address space of its own; see the kernel's log for the "
		       "reason."},
	{"ACS-ABSENT", "a port above the device does not isolate",
		.cause = "A port without access control services may send what one function writes "
			 "straight to "
			 "another one below it, and the IOMMU never sees it. So the kernel keeps "
			 "them in one "
			 "group.",
		.seen = "The configuration space of the port that is named: no capability 0x0d.",
		.fix = "Put the card into another slot, often one of the processor's own; iovctl "
		       "list groups "
		       "shows what is alone."},
	{"ACS-OFF", "a port above the device could isolate, and was not told to",
		.cause = "The port has access control services, and bits that the kernel asks for "
			 "are off.",
		.seen = "The control register of the capability 0x0d of the port that is named.",
		.fix = "Boot with the IOMMU on, which makes the kernel switch them on; see the "
		       "firmware's setup "
		       "(ACS); pci=disable_acs_redir must not name the port."},
	{"ACS-BRIDGE", "a PCI bridge speaks for all that is behind it",
		.cause = "Behind a bridge to conventional PCI the IOMMU sees the bridge's ID only.",
		.seen = "The configuration space of the bridge that is named: its type.",
		.fix = "Use a PCI Express card, in a slot that is not behind the bridge."},
	{"ACS-FUNCTIONS", "functions of one device can reach each other inside it",
		.cause = "A device with several functions and no access control services may pass "
			 "what one writes "
			 "on to another.",
		.seen = "The configuration spaces of its functions: no capability 0x0d.",
		.fix = "Give all functions together: --allow GRP-SPLIT. A graphics card and its "
		       "sound belong "
		       "together anyway."},
	{"ACS-UNSEEN", "too little can be seen to say why the group is so",
		.cause = "Only root sees more of a configuration space than its first 64 bytes.",
		.seen = "The length of the configuration space that is named.",
		.fix = "Run iovd as root; record a tree as root."},
	{"ACS-TRUSTED", "the kernel knows that the port isolates, though it does not say so",
		.cause = "Some ports isolate without the capability, or by registers of their own, "
			 "and the kernel "
			 "has a list of them.",
		.seen = "The port has no access control services, and what is below it is in a "
			"group of its own.",
		.fix = "Nothing."},
	{"GRP-UNEXPLAINED", "nothing that can be seen keeps the group together",
		.cause = "The kernel put its members together for a reason that their "
			 "configuration spaces do "
			 "not show, such as a quirk or a table of the firmware.",
		.seen = "The configuration spaces of all members and the ports above them.",
		.fix = "See the kernel's log for the device; else as for any group: all, or none."},
	{"DEV-RMRR", "the firmware itself uses the device to reach memory",
		.cause =
			"The platform demands that the device keeps reaching certain addresses "
			"(RMRR, a "
			"direct region), which no machine could have then. The kernel refuses such "
			"a device.",
		.seen = "/sys/kernel/iommu_groups/N/reserved_regions: a region of type direct.",
		.fix = "Switch what uses it off in the firmware's setup (on HPE servers conrep's "
		       "RMRDS, on others USB legacy support); or use another slot."},
	{"RMRR-RELAXED", "the firmware used the device while the host booted",
		.cause = "USB controllers and graphics have such regions, which matter to the "
			 "firmware only; the "
			 "kernel lets them go.",
		.seen = "/sys/kernel/iommu_groups/N/reserved_regions: a region of type "
			"direct-relaxable.",
		.fix = "Nothing."},
	{"GRP-HOLE", "reserved addresses lie where guests have their memory",
		.cause = "The group cannot have addresses mapped that a machine's memory begins "
			 "with, and the "
			 "VMM fails: VFIO_MAP_DMA, Invalid argument.",
		.seen = "/sys/kernel/iommu_groups/N/reserved_regions: a region of type reserved "
			"below 2 GiB.",
		.fix = "Let the machine's memory leave them out, if the VMM can; else another slot "
		       "or "
		       "IOMMU."},
};
const struct code_area codes_groups = {"groups", pages, ARRAY_SIZE(pages)};
