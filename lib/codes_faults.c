/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of what the hardware reports: list faults, and what is done about it. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"FAULT-UNMAPPED", "a device reached for an address that is not mapped",
		.cause = "The device read or wrote where its machine has given it nothing, or not "
			 "for that. "
			 "The IOMMU stopped it: no memory was touched. Usual are a guest's driver "
			 "that frees "
			 "a buffer too early, a device that was not stopped before its machine "
			 "went, and a device that goes wrong.",
		.seen = "The kernel's log (/dev/kmsg): the IOMMU's own record, as raw words.",
		.fix = "Look at the guest's driver first. iovctl attach --on-fault block stops a "
		       "device that does not cease."},
	{"FAULT-ACCESS", "a device used memory in a way that is not allowed",
		.cause = "The address is mapped for the device, but for reading only, say, and it "
			 "wrote. "
			 "The IOMMU stopped it.",
		.seen = "The kernel's log (/dev/kmsg): the IOMMU's own record, as raw words.",
		.fix = "Look at the guest's driver: a buffer goes the wrong way."},
	{"FAULT-STREAM", "the IOMMU has no valid entry for a device",
		.cause = "The device did DMA while nobody has it, or while it is blocked; or the "
			 "IOMMU's entry for it is not valid. Nothing was touched.",
		.seen = "The kernel's log (/dev/kmsg): the IOMMU's own record, as raw words.",
		.fix = "Of a device that nobody has: reset it, by giving it and taking it back. "
		       "Of one that works for the host, that is its driver's or the firmware's "
		       "fault."},
	{"FAULT-INTERRUPT", "a device raised an interrupt that is not its own",
		.cause = "A write to the addresses of interrupts for which the IOMMU has no entry "
			 "of the device. A guest may not raise the host's interrupts; it was "
			 "stopped.",
		.seen = "The kernel's log (/dev/kmsg): the IOMMU's own record, as raw words.",
		.fix = "Once, while a device changes hands, it is harmless. Again and again: look "
		       "at the guest."},
	{"FAULT-IOMMU", "the IOMMU itself is in trouble",
		.cause = "It could not read its own tables, or they are damaged. What it protects "
			 "cannot be told from what it does not.",
		.seen = "The kernel's log (/dev/kmsg): the IOMMU's own record, as raw words.",
		.fix = "Take the devices below it out of use and reboot the host; look for memory "
		       "errors."},
	{"FAULT-ODD", "an IOMMU reported what nobody knows",
		.cause = "The record has a reason that is in none of the tables of iovd.",
		.seen = "The kernel's log (/dev/kmsg): the IOMMU's own record, as raw words.",
		.fix = "Look the raw words up in the specification of the IOMMU."},
	{"FAULT-REQUEST", "the host wants a device back",
		.cause = "Somebody unbinds or removes a device that a machine has. The kernel asks "
			 "the VMM to let go of it, and whoever wants it waits until then.",
		.seen = "The kernel's log (/dev/kmsg): VFIO says that it asks the device's user.",
		.fix = "Unplug the device from its machine, or end the machine. Nothing is lost "
		       "by waiting."},
	{"FAULT-LINK", "the link to a device is down",
		.cause = "It was pulled out, has lost its power, or the link broke.",
		.seen = "The kernel's log (/dev/kmsg): the hot-plug port says so.",
		.fix = "Look at the slot. What was attached stays attached, and is taken up again "
		       "only by the very same device in the same place."},
	{"FAULT-DEAD", "a device does not answer any more",
		.cause = "All that is read from it is ones: it is gone from the bus, or hangs. Or "
			 "the kernel could not recover it from an error, or from a reset.",
		.seen = "Its configuration space, of which every byte is 0xff; or the kernel's log "
			"(/dev/kmsg).",
		.fix = "Take its power away and give it back; most need a cold boot of the host."},
	{"FAULT-ERROR", "a device reports errors of PCI Express",
		.cause = "Damaged packets, lost answers, requests that are none: correctable ones "
			 "cost time, "
			 "the others lose what was under way, and fatal ones the link.",
		.seen = "/sys/bus/pci/devices/ID/aer_dev_correctable, aer_dev_nonfatal and "
			"aer_dev_fatal, which are read when the kernel's log says that there is "
			"something; of a fatal one, which the kernel counts nowhere, that log.",
		.fix = "Few correctable ones are ordinary. Many: look at the slot, the riser, the "
		       "cable; a QEMU stops its machine on others."},
	{"FAULT-STORM", "a device does not cease to cause faults",
		.cause = "Fifty faults in a quarter of a minute are no accident: its driver, or "
			 "the device itself, goes wrong. Each costs the host time.",
		.seen = "Faults of the device, and those that the kernel left out while only it "
			"had "
			"any.",
		.fix = "Look at the guest. iovctl attach --on-fault block ends such a storm by "
		       "itself."},
	{"FAULT-BLOCKED", "a device was blocked and reset for its faults",
		.cause = "It was attached with --on-fault block, and a storm of faults came. Its "
			 "DMA "
			 "was switched off, it was reset, and it answers.",
		.seen = "Its configuration space, after the reset.",
		.fix = "The guest's driver has to set it up anew: reload it, or reboot the guest."},
	{"FAULT-GIVEN-UP", "a device that causes faults was given up",
		.cause = "Its DMA was switched off, and it could not be reset, or it went on as "
			 "before; or it does not answer. It stays blocked: when its machine "
			 "switches DMA on again, it is switched off within a second.",
		.seen = "What the reset answered; its configuration space; or the third storm "
			"within five minutes.",
		.fix = "End its machine: then it is reset anew, and given away again only if that "
		       "works. Else take its power away."},
	{"FAULT-OVER", "a device that was given up is as new",
		.cause = "Its machine has let go of it, it was reset, and the reset was checked.",
		.seen = "Its configuration space, after the reset.",
		.fix = "Nothing has to be done. Look at what it was given up for."},
	{"FAULT-LOST", "records of the kernel's log were lost",
		.cause = "The kernel said more than could be read before it was overwritten. "
			 "Faults may have been among it.",
		.seen = "The numbers of the log's records (/dev/kmsg), which have a gap.",
		.fix = "A larger log helps (kernel argument log_buf_len=4M); better is to end "
		       "what floods it."},
	{"FAULT-BLIND", "nobody can see faults",
		.cause = "IOMMUs report their faults in the kernel's log only. While that cannot "
			 "be read, no fault is known, which does not mean that there is none.",
		.seen = "/dev/kmsg: opening it, or reading.",
		.fix = "Run iovd as root with CAP_SYSLOG; in a container, give it /dev/kmsg."},
};

const struct code_area codes_faults = {"faults", pages, ARRAY_SIZE(pages)};
