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
};
const struct code_area codes_libvirt = {"libvirt", pages, ARRAY_SIZE(pages)};
