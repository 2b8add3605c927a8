/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session page: everything about a vhost-user session that its worker would lose by dying and
 * that is not a descriptor, in a sealed memfd that outlives it. The worker maps it and keeps it
 * true at every instant; a successor goes on from it; the daemon reads it with pread(), never by
 * mapping, and treats what it reads as a worker's word, not as fact.
 *
 * session_page.c has the theory of operation: which field is written when, and what a kill -9
 * between two stores leaves.
 */
#pragma once

#include "lib/backends/guest_mem.h"
#include "lib/backends/vu_wire.h"
#include "lib/err.h"

#define SESSION_PAGE_SIZE 65536u

struct session_page; /* the layout: session_page_layout.h, for the worker's side only */

/* A fresh page, zeroed and sealed, with magic and version set. Returns the memfd. */
int session_page_create(struct err *e);

/* What the daemon shows and decides by. */
struct session_status {
	uint64_t generation;         /* workers this session has had, from 1 */
	bool connected;              /* a VMM is connected */
	bool started;                /* at least one ring runs */
	bool failed;                 /* the device cannot serve; `reason` says why */
	uint32_t in_flight;          /* requests taken from the guest and not completed */
	uint64_t requests_completed; /* since the attachment was made, all generations */
	uint64_t replayed;           /* requests submitted again after a worker's death */
	uint64_t errors;             /* requests completed with an error status */
	uint64_t vmm_sessions;       /* connections accepted so far */
	char reason[128];            /* terminated, printable */
};

/* Reads and bounds a status by pread(); a page of another magic, version or size is an error. */
int session_page_status(int fd, struct session_status *status, struct err *e);
