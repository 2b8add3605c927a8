/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of virtq: what the two ring formats share. virtq.c has the public functions, the pool of
 * chains and the checks of buffers; virtq_split.c and virtq_packed.c have one ops table each.
 */
#pragma once

#include "lib/backends/inflight_priv.h"
#include "lib/backends/shared_mem.h"
#include "lib/backends/virtq.h"

/* Flags of a descriptor (both formats). */
#define DESC_F_NEXT     0x1u
#define DESC_F_WRITE    0x2u
#define DESC_F_INDIRECT 0x4u

struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	union {
		struct {
			uint16_t flags; /* split, and in both formats' indirect tables */
			uint16_t next;
		} split;
		struct {
			uint16_t id;
			uint16_t flags;
		} packed;
	};
};

static_assert(sizeof(struct virtq_desc) == 16, "as the specification has it");

struct virtq_ops {
	/* Finds the ring's parts in guest memory. */
	int (*locate)(struct virtq *q, struct err *e);
	/* Positions and replays from ring, region and cfg->base; allocates what the format needs.
	 */
	int (*recover)(struct virtq *q, struct err *e);
	struct virtq_chain *(*pop)(struct virtq *q);
	void (*push)(struct virtq *q, struct virtq_chain *chain, uint32_t written);
	void (*give_back)(struct virtq *q, const struct virtq_chain *chain);
	/* Something is staged. How many used entries (packed: descriptors) it makes visible. */
	uint16_t (*publish)(struct virtq *q);
	/* Does the guest want to hear of the `count` that became visible last? */
	bool (*wants_call)(const struct virtq *q, uint16_t count);
	void (*kicks_off)(struct virtq *q);
	void (*kicks_on)(struct virtq *q);
	/* The guest has made something available that was not fetched. */
	bool (*has_new)(const struct virtq *q);
	/* The part of the ring that is ours to write (for the log), as whole as it can be. */
	void (*log_ring)(struct virtq *q);
	uint32_t (*base)(const struct virtq *q);
	void (*release)(struct virtq *q);
};

extern const struct virtq_ops virtq_split_ops;
extern const struct virtq_ops virtq_packed_ops;

struct virtq_avail;
struct virtq_used;
struct virtq_event;
struct packed_request;
struct packed_staged;

struct virtq_split {
	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	uint16_t avail_pos;  /* next to fetch, free running */
	uint16_t avail_seen; /* the guest's index when last read */
	uint16_t used_pos;   /* as published */
	uint16_t *staged;    /* heads, in the order of their used elements */
};

struct virtq_packed {
	struct virtq_desc *desc;
	struct virtq_event *driver; /* read */
	struct virtq_event *device; /* written */
	uint16_t avail_pos, used_pos;
	bool avail_wrap, used_wrap;
	uint16_t desc_in_flight;         /* ring slots taken by requests not published yet */
	uint16_t free_head;              /* of the region's free list, and ... */
	uint16_t *next;                  /* ... its links: our own copy, never read back */
	struct packed_request *requests; /* by chain slot */
	struct packed_staged *staged;
	struct virtq_desc *fetched; /* one request's descriptors */
};

struct virtq {
	const struct virtq_ops *ops;
	struct virtq_config cfg;
	struct guest_mem *mem;
	struct inflight_queue *iq;
	struct dirty_log *log;

	struct virtq_chain *chains; /* cfg.size of them; what is not used costs no memory */
	uint16_t *free_slots;       /* a stack, so that few chains do most of the work */
	uint16_t free_count;
	bool *busy; /* by head or buffer id: in flight, or staged */

	struct inflight_recovery replay;
	uint16_t replay_next;
	uint16_t in_flight; /* replays that wait included */
	uint16_t staged_count;
	uint16_t unheard; /* visible since the last call, as publish() counts; the size at most */
	bool call_due;    /* a predecessor may have died between publishing and calling */

	union {
		struct virtq_split split;
		struct virtq_packed packed;
	};
	struct virtq_desc *table; /* the copy of an indirect table, VIRTQ_CHAIN_IOV entries */
	char broken[160];
};

/* Remembers the sentence; returns -1. */
int virtq_break(struct virtq *q, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A chain for a new request, empty. There is one: not more than `size` are ever in flight. */
struct virtq_chain *virtq_chain_take(struct virtq *q);
void virtq_chain_put(struct virtq *q, const struct virtq_chain *chain);

/* Adds one buffer (a descriptor that was copied and is no table). -1: broken. */
int virtq_chain_add(
	struct virtq *q, struct virtq_chain *chain, uint64_t addr, uint32_t len, uint16_t flags);

/* Copies an indirect table into q->table. Returns its number of entries, or -1: broken. */
int virtq_copy_table(struct virtq *q, uint64_t addr, uint32_t len);

/* Marks [host, host+len) of guest memory in the log, if there is one. */
void virtq_log_host(struct virtq *q, const void *host, uint64_t len);

static inline bool virtq_replays_wait(const struct virtq *q)
{
	return q->replay_next < q->replay.count;
}

/* Did the index move past `event` on its way from `old` to `now`? (virtio 1.2, 2.7.7.1) */
static inline bool virtq_event_passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}
