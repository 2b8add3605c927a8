/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session as it is carried to another host: what the daemon reads from one page (for an I/O
 * state), and what it puts into a fresh one so that its worker goes on from there.
 *
 * Incoming. The daemon fills the page, and the list of requests (taken.h), before the page has its
 * first worker. The worker compares itself with them when it is born and each ring when the VMM
 * starts it, replays what is in the list before anything new, and notes which rings have arrived.
 * Until all have, the session is incoming, whatever dies or reconnects. vu_incoming.c has the
 * theory of operation.
 */
#pragma once

#include "lib/backends/taken.h"
#include "lib/err.h"

#define SESSION_RINGS_MAX    64u
#define SESSION_CONFIG_BYTES 256u

struct session_ring {
	uint16_t size; /* 0: the driver has not set it up */
	uint32_t base; /* where it stands, as GET_VRING_BASE answers; of a stopped ring only */
	bool enabled, started;
};

/* What is agreed between driver and device, and where the rings stand. */
struct session_facts {
	bool connected, settled; /* settled: a shut gate, and nothing with the host */
	bool incoming;
	uint64_t offered, acknowledged, protocol;
	uint8_t config[SESSION_CONFIG_BYTES]; /* the configuration space, as the driver reads it */
	struct session_ring rings[SESSION_RINGS_MAX];
	bool has_region; /* in VAULT_INFLIGHT */
	struct taken_region region;
};

/* Whether the VMM shares memory of the guest at this guest-physical address. By pread(). */
enum session_memory { SESSION_MEMORY_UNKNOWN, SESSION_MEMORY_THERE, SESSION_MEMORY_NONE };
enum session_memory session_find_memory(int fd, uint64_t gpa);

/* By pread(); bounded. 0 or -1. */
int session_facts_read(int fd, struct session_facts *facts, struct err *e);

/*
 * A page without a worker is to go on with these: acknowledged, config, and size and base of the
 * rings. It is fresh; or an idle worker has spoken with the VMM already: then rings that it has
 * started must be where these say.
 */
int session_facts_set_incoming(int fd, const struct session_facts *facts, struct err *e);
/* The same page, without a worker again: it goes on elsewhere after all. */
int session_facts_clear_incoming(int fd, struct err *e);
