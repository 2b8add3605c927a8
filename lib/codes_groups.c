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
};
const struct code_area codes_groups = {"groups", pages, ARRAY_SIZE(pages)};
