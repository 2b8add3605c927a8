/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD volumes as files: iovd-nbd, the process that is between, and how the daemon uses it.
 *
 * Birth. A hand execs
 *
 *	iovd-nbd FD URI ro|rw
 *
 * which connects, makes a file system that is mounted nowhere (lib/backends/fuse_file.h), and sends
 * one struct nbd_answer over the socket FD, with the mount's descriptor. From then on it is nobody's
 * child, and lives until the last descriptor of the file is closed.
 */
#pragma once

#include "daemon/hands.h"

#define NBD_PROGRAM "iovd-nbd"

struct nbd_answer {
	struct err e; /* kind ERR_NONE: it serves */
};

/* In a hand: a volume's file, open; it ends with its last descriptor. -1 with e set. */
int nbd_volume_open(const char *uri, bool readonly, struct err *e);

/* How a volume ended. */
struct nbd_end {
	bool is_late; /* something of it may be done later yet */
	char evidence[256];
};

typedef void nbd_end_fn(void *arg, const struct nbd_end *end, const struct err *e);

/*
 * Ends the volume `uri` that is open as fd (VOLUME_END in lib/backends/volume.h): done() is called
 * from the loop, with e if it does not answer. The descriptor stays the caller's, and open until then.
 */
int nbd_volume_end(
	struct hands *hands, const char *uri, int fd, nbd_end_fn *done, void *arg, struct err *e);

/* In the hand: the work "nbd-end PATH" (struct nbd_end). */
#define NBD_WORK_END "nbd-end"
int nbd_work_end(char **words, void *result, int *fd, struct err *e);
