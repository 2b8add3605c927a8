/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a session page, for the worker that owns it and its tests; everybody else reads a
 * struct session_status (session_page.h). session_page.c says which stores commit what.
 */
#pragma once

#include "lib/backends/guest_mem.h"
#include "lib/backends/session_page.h"
#include "lib/backends/vu_wire.h"

#define SESSION_PAGE_MAGIC   0x6567617073766f69ull /* "iovspage" */
#define SESSION_PAGE_VERSION 1u

/* Where the VMM's message `number` stands. Each is entered by one store of page_message.word. */
enum page_message_state {
	MSG_IDLE,   /* none is being handled */
	MSG_ACTING, /* begun: its effects may be partly there */
	MSG_ACTED, /* its effects are there, and its reply is in the page; not known to have left */
	MSG_SENT,  /* the reply left (or there is none); the message is still in the socket */
};

/* One word, so that a kill cannot leave half a step: number:32 | consumed:16 | state:16. */
static inline uint64_t page_word(uint32_t number, uint16_t consumed, enum page_message_state state)
{
	return (uint64_t)number << 32 | (uint64_t)consumed << 16 | (uint16_t)state;
}

struct page_message {
	uint64_t word;
	uint16_t length;     /* bytes of the message in the socket; valid from ACTED on */
	uint16_t reply_len;  /* 0: no reply; valid from ACTED on */
	uint16_t reply_slot; /* 1 + the vault slot whose descriptor goes along; 0: none */
	uint8_t reply[VU_REPLY_MAX];
};

struct page_ring {
	uint64_t desc_uva, avail_uva, used_uva, log_gpa;
	uint32_t num;  /* 0: not told yet */
	uint32_t base; /* of a stopped ring: where it goes on */
	uint8_t has_addr;
	uint8_t log_used;
	uint8_t enabled;
	uint8_t started; /* set last when a ring starts, cleared last when it stops */
	uint8_t broken;  /* said so once: the guest broke its rules */
};

/* A region counts while its epoch is the page's: one store removes one, adds one, or swaps all. */
struct page_region {
	struct guest_region_desc desc;
	uint64_t epoch;
};

struct page_inflight {
	uint64_t size, offset;
	uint16_t queues, queue_size;
	uint8_t packed;
	uint8_t ours;  /* made at a ring's start, for a VMM that keeps none */
	uint8_t valid; /* set last */
};

struct page_log {
	uint64_t size, offset;
	uint8_t valid; /* set last */
};

/* What the daemon wants, as far as the worker has heard it, and what came of it (vu_gate.c). */
struct page_gate {
	uint64_t word; /* session_gate_word(), as told; 0: nothing was told yet, the gate is open */
	uint64_t settled; /* == word: the gate is shut, and the host has nothing of ours any more */
};

/* The armed gate shut by itself (vu_gate.c). */
struct page_trip {
	uint64_t word; /* >= gate.word: under this word; more: under one that is just being heard */
	uint64_t back; /* >= word: the VMM has started a ring since */
	uint64_t torn; /* >= word: the VMM has left before all of its rings were stopped */
};

/* What the host could not do, and the guest is not told of (vu_hold.c). */
struct page_hold {
	uint32_t number;   /* of the hold */
	uint32_t released; /* == number: there is none */
	char reason[120];
};

/* Requests that take longer than they may (vu_late.c). */
struct page_late {
	uint32_t hold;  /* the number of the hold that is for nothing else; 0: none */
	uint32_t count; /* without hold: how many there are; words: what the oldest is */
	char words[120];
};

/* What the host has to do for one request, for people who ask why it takes so long. */
struct page_request {
	uint64_t since_ms; /* handed to the host: CLOCK_MONOTONIC_COARSE */
	uint64_t sector, sectors;
	uint16_t ring;
	uint8_t what;  /* enum session_request_what */
	uint8_t state; /* 0: free; stored last: enum session_request_state */
	uint16_t id;   /* its head or buffer id: unique in its ring */
};

/* What another host's session was, to go on from (vu_incoming.c). Written before the first worker. */
struct page_incoming_ring {
	uint32_t base;
	uint16_t size; /* 0: the driver had not set it up */
	uint8_t arrived;
};

struct page_incoming {
	uint64_t features; /* as acknowledged there */
	uint8_t config[VU_CONFIG_MAX];
	struct page_incoming_ring rings[VU_MAX_QUEUES];
	uint8_t adopted; /* it fits this device, which has taken over what the driver had set */
	uint8_t valid;   /* until all rings have arrived */
};

struct session_page {
	uint64_t magic;
	uint32_t version, size;

	uint64_t generation;
	uint64_t requests_completed, replayed, errors, vmm_sessions;
	uint32_t in_flight;
	uint8_t connected, started, failed;
	uint8_t tell_config; /* the VMM has yet to hear that the configuration changed */
	char reason[128];

	struct page_message message;

	uint64_t features;      /* as acknowledged */
	uint64_t protocol;      /* protocol features, as acknowledged */
	uint8_t features_known; /* SET_FEATURES came */
	uint8_t device_status;

	uint64_t mem_epoch; /* never 0 */
	struct page_region regions[GUEST_MEM_MAX_REGIONS];
	struct page_inflight inflight;
	struct page_log log;
	struct page_ring rings[VU_MAX_QUEUES];

	uint8_t device[64]; /* the device's own: what must survive its worker */

	/* From here on zero in the page of an older worker. */
	struct page_gate gate;
	struct page_request requests[SESSION_REQUESTS_MAX];
	uint64_t offered;              /* features */
	uint8_t config[VU_CONFIG_MAX]; /* the configuration space, as it was last told */
	struct page_incoming incoming;
	struct page_hold hold;
	struct page_trip trip;
	struct page_late late;
	uint64_t timed_requests,
		timed_ms;        /* completed ones, and how long they were with the host */
	uint8_t stopped_logging; /* the VMM has stopped its rings while it logged, and none since */
};

static_assert(sizeof(struct session_page) <= SESSION_PAGE_SIZE, "the session page holds it all");

/* Maps a page made by session_page_create(), read and write. The fd may be closed afterwards. */
struct session_page *session_page_map(int fd, struct err *e);
void session_page_unmap(struct session_page *page);

/* A copy, by pread(). 0 or -1. */
int session_page_read(int fd, struct session_page *page, struct err *e);

static inline bool page_gate_has_tripped(const struct session_page *page)
{
	return page->gate.word & SESSION_GATE_ARM && page->trip.word >= page->gate.word;
}

static inline bool page_gate_came_back(const struct session_page *page)
{
	return page_gate_has_tripped(page) && page->trip.back >= page->trip.word;
}

static inline bool page_gate_is_torn(const struct session_page *page)
{
	return page_gate_has_tripped(page) && page->trip.torn >= page->trip.word;
}

static inline bool page_gate_is_shut(const struct session_page *page)
{
	return page->gate.word & SESSION_GATE_SHUT || page_gate_has_tripped(page);
}

static inline bool page_gate_is_settled(const struct session_page *page)
{
	return page_gate_is_shut(page) && page->gate.settled == page->gate.word;
}

/*
 * A store that the page's order rests on: everything written before it is in the page before it.
 * (Memory shared through a memfd survives the process as it is: the order of the stores in the
 * program is enough, and this keeps the compiler and the reader to it.)
 */
#define page_commit(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
