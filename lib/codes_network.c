/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Codes of network devices that are given by a worker. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"NET-TAP", "the tap cannot be used",
		.cause = "A tap or macvtap is opened once for each pair of queues, with a vnet "
			 "header, by somebody who may. One that was made for a single queue has "
			 "one.",
		.seen = "What opening or asking it said.",
		.fix = "ip tuntap add NAME mode tap vnet_hdr multi_queue"},
	{"NET-DIFFERS", "the network device is not as the one before",
		.cause = "A guest knows the MAC address of its device, how many queues it has, and "
			 "what it can do; and its frames are as long as the network was that it "
			 "comes from let them be.",
		.seen = "What is in the state, and the device or bridge that is here.",
		.fix = "Restore or move onto a bridge with that MTU, on a host whose kernel is not "
		       "older; by hand, onto a device of the same address, with as many queues."},
	{"NET-MTU", "the guest's MTU does not go through",
		.cause = "The network behind the device has a smaller one, or it is none at all.",
		.seen = "NET_SET_MTU.", .fix = "Give the VMM's device that MTU: host_mtu=N."},
};
const struct code_area codes_network = {"network devices", pages, ARRAY_SIZE(pages)};
