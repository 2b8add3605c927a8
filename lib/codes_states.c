/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of the I/O state of a machine: save, restore, migration. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"NO-VMM", "no VMM is connected to the attachment",
		.cause = "An I/O state belongs to the memory of a running VMM.",
		.seen = "The attachment's state is ready.", .fix = "Save while the VMM is there."},
	{"NOT-QUIESCED", "the attachment is not quiesced",
		.cause = "What changes while it is written down is no state.",
		.seen = "The attachment's state.", .fix = "iovctl quiesce VM first."},
	{"INCOMING", "the machine has not arrived itself",
		.cause = "It was restored here, and its VMM has not come with the memory that "
			 "belongs to it.",
		.seen = "The attachment's state is incoming.",
		.fix = "Start the VMM with the saved memory; or detach what was restored."},
	{"DISK-DIFFERS", "the disk is not as the one before",
		.cause = "A guest knows size and block size of its disk, and who the disk is.",
		.seen = "Size, block size and identity in the state, and of the device that is "
			"here.",
		.fix = "Restore onto the same disk, or one like it: --map OLD=NEW."},
	{"STATE-FILE", "that is no file of I/O state", .cause = "An I/O state is a regular file.",
		.seen = "The type of what the path leads to.",
		.fix = "Name the file that iovctl save wrote."},
	{"STATE-FOREIGN", "the file is no I/O state of iovd",
		.cause = "It does not begin as one does.",
		.seen = "Its first bytes; see iovd-iostate(5).",
		.fix = "Name the file that iovctl save wrote."},
	{"STATE-NEWER", "the I/O state was made for a later iovd",
		.cause = "It says which version can read it, and this one is older.",
		.seen = "The version in its header.", .fix = "Update iovd here."},
	{"STATE-CUT", "the I/O state ends early",
		.cause = "Part of the file is missing: it was not copied in full.",
		.seen = "Its length, and the length in its header.", .fix = "Copy it again."},
	{"STATE-DAMAGED", "the I/O state is damaged",
		.cause = "A checksum, or the frame around a section, is wrong.",
		.seen = "The section that is named.", .fix = "Copy it again, or save again."},
	{"STATE-SIZE", "the I/O state is larger than one can be",
		.cause =
			"More attachments, rings or requests than there can be, or too many bytes.",
		.seen = "The count that is named.",
		.fix = "Nothing: such a file was not made by iovd."},
	{"STATE-SECTION", "the I/O state has a section that cannot be taken",
		.cause = "A section is unknown and indispensable, or there twice, or missing.",
		.seen = "The section that is named.",
		.fix = "Use an iovd of the version that made it."},
	{"STATE-VALUE", "the I/O state contradicts itself",
		.cause = "A field is out of its bounds, or does not fit another one.",
		.seen = "The field that is named.",
		.fix = "Save again; a file that is like this from the start is a bug of iovd."},
	{"STATE-FENCE", "the I/O state brings a command",
		.cause = "It was given with --fence where the machine was, travels with it, and "
			 "would be run here as root. A file may come from anywhere.",
		.seen = "The command, in the policy that iovctl show FILE prints.",
		.fix = "Look at it; if it does here what it should, --allow STATE-FENCE."},
	{"MAP", "nothing of the state has that name",
		.cause = "--map OLD=NEW names a device as the state has it.",
		.seen = "The devices in the state.", .fix = "iovctl show FILE lists them."},
	{"VU-INCOMING", "the VMM that came is not the one that was saved",
		.cause = "Rings, features or memory are not as in the saved state: its requests in "
			 "flight "
			 "would go to another guest.",
		.seen = "What the VMM negotiated, against the state.",
		.fix = "Start the VMM with the same devices, and with the memory that was saved."},
	{"DEV-STAYS", "a machine that has the device stays on this host",
		.cause = "What is in a device that is passed through can be taken along only by a "
			 "driver that "
			 "knows the device; vfio-pci knows none.",
		.seen = "The VFIO driver that fits best is vfio-pci.",
		.fix = "Take it back before the machine moves, and give another one there."},
};
const struct code_area codes_states = {"states", pages, ARRAY_SIZE(pages)};
