/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtqueue, split or packed (virtio 1.2, 2.7 and 2.8), seen from the device, together with its
 * part of the in-flight region: the only code that reads descriptors or writes used entries, and
 * the only one that keeps the order between the two, on which "no request lost, none done twice"
 * rests.
 *
 *	while ((chain = virtq_pop(q)))	   fetches: copies the descriptors once, checks the copy,
 *					   marks it in flight. Replays come first, oldest first.
 *	virtq_push(q, chain, written);	   completes one: staged, the guest does not see it yet
 *	virtq_publish(q);		   the staged ones become visible, then leave the in-flight
 *					   region; true: the guest wants a call
 *
 * A ring that breaks the rules (index out of range, loop, indirect in indirect, address outside
 * guest memory, ...) is *broken*: pop returns NULL, virtq_broken() says why, requests in flight
 * still complete. Never more than `size` chains are in flight. No allocation after virtq_start().
 * One thread.
 */
#pragma once

#include <sys/uio.h>

#include "lib/backends/dirty_log.h"
#include "lib/backends/guest_mem.h"
#include "lib/backends/inflight.h"
#include "lib/err.h"

#define VIRTQ_MAX_SIZE 1024u
/* seg_max 126, header, status, and room for buffers that cross a region's end. */
#define VIRTQ_CHAIN_IOV 132u

struct virtq;

struct virtq_config {
	uint16_t index;
	uint16_t size;      /* split: a power of two; 1..VIRTQ_MAX_SIZE */
	bool packed;        /* VIRTIO_F_RING_PACKED */
	bool event_idx;     /* VIRTIO_F_EVENT_IDX */
	bool indirect;      /* VIRTIO_F_INDIRECT_DESC */
	uint64_t desc_uva;  /* descriptor table / ring */
	uint64_t avail_uva; /* avail ring / driver event suppression */
	uint64_t used_uva;  /* used ring / device event suppression */
	uint64_t log_gpa;   /* of the used ring, for the dirty log */
	bool log_used;      /* VHOST_VRING_F_LOG */
	uint32_t base;      /* as in SET_VRING_BASE */
	/*
	 * The worker before us had this ring running: where to go on follows from the used index
	 * and the in-flight region, not from base. (A VMM's own restart with requests in flight
	 * is recognised without it, and so is every restart of a packed ring: only a fresh region
	 * goes by base.)
	 */
	bool takeover;
	/*
	 * Its user completes in the order of fetching. Then several requests may become visible at
	 * once (chain->joined), and what was fetched last may be given back (virtq_give_back()).
	 */
	bool in_order;
	/* With in_order: what a predecessor had in flight counts as never fetched; no replays. */
	bool refetch;
};

/* A request's buffers: the driver's (readable) come first in iov[], then the device's (writable).
 */
struct virtq_chain {
	uint16_t slot; /* names it while in flight, below the ring's size: index your arrays */
	uint16_t id;   /* split: head; packed: buffer id */
	uint16_t desc_count; /* ring descriptors it takes */
	uint16_t note;       /* its user's; 0 when it is fetched */
	uint64_t order;      /* the same */
	bool replayed;       /* a predecessor had it in flight */
	bool joined;         /* its user's, for virtq_push(): seen together with the next pushed */
	uint16_t out_count;  /* readable entries of iov */
	uint16_t in_count;   /* writable entries, from iov[out_count] on */
	uint64_t out_len;    /* readable bytes */
	uint64_t in_len;     /* writable bytes */
	struct iovec iov[VIRTQ_CHAIN_IOV];
};

/*
 * Looks at the ring's memory and recovers what `iq` holds in flight; from then on virtq_pop()
 * works. `iq` must have been opened for at least cfg->size entries and the same format.
 */
int virtq_start(struct virtq **q, const struct virtq_config *cfg, struct guest_mem *mem,
	struct inflight_queue *iq, struct err *e);
/* Forgets the ring (nothing is written); the in-flight region keeps what is in flight. */
void virtq_free(struct virtq *q);

/* After the memory table changed (nothing may be in flight): finds the rings again. */
int virtq_remap(struct virtq *q, struct err *e);

/* Where dirty marks go from now on; NULL for none. log_used/log_gpa as in the config. */
void virtq_set_log(struct virtq *q, struct dirty_log *log, bool log_used, uint64_t log_gpa);

/* The next request, or NULL: none there, or broken. Stays valid until pushed. */
struct virtq_chain *virtq_pop(struct virtq *q);

/*
 * Completes a request of which the device wrote the first `written` writable bytes (logged here;
 * blk's status byte lies at the end: pass in_len). In any order.
 */
void virtq_push(struct virtq *q, struct virtq_chain *chain, uint32_t written);

/*
 * Only in_order. The request that was fetched last, of those that were not pushed, as though it had
 * never been: the next virtq_pop() fetches it again.
 */
void virtq_give_back(struct virtq *q, struct virtq_chain *chain);

/*
 * Makes what was pushed visible. True when the guest asked to be called for it; and once after a
 * start that was not the region's first, even with nothing pushed: the worker before us may have
 * died between publishing and calling. So publish (and call) once after every start.
 */
bool virtq_publish(struct virtq *q);

/*
 * Looks once more whether the guest wants to be called for what it was not called for: its wish may
 * have become visible after virtq_publish() looked (vu_second_look.c). At most once per publish; may
 * be true for what the guest has seen by itself.
 */
bool virtq_wants_call_after_all(struct virtq *q);

/* "Do not kick, I am looking" / "kick again": the latter returns true if there is work already. */
void virtq_kicks_off(struct virtq *q);
bool virtq_kicks_on(struct virtq *q);

/* True when virtq_pop() would find something (replay or new). */
bool virtq_has_work(const struct virtq *q);

uint16_t virtq_in_flight(const struct virtq *q);
/* What GET_VRING_BASE answers (split: 16 bits; packed: both indexes and wrap counters). */
uint32_t virtq_base(const struct virtq *q);
/* NULL, or the sentence that says how the guest broke it. */
const char *virtq_broken(const struct virtq *q);
