/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD volumes. */
#include "lib/codes.h"

static const struct code_page pages[] = {
	{"NBD-URI", "that is no name of an NBD volume that iovd takes",
		.cause = "An NBD URI can say more than iovd speaks (TLS, users, VSOCK), and what "
			 "it does "
			 "not know it does not guess.",
		.seen = "The words of the name: nobody was asked.",
		.fix = "nbd://HOST[:PORT]/EXPORT, or nbd+unix:///EXPORT?socket=PATH with an "
		       "absolute "
		       "path; other bytes are written as %XX."},
	{"NBD-CONNECT", "the NBD server does not give the export",
		.cause = "Nobody listens there, what listens speaks no NBD, it has no such export, "
			 "wants "
			 "TLS, or offers a disk that no guest could use.",
		.seen = "What libnbd reported while it connected, within 5 seconds.",
		.fix = "nbdinfo URI shows what a server offers, and why not."},
	{"NBD-PROGRAM", "the process between worker and NBD server did not start",
		.cause = "An NBD volume is served to the worker by a process of its own, iovd-nbd, "
			 "which "
			 "is there only if iovd was built with libnbd.",
		.seen = "The process ended before it said anything.",
		.fix = "Install a build with libnbd; the log of iovd says more if it crashed."},
	{"NBD-LATE", "the NBD server may do later what it did not answer",
		.cause = "NBD cannot take a request back, and the end of a connection does not end "
			 "what "
			 "the server does. A write that was sent and never answered could land "
			 "after the "
			 "guest wrote there again.",
		.seen = "The connection was lost, or given up, while requests that change the "
			"volume were "
			"unanswered; or iovd-nbd died, and with it the knowledge of them.",
		.fix = "Make sure that the server's old process has ended, or that the host it "
		       "runs on "
		       "cannot reach the storage any more.",
		.waiver = "recover --allow NBD-LATE: the server that had the requests is dead"},
};

const struct code_area codes_nbd = {"nbd", pages, ARRAY_SIZE(pages)};
