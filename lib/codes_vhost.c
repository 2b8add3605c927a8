/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of what a VMM or its guest says to a worker, which is never trusted. */
#include "lib/codes.h"

#define PROTOCOL "This is an error of the VMM; report it there, with the worker's log."

static const struct code_page pages[] = {
	{"VU-MESSAGE", "the VMM sent a message that makes no sense",
		.cause = "Length, flags or fields of a vhost-user message are out of their bounds.",
		.seen = "The message, as the worker's log names it.", .fix = PROTOCOL},
	{"VU-REQUEST", "the VMM asked for what was not offered",
		.cause = "The request belongs to a protocol feature that this device has not "
			 "offered.",
		.seen = "The number of the request.", .fix = PROTOCOL},
	{"VU-FDS", "the VMM sent descriptors that do not fit",
		.cause = "Too many, too few, or of the wrong kind for the message.",
		.seen = "The descriptors that came with the message.", .fix = PROTOCOL},
	{"VU-FEATURES", "the VMM took features that were not offered",
		.cause =
			"A driver may take only what the device offers, and not while a ring runs.",
		.seen = "The bits of SET_FEATURES or SET_PROTOCOL_FEATURES.", .fix = PROTOCOL},
	{"VU-MEMORY", "the VMM's table of memory cannot be used",
		.cause = "Too many regions, an unknown one, or one that cannot be mapped. Memory "
			 "that is "
			 "not shared cannot be.",
		.seen = "SET_MEM_TABLE, ADD_MEM_REG.",
		.fix = "Give the guest shared memory: -object memory-backend-memfd,share=on."},
	{"VU-RING", "the VMM set up a ring that cannot be",
		.cause = "An index, size or state of a ring is out of its bounds, or it runs "
			 "already.",
		.seen = "The message that names the ring.", .fix = PROTOCOL},
	{"VU-INFLIGHT", "the record of requests in flight cannot be used",
		.cause = "Region, sizes or marks of the in-flight record do not fit the rings.",
		.seen = "SET_INFLIGHT_FD, and the region itself.", .fix = PROTOCOL},
	{"VU-LOG", "the VMM's log of dirty pages cannot be used",
		.cause = "It is too small for the guest's memory, or cannot be mapped.",
		.seen = "SET_LOG_BASE.", .fix = PROTOCOL},
	{"VU-DRAIN", "requests do not end before the VMM's deadline",
		.cause = "The VMM stops a ring and waits, frozen, until nothing is in flight. Past "
			 "the "
			 "deadline iovd hangs up rather than freeze it.",
		.seen = "GET_VRING_BASE, and the requests still at the disk.",
		.fix = "See to the disk. With reconnect-ms the VMM comes back by itself, and "
		       "nothing is "
		       "lost."},
	{"VU-POISONED", "the VMM has cut off memory that it shared",
		.cause = "A file of guest memory became shorter while it was mapped.",
		.seen = "SIGBUS at an address of that region.", .fix = PROTOCOL},
	{"VU-TAKEOVER", "a new worker could not take the session up",
		.cause = "What its predecessor left cannot be gone on from.",
		.seen = "Session page, in-flight region and ring of the predecessor.",
		.fix = "Let the VMM connect again (reconnect-ms), or detach and attach."},
	{"VIRTQ-ADDR", "the guest's ring lies where no memory is",
		.cause = "Rings must be aligned, and within guest memory.",
		.seen = "SET_VRING_ADDR, against the table of memory.",
		.fix = "An error of the guest's driver or of its VMM."},
	{"VIRTQ-BASE", "the ring's index is beyond its end",
		.cause = "A packed ring's index is less than its size.", .seen = "SET_VRING_BASE.",
		.fix = PROTOCOL},
	{"VIRTQ-SIZE", "the ring's size is none that a ring has",
		.cause = "Sizes are from 1 to 32768, and of split rings powers of two.",
		.seen = "SET_VRING_NUM.", .fix = PROTOCOL},
	{"VIRTQ-INFLIGHT", "the ring has no place in the in-flight record",
		.cause = "The record was made for other rings, or for the other ring format.",
		.seen = "The header of its part of the region.", .fix = PROTOCOL},
	{"MEM-OVERLAP", "two regions of guest memory overlap",
		.cause = "An address would mean two places.",
		.seen = "The table of memory that the VMM sent.", .fix = PROTOCOL},
	{"MEM-RANGE", "a region of guest memory goes past the last address",
		.cause = "Address and size together overflow.",
		.seen = "The table of memory that the VMM sent.", .fix = PROTOCOL},
	{"MEM-REGION", "the VMM takes back memory that it never gave",
		.cause = "No region has that address and size.", .seen = "REM_MEM_REG.",
		.fix = PROTOCOL},
	{"MEM-SLOTS", "the guest has more regions of memory than are served",
		.cause = "The number of regions is bounded; iovd tells the VMM by "
			 "GET_MAX_MEM_SLOTS.",
		.seen = "The count of regions.",
		.fix = "Give the machine fewer, larger pieces of memory."},
	{"MAP-FILE", "shared memory that is no memory",
		.cause = "The descriptor for a region is neither a file nor a memfd.",
		.seen = "fstat() of the descriptor.", .fix = PROTOCOL},
	{"MAP-SIZE", "shared memory that is shorter than was said",
		.cause = "A region must lie within its file.",
		.seen = "The file's size, against offset and size of the region.", .fix = PROTOCOL},
	{"CONFIG-RO", "the guest's driver wrote what it may only read",
		.cause = "Of a disk's configuration only the cache mode can be written.",
		.seen = "SET_CONFIG.", .fix = "An error of the guest's driver or of its VMM."},
	{"SESSION-PAGE", "the session page cannot be read",
		.cause = "It is of another version, or no session page.",
		.seen = "Its first bytes and its size.",
		.fix = "Detach and attach. After an update of iovd this is a bug."},
};
const struct code_area codes_vhost = {"vhost-user", pages, ARRAY_SIZE(pages)};
