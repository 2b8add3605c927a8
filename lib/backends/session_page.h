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

#include "lib/err.h"

#define SESSION_PAGE_SIZE 65536u

/*
 * The gate's word, by which the daemon says what it wants of a worker: a number that only grows, so
 * that an old word is told from a new one, and flags. The page says which word has been heard.
 */
#define SESSION_GATE_SHUT  0x1u /* no new request is taken from any ring; those taken drain */
#define SESSION_GATE_CARRY 0x2u /* or are cancelled, and stay in flight: with nobody, recorded */
#define SESSION_GATE_ARM                                                                           \
	0x4u /* shuts by itself when the VMM stops a ring while it logs, or is kept so */
#define SESSION_GATE_AWAY 0x8u /* with SHUT: no VMM is let in either */
#define SESSION_GATE_IDLE                                                                          \
	0x10u /* with SHUT: the worker is idle; only a successor can be otherwise */
#define SESSION_GATE_FENCE                                                                         \
	0x20u /* with CARRY: the path is being ended: what fails is carried, too */
#define SESSION_GATE_STORED                                                                        \
	0x40u /* with CARRY: what is carried is kept elsewhere, too: the VMM may stop without it */

static inline uint64_t session_gate_word(uint64_t serial, unsigned int flags)
{
	return serial << 8 | flags;
}

/* What comes after `word` and says `flags`. */
static inline uint64_t session_gate_next(uint64_t word, unsigned int flags)
{
	return session_gate_word((word >> 8) + 1, flags);
}

static inline unsigned int session_gate_flags(uint64_t word)
{
	return word & 0xff;
}

/*
 * Between two workers, while there is none: the next one comes up held, and submits nothing until it
 * is told that hold number *number is over. One that is there already stays.
 */
int session_page_hold(int fd, uint32_t *number, struct err *e);

struct session_page; /* the layout: session_page_layout.h, for the worker's side only */

/* A fresh page, zeroed and sealed, with magic and version set. Returns the memfd. */
int session_page_create(struct err *e);

/* Before a page has its first worker: the word that it finds there. */
int session_page_set_gate(int fd, uint64_t word, struct err *e);

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
	uint64_t timed_requests;     /* completed, and it was noted when they went to the host: */
	uint64_t timed_ms;           /* how long all of these were there; right on the average */
	uint64_t vmm_sessions;       /* connections accepted so far */
	uint64_t gate_word;          /* the last that was heard; 0: none */
	bool incoming;               /* goes on from another host's, and the VMM has not come */
	uint32_t hold;               /* the number of the hold that it is in; 0: none */
	bool settled;                /* the gate is shut, and nothing is with the host */
	bool tripped;                /* it was armed, and has shut by itself ... */
	bool came_back;              /* ... and the VMM has started a ring again since */
	bool torn;                   /* ... or has left before all of its rings had stopped */
	bool logging;     /* the VMM logs what is written to memory: the VM is about to move */
	bool moved_off;   /* it has stopped all rings while it did, and started none since */
	uint32_t late;    /* requests that take too long, and are not held for it */
	char reason[128]; /* of failed, else of the hold, else of late; terminated, printable */
};

/* Reads and bounds a status by pread(); a page of another magic, version or size is an error. */
int session_page_status(int fd, struct session_status *status, struct err *e);

/* More than a worker ever has with the host: its ring is smaller. */
#define SESSION_REQUESTS_MAX 256u

enum session_request_what {
	SESSION_READ,
	SESSION_WRITE,
	SESSION_FLUSH,
	SESSION_DISCARD,
	SESSION_ZERO,
	SESSION_REQUEST_WHATS
};

extern const char *const session_request_names[SESSION_REQUEST_WHATS];

enum session_request_state {
	SESSION_REQUEST_WITH_HOST = 1,
	SESSION_REQUEST_PARKED, /* the host could not do it; it stays in flight */
};

/* A request that the host has not done yet. */
struct session_request {
	bool parked;
	enum session_request_what what;
	uint64_t age_ms;
	uint64_t sector, sectors; /* of 512 bytes */
	unsigned int ring, id;    /* which name it together */
};

/*
 * What is with the host, oldest first: how many there are in `out`, which has room for all
 * (SESSION_REQUESTS_MAX), or -1. Read while the worker goes on: a line may be of the next moment.
 */
int session_page_requests(int fd, struct session_request *out, struct err *e);
