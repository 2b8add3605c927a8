/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of single devices: who has them, what they are, whether they can be made as new. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"HOST-USE", "the host itself needs the device",
		.cause = "The device, or something that is built on it (a partition, RAID, LVM, "
			 "encryption, a bridge, a bond, a VLAN), is mounted, swapped to, the way "
			 "to the "
			 "network or open in a program. Taken away, the host would lose it.",
		.seen = "/proc/self/mountinfo, /proc/swaps, /proc/net/route, the holders and upper "
			"devices "
			"in /sys, open files in /proc/PID/fd; and for a disk, an exclusive open.",
		.fix = "Stop using it: the evidence names the mount, volume, route or process."},
	{"HOST-LEG", "the disk is a leg of an array",
		.cause = "The kernel mirrors to it, or keeps parity on it. Written to beneath the "
			 "array, its legs would differ, and which of them is right nobody knows.",
		.seen = "The disk's holders in /sys, and what kind of array they are.",
		.fix = "Give the array: it is the device, and goes on without one of its legs."},
	{"DEV-TAKEN", "a machine has the device already",
		.cause = "A device is never with two machines.",
		.seen = "iovd's own attachments; and for VFIO, that the kernel lets nobody else "
			"open it.",
		.fix = "Take it back first: iovctl detach ATTACHMENT."},
	{"DEV-UNKNOWN", "whose the device is nobody knows",
		.cause = "It is ready to be passed through, and iovd's store, which knew for whom, "
			 "was damaged. It may be a running machine's, or have been kept for one.",
		.seen = "The device has a VFIO driver, no attachment has it, and the store that "
			"was "
			"put aside is from this boot.",
		.fix = "When no machine needs it any more: iovctl release DEVICE makes it the "
		       "host's; or iovctl attach DEVICE VM, waiving this. A boot of the host ends "
		       "it, "
		       "too.",
		.waiver = "attach --allow DEV-UNKNOWN: you know that no machine needs it"},
	{"DEV-QUARANTINED", "the device has failed, and is given to nobody",
		.cause = "It was a machine's, together with a standby, and had to leave it because "
			 "of errors of its own: a storm of faults, an error that was not "
			 "corrected, a "
			 "reset that did not work.",
		.seen = "iovctl show DEVICE: what it did, and which attachment has left it.",
		.fix = "When it is well again, or was replaced: iovctl release DEVICE."},
	{"DEV-WEDGED", "something is stuck at the device",
		.cause = "A process that works on the device waits in the kernel and does not even "
			 "die of "
			 "SIGKILL. Whatever came next would wait, too.",
		.seen = "/proc/PID/stat and /proc/PID/wchan of the process that is named.",
		.fix = "End what holds the device; a host that has lost one may need a reboot."},
	{"DEV-GONE", "the device is not there (any more)",
		.cause = "It was unplugged, or removed by its driver; or another one sits at its "
			 "address, "
			 "which is never taken for it.",
		.seen = "/sys has nothing of that name, or its fingerprint (identifiers, serial "
			"number, "
			"place) is another.",
		.fix = "Plug it in again, or detach what was attached. iovctl list devices shows "
		       "what is "
		       "there."},
	{"DEV-OTHER", "another device is in its place",
		.cause = "Between the look at a device and the change another one came to its "
			 "address.",
		.seen = "The device's fingerprint before and after.",
		.fix = "Look again (iovctl show), and repeat the command if it is the one that is "
		       "meant."},
	{"DEV-HIDDEN", "the kernel keeps the device to itself",
		.cause = "It is one half of something else (a path of a shared NVMe namespace), or "
			 "no "
			 "device at all (the loopback interface).",
		.seen = "/sys/class/block/NAME/hidden is 1, or the interface's type is loopback.",
		.fix = "Use what it is a part of: iovctl list devices."},
	{"DEV-NAME", "that is no name of a device",
		.cause = "Devices are named as /sys has them, or by an absolute path.",
		.seen = "The name itself.",
		.fix = "iovctl list devices shows the names; see iovctl(1) for the forms."},
	{"DEV-CLASS", "the kernel has no such class of devices",
		.cause = "Devices are found in /sys/bus/pci/devices, /sys/class/net and "
			 "/sys/class/block.",
		.seen = "The folder is missing.", .fix = "Mount sysfs at /sys."},
	{"DEV-KIND", "neither a file nor a block device",
		.cause = "A paravirtual disk stands on something with blocks that stay.",
		.seen = "The type of what was opened.",
		.fix = "Name an image file, or a block device."},
	{"DEV-EMPTY", "the disk has no room for a single sector",
		.cause = "A drive without a medium, a loop device without a file, or an empty "
			 "image.",
		.seen = "/sys/class/block/NAME/size is 0, or the file's size is less than 512 "
			"bytes.",
		.fix = "Put a medium in; or make the image as large as its disk is to be (truncate "
		       "-s "
		       "10G)."},
	{"DEV-READONLY", "the disk cannot be written to",
		.cause = "The medium, the device or the file is read-only.",
		.seen = "/sys/class/block/NAME/ro is 1, or open() for writing is refused.",
		.fix = "Attach it with --readonly; or make it writable (blockdev --setrw, chmod)."},
	{"DEV-NO-LOCKS", "the file system has no locks",
		.cause = "A dead worker's last writes are known to be over when its lock on the "
			 "disk falls. "
			 "Without locks, a successor could write too early.",
		.seen = "fcntl(F_OFD_SETLK) on the file is refused.",
		.fix = "Put the image on a file system with locks (mount NFS without nolock)."},
	{"DEV-BUSY", "QEMU has the image open",
		.cause = "QEMU locks the images that it uses, and two writers would destroy it.",
		.seen = "QEMU's lock bytes on the file: fcntl(F_OFD_GETLK).",
		.fix = "End the machine or the qemu-img that uses it."},
	{"DEV-SIZE", "the device has another size than the guest knows",
		.cause = "A disk that takes another one's place must be as large: the guest's "
			 "partitions "
			 "and file systems end where they did.",
		.seen = "The sizes of both.", .fix = "Name a spare of the same size."},
	{"DEV-NO-RESET", "the device cannot be reset",
		.cause = "What one machine left in a device (data, firmware, DMA under way) the "
			 "next one "
			 "would find. Only a reset ends that, and this function has none of its "
			 "own, nor is "
			 "it alone on its bus.",
		.seen = "/sys/bus/pci/devices/ADDRESS/reset_method is empty or missing, and its "
			"bus has "
			"functions that stay, or is a root bus.",
		.fix = "Give it with all functions of its bus; or give it to one machine for good.",
		.waiver = "attach --allow DEV-NO-RESET: it stays with that machine until the host "
			  "reboots"},
	{"DEV-RESET", "the device is not as new after its reset",
		.cause = "A reset was done, and what can be looked at afterwards is not as it "
			 "should be: "
			 "identifiers, addresses of its BARs, the bus master bit. It is not given "
			 "to "
			 "anybody.",
		.seen = "The configuration space, before and after.",
		.fix = "Detach it when it works again; some devices need the host's power to be "
		       "cycled."},
	{"DEV-BAR", "a BAR of the device cannot be mapped",
		.cause = "The device's memory is given to the machine page by page, and this part "
			 "has no "
			 "address, or is none that can be mapped.",
		.seen = "VFIO_DEVICE_GET_REGION_INFO.",
		.fix = "Let the firmware or the kernel give it an address (above 4G decoding, "
		       "pci=realloc)."},
	{"DEV-NOT-VFIO", "no VFIO driver has the device",
		.cause = "What is passed through is opened by VFIO, and for that its driver is "
			 "vfio-pci or "
			 "a variant of it.",
		.seen = "/sys/bus/pci/devices/ADDRESS/driver; /dev/vfio/GROUP is missing.",
		.fix = "iovctl bind DEVICE vfio."},
	{"DISK-IN-USE", "another worker serves the disk",
		.cause =
			"iov-worker locks the disk that it serves, when it works without a daemon.",
		.seen = "The lock on the file.", .fix = "End the other worker."},
	{"DISK-KIND", "the worker was handed something that is no disk",
		.cause = "The descriptor that it got is neither a regular file nor a block device.",
		.seen = "fstat() of the descriptor.",
		.fix = "Name an image file, or a block device."},
	{"DISK", "the descriptor of a disk is lost",
		.cause = "The vault has no description of the disk that is to be opened again.",
		.seen = "iovd's own books.", .fix = "Detach, and attach again."},
	{"NVME", "the NVMe controller refuses a command",
		.cause = "Queues of a controller are shared out by its own commands, and it "
			 "answered with "
			 "an error, or did not work again after its reset.",
		.seen = "The status of the completion, which is in the message.",
		.fix = "See the controller's manual for the status; nvme list-secondary shows how "
		       "its "
		       "queues are shared out."},
	{"NVME-RESET", "the NVMe controller must be reset first, and is in use",
		.cause = "The queues of its virtual functions are its own, and are shared out only "
			 "while "
			 "it is being reset.",
		.seen = "A namespace of it is in use by the host.",
		.fix = "Stop using its namespaces; or make the functions before they are used."},
	{"NVME-SHARE", "the NVMe controller has too few queues for so many functions",
		.cause = "Each virtual function needs two queues and an interrupt vector of the "
			 "controller's flexible resources.",
		.seen = "Identify Primary Controller Capabilities: VQFRT and VIFRT.",
		.fix = "Ask for fewer."},
	{"NO-SUCH-CLASS", "there is no such class of devices to list",
		.cause = "Classes are pci, net, block and file.",
		.seen = "The word that was given.",
		.fix = "iovctl list devices --class block, for example."},
	{"HOST-CONSOLE", "the device shows the host's console",
		.cause = "It is what the firmware and the kernel draw on. Given away, the host has "
			 "no screen, "
			 "and its driver may not let go while the console is on it.",
		.seen = "/sys/bus/pci/devices/ADDRESS/boot_vga is 1, and it has a driver of the "
			"host.",
		.fix = "Use another card, or make another one the first in the firmware's setup.",
		.waiver = "attach or bind --allow HOST-CONSOLE: the host does without its screen"},
	{"DEV-DEAD", "the device does not answer",
		.cause = "All that is read of it is ones: it has gone from the bus, its link is "
			 "down, or a reset "
			 "that failed has left it so.",
		.seen = "/sys/bus/pci/devices/ADDRESS/config is all 0xff.",
		.fix = "Remove it and look again (echo 1 > remove; echo 1 > /sys/bus/pci/rescan); "
		       "else cycle the "
		       "host's power."},
	{"DEV-ASLEEP", "the device is without power",
		.cause = "It is in D3cold, as the kernel puts what nobody uses. It wakes when a "
			 "driver takes it, "
			 "though some never do.",
		.seen = "/sys/bus/pci/devices/ADDRESS/power_state is D3cold.",
		.fix = "If it does not come back: echo 0 > d3cold_allowed, echo on > "
		       "power/control, and cycle the "
		       "host's power."},
	{"DEV-AER", "the device has reported fatal errors",
		.cause = "PCI Express counts what went wrong on its link since the host booted.",
		.seen = "/sys/bus/pci/devices/ADDRESS/aer_dev_fatal.",
		.fix = "See the kernel's log for when; seat the card anew, check slot, cable and "
		       "firmware."},
	{"DEV-LINK-SLOW", "the device's link is slower than it could be",
		.cause = "It was trained with fewer lanes, or at less speed, than the device has: "
			 "by the slot, by "
			 "dirt, or to save power while it idles.",
		.seen = "/sys/bus/pci/devices/ADDRESS/current_link_width and current_link_speed, "
			"against max_.",
		.fix = "Nothing if it is idle; else a wider slot, or seat the card anew."},
	{"DEV-DMA-MASK", "the device reaches few addresses",
		.cause = "Its driver found that it can address no more than 32 bits. Behind an "
			 "IOMMU a machine "
			 "with more than 4 GiB works all the same, if its own driver heeds that.",
		.seen = "/sys/bus/pci/devices/ADDRESS/dma_mask_bits, with a driver of the host "
			"bound.",
		.fix = "Nothing on most guests; else less than 4 GiB of memory."},
	{"DEV-REMOVABLE", "the medium can be taken out",
		.cause = "A card reader or a drive may lose its medium while a machine uses it, "
			 "and the "
			 "next one is another disk.",
		.seen = "/sys/class/block/NAME/removable is 1.",
		.fix = "Leave it in; --on-error hold makes its absence a pause."},
	{"VFIO-DENYLIST", "vfio-pci refuses such devices",
		.cause = "Some accelerators (Intel QuickAssist) can harm the host from within a "
			 "machine, and "
			 "vfio-pci has a list of them.",
		.seen = "/sys/bus/pci/devices/ADDRESS/device is on the list; disable_denylist of "
			"vfio_pci is N.",
		.fix = "Trust the machine that gets it: options vfio-pci disable_denylist=1, in "
		       "/etc/modprobe.d."},
	{"VFIO-NO-CDEV", "the device has no node of its own",
		.cause = "The kernel has iommufd, but VFIO was built without nodes for devices, so "
			 "that the "
			 "group's node is opened.",
		.seen = "/sys/bus/pci/devices/ADDRESS/vfio-dev is missing with a VFIO driver "
			"bound.",
		.fix = "Nothing; a kernel with CONFIG_VFIO_DEVICE_CDEV has it."},
};
const struct code_area codes_devices = {"devices", pages, ARRAY_SIZE(pages)};
