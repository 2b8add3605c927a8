/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of drivers and of virtual functions. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"BIND-DRIVER", "the kernel has no such driver",
		.cause = "The driver is not built in, and no module of its name could be loaded.",
		.seen = "/sys/bus/pci/drivers/NAME is missing after modprobe.",
		.fix = "Install the package that has the module; ls /sys/bus/pci/drivers lists "
		       "what is "
		       "there."},
	{"BIND-OVERRIDE", "the device's driver_override cannot be set",
		.cause =
			"A device is kept for one driver by writing its name there, and the kernel "
			"refused.",
		.seen = "The write to /sys/bus/pci/devices/ADDRESS/driver_override.",
		.fix = "Run iovd as root, with /sys mounted writable."},
	{"BIND-UNBIND", "the driver does not let go of the device",
		.cause = "After unbind the driver is still there: it refused, or somebody bound it "
			 "again.",
		.seen = "/sys/bus/pci/devices/ADDRESS/driver after the write to unbind.",
		.fix = "Stop what uses the device (iovctl show DEVICE), and see the kernel's log."},
	{"BIND-PROBE", "the driver does not take the device",
		.cause =
			"The driver was offered the device and refused: it does not know it, lacks "
			"firmware for it, or the device does not answer.",
		.seen = "/sys/bus/pci/devices/ADDRESS/driver after the write to drivers_probe.",
		.fix = "See the kernel's log (dmesg) for the driver's own words."},
	{"CLASS", "only PCI functions have a driver to choose",
		.cause = "bind and release are about PCI functions; a disk or an interface has the "
			 "driver "
			 "of the function below it.",
		.seen = "The device's class.",
		.fix = "Name the PCI function (iovctl show DEVICE: parent)."},
	{"SRIOV-NONE", "the function cannot have virtual functions",
		.cause = "Only a physical function with SR-IOV has any.",
		.seen = "/sys/bus/pci/devices/ADDRESS/sriov_totalvfs is missing or 0.",
		.fix = "Name the physical function; switch SR-IOV on in the firmware and in the "
		       "card's own "
		       "setup (mlxconfig, bnxtnvm, ...)."},
	{"SRIOV", "the kernel made another number of virtual functions",
		.cause = "The PF's driver did not make as many as it was asked for.",
		.seen = "/sys/bus/pci/devices/ADDRESS/sriov_numvfs after the write.",
		.fix = "See the kernel's log; ask for fewer."},
	{"PF-IN-USE", "virtual functions hang on the function",
		.cause = "They go when their physical function changes hands, is reset, or gets "
			 "another "
			 "number of them.",
		.seen = "/sys/bus/pci/devices/ADDRESS/virtfn*, and who uses each.",
		.fix = "Take them back and away first: iovctl vf create PF 0."},
	{"VF-COUNT", "the physical function cannot have so many",
		.cause = "How many it can have is in its configuration space.",
		.seen = "/sys/bus/pci/devices/ADDRESS/sriov_totalvfs.",
		.fix = "Ask for at most as many as the message says."},
	{"VF-FOREIGN", "somebody else made the virtual functions",
		.cause = "iovd removes and changes only what it has made itself.",
		.seen = "The birth of the first function, as /sys shows it, against iovd's own "
			"note.",
		.fix = "Remove them the way they were made (echo 0 > sriov_numvfs), and let iovd "
		       "make "
		       "them."},
	{"VF-NONE", "that is no virtual function",
		.cause = "vf set is about virtual functions only.",
		.seen = "/sys/bus/pci/devices/ADDRESS/physfn is missing.",
		.fix = "iovctl list devices --class pci shows which are: they have a pf."},
	{"VF-POOL", "no virtual function that fits is free",
		.cause = "Each that the rule is about is attached, in use by the host, or being "
			 "worked on; or there is none.",
		.seen = "The virtfn links of the physical functions, against attachments, jobs and "
			"the host's use.",
		.fix = "Make more (iovctl vf create PF COUNT), take one back, or ask for less."},
	{"VF-RULE", "that is no rule for virtual functions",
		.cause = "After 'vf:' come conditions with commas between: a physical function, "
			 "product=, switch=, vlan=.",
		.seen = "The name that was given.",
		.fix = "vf:eth1, vf:product=8086:10ca,vlan=10, vf:switch=0002c9fffe123456."},
	{"STANDBY", "that is no standby for a virtual function",
		.cause = "The standby is a virtio card on an interface or a bridge of the host.",
		.seen = "The class of the device that was named.",
		.fix = "Name a bridge, or an interface, that leads to the same network."},
	{"VF-NOT-NET", "that virtual function is no network's",
		.cause = "MAC, VLAN and the like are set by the network interface of the physical "
			 "function, "
			 "and it has none.",
		.seen = "/sys/bus/pci/devices/PF/net is missing.",
		.fix = "Nothing: functions of other kinds have no such settings."},
	{"VF-DRIVER", "the physical function's driver has no such setting",
		.cause = "Settings of virtual functions are the driver's, and this one lacks it.",
		.seen = "The kernel answers that the operation is not supported.",
		.fix = "Leave it out, or use a card or driver that has it."},
	{"VF-UNSEEN", "the kernel does not show that virtual function",
		.cause = "The interface of the physical function lists its functions, and this one "
			 "is not "
			 "among them.",
		.seen = "IFLA_VFINFO_LIST of the interface.",
		.fix = "Look again in a moment; the functions may just be made or removed."},
	{"VF-KEY", "virtual functions have no such setting",
		.cause = "Settings are mac, vlan, qos, spoofchk, trust, min_tx_rate, max_tx_rate "
			 "and "
			 "state.",
		.seen = "The word that was given.", .fix = "See iovctl(1), vf set."},
	{"VF-VALUE", "that value cannot be", .cause = "Each setting has its form and its bounds.",
		.seen = "The word that was given.",
		.fix = "The message's last line says what the setting takes."},
	{"DRV-VARIANT", "the device's maker has a VFIO driver for it",
		.cause = "A variant of vfio-pci knows the device, and can often take its state "
			 "along when the "
			 "machine moves. bind and attach take it.",
		.seen = "The aliases of the kernel's modules (modules.alias), against the "
			"device's.",
		.fix = "Nothing; iovctl bind DEVICE vfio-pci takes the general one."},
	{"DRV-HOLDS", "the driver lets go only when no program uses the device",
		.cause = "This driver waits in unbind, for ever, while a program has the device "
			 "open.",
		.seen = "/sys/bus/pci/devices/ADDRESS/driver.",
		.fix = "End the display server and what computes on it; stop nvidia-persistenced."},
	{"SRIOV-FIRMWARE", "the card was set up to have no virtual functions",
		.cause = "The function has the capability, and how many it may have is 0: the "
			 "card's own setup, "
			 "or the firmware's.",
		.seen = "/sys/bus/pci/devices/ADDRESS/sriov_totalvfs is 0.",
		.fix = "Switch SR-IOV on in the card's setup (mlxconfig SRIOV_EN=1 NUM_OF_VFS=8, "
		       "bnxtnvm, the "
		       "option ROM) and in the firmware's; cycle the power."},
	{"SRIOV-KERNEL", "the kernel makes no virtual functions",
		.cause = "The card could have them, and the kernel was built without SR-IOV, or "
			 "told to leave "
			 "it.",
		.seen = "The configuration space has capability 0x10; sriov_totalvfs is missing.",
		.fix = "Use a kernel with CONFIG_PCI_IOV; the function's port must be one of PCI "
		       "Express."},
	{"SRIOV-NO-DRIVER", "nobody is there to make virtual functions",
		.cause = "The driver of the physical function makes them, and it has none.",
		.seen = "/sys/bus/pci/devices/ADDRESS/driver is missing.",
		.fix = "Give it the driver of its maker: iovctl release DEVICE, or iovctl bind "
		       "DEVICE DRIVER."},
	{"SRIOV-NO-MMIO", "there is no address space for virtual functions",
		.cause = "The firmware left no room for their BARs below the ports above: the "
			 "kernel's log says "
			 "'not enough MMIO resources for SR-IOV'.",
		.seen = "/sys/bus/pci/devices/ADDRESS/resource, lines 8 to 13: a size, and no "
			"address.",
		.fix = "Switch SR-IOV and 'above 4G decoding' on in the firmware's setup; boot "
		       "with "
		       "pci=realloc."},
	{"SRIOV-NO-BUS", "there are too few bus numbers for all virtual functions",
		.cause = "The last of them would be on a bus that the port above does not have.",
		.seen = "SR-IOV capability: offset, stride and count; the port's subordinate bus.",
		.fix = "Ask for fewer; or boot with pci=assign-busses, and switch SR-IOV on in the "
		       "firmware's "
		       "setup."},
	{"PF-LINK-DOWN", "the physical function's interface is down",
		.cause = "A virtual function shares its link: the machine would see no carrier.",
		.seen = "/sys/class/net/INTERFACE/operstate of the physical function.",
		.fix = "Set it up, and plug a cable in."},
};
const struct code_area codes_drivers = {"drivers", pages, ARRAY_SIZE(pages)};
