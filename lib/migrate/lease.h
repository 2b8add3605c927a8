/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is written on a volume of the lease on it (daemon/lease.h): who has it, or has passed it on.
 * One line of text, which people can read too; no I/O here, and bytes from elsewhere are hostile.
 *
 *	iovd-lease/1 7 held 0123456789abcdef0123456789abcdef 6b3f...-...-... host1
 */
#pragma once

#include "lib/err.h"

#define LEASE_TEXT_SIZE 192
#define LEASE_HOST_SIZE 33 /* of an iovd's id: 32 digits, terminated */

enum lease_state {
	LEASE_HELD,   /* by `host`, which does the VM's I/O */
	LEASE_PASSED, /* `host` has stopped, drained and synced: whoever waits may take it */
	LEASE_STATES
};

struct lease {
	uint64_t epoch; /* grows with every change of hands; from 1 */
	enum lease_state state;
	char host[LEASE_HOST_SIZE]; /* whose word this is */
	char vm[37];                /* UUID of the domain whose disk it is */
	char name[65];              /* of that host, for people: [A-Za-z0-9._-] */
};

extern const char *const lease_state_names[LEASE_STATES];

/* The name of a host as it may be written: what is not allowed becomes '-'. */
void lease_set_name(struct lease *l, const char *name);

void lease_to_text(const struct lease *l, char text[LEASE_TEXT_SIZE]);

/* -1 with e set: these bytes are none. */
int lease_of_text(const char *text, size_t len, struct lease *l, struct err *e);
