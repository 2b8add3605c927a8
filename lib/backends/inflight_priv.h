/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The in-flight region as virtq_split.c and virtq_packed.c see it: its bytes, and the steps that
 * they take between the steps of the ring. inflight.c says why in this order.
 */
#pragma once

#include "lib/backends/inflight.h"
#include "lib/backends/shared_mem.h"

#define INFLIGHT_VERSION 1

struct inflight_split_entry {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;    /* the last batch, from region.last_batch_head on */
	uint64_t counter; /* order of fetching */
};

struct inflight_split {
	uint64_t features;
	uint16_t version; /* 0: fresh */
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct inflight_split_entry entries[];
};

static_assert(sizeof(struct inflight_split_entry) == 16, "as the specification has it");
static_assert(offsetof(struct inflight_split, entries) == 16, "as the specification has it");

struct inflight_packed_entry {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next; /* free: the next free one; in flight: the request's next descriptor */
	uint16_t last; /* head: the request's last entry, and ... */
	uint16_t num;  /* ... its number of descriptors, in one store */
	uint64_t counter;
	uint16_t id; /* from here on as in the ring */
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

/* Two fields that change together, in one store. */
struct inflight_free {
	uint16_t head;
	uint16_t old_head;
};

/* Four fields that change together, in one store. */
struct inflight_used {
	uint16_t idx;
	uint16_t old_idx;
	uint8_t wrap;
	uint8_t old_wrap;
	uint8_t padding[2];
};

struct inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	struct inflight_free free; /* desc_num when the list is empty */
	struct inflight_used used;
	uint64_t padding;
	struct inflight_packed_entry entries[];
};

static_assert(sizeof(struct inflight_packed_entry) == 32, "as the specification has it");
static_assert(offsetof(struct inflight_packed, free) == 12, "one aligned store of 4");
static_assert(offsetof(struct inflight_packed, used) == 16, "one aligned store of 8");
static_assert(offsetof(struct inflight_packed, entries) == 32, "as the specification has it");

struct inflight_queue {
	union {
		void *region;
		struct inflight_split *split;
		struct inflight_packed *packed;
	};
	uint16_t entries;
	bool is_packed;
	/* Ours alone, so that after the start the region is only written: */
	uint64_t counter;         /* of the next request */
	uint16_t last_batch_head; /* split */
};

/* A request that a predecessor left in flight. */
struct inflight_replay {
	uint64_t counter;
	uint16_t entry; /* split: the head */
	uint16_t num;   /* packed: its descriptors */
};

struct inflight_recovery {
	bool fresh;     /* nothing was ever in this region: it is ready for use now */
	uint16_t count; /* of replays, oldest first */
	struct inflight_replay *replays; /* room for as many as the ring has entries */
	struct inflight_packed *copy;    /* packed: their descriptors; free() it when done */
};

/*
 * What is in flight in the region of a ring of `size` whose used index reads `used_idx`. A batch
 * that was cut off half cleared is cleared; a fresh region is initialised.
 */
int inflight_split_recover(struct inflight_queue *iq, uint16_t size, uint16_t used_idx,
	struct inflight_recovery *r, struct err *e);

/* Taken from the avail ring. To be called in the order of that ring. */
static inline void inflight_split_mark(struct inflight_queue *iq, uint16_t head)
{
	struct inflight_split_entry *entry = &iq->split->entries[head];

	shared_store64(&entry->counter, iq->counter++);
	shared_store8(&entry->inflight, 1);
}

/* Joins the batch that the next used index will announce. */
static inline void inflight_split_stage(struct inflight_queue *iq, uint16_t head)
{
	shared_store16(&iq->split->entries[head].next, iq->last_batch_head);
	shared_store16(&iq->split->last_batch_head, head);
	iq->last_batch_head = head;
}

/* After the used index moved: for each of the batch, then once for all. */
static inline void inflight_split_clear(struct inflight_queue *iq, uint16_t head)
{
	shared_store8(&iq->split->entries[head].inflight, 0);
}

static inline void inflight_split_settle(struct inflight_queue *iq, uint16_t used_idx)
{
	shared_store16(&iq->split->used_idx, used_idx);
}

/* The part of inflight.c that both formats use. */
void *inflight_copy_region(const struct inflight_queue *iq, struct err *e);
int inflight_check_header(
	const struct inflight_queue *iq, uint16_t version, uint16_t desc_num, struct err *e);
int inflight_order_replays(struct inflight_queue *iq, struct inflight_recovery *r, struct err *e);

/* Where a packed ring stands. */
struct inflight_position {
	uint16_t idx;
	bool wrap;
};

/* Is the descriptor at this place still as the driver made it available in this lap? */
typedef bool inflight_available_fn(void *arg, struct inflight_position at);

/*
 * The same for a packed ring. *used (where a fresh region begins) becomes the place of the next
 * used element, next[] (room for a region of any size: iq->entries) and *free_head the free list.
 */
int inflight_packed_recover(struct inflight_queue *iq, uint16_t size,
	inflight_available_fn *available, void *arg, struct inflight_position *used,
	uint16_t *free_head, uint16_t *next, struct inflight_recovery *r, struct err *e);

/* One descriptor of a request, as in the ring, into an entry that is still in the free list. */
static inline void inflight_packed_copy(struct inflight_queue *iq, uint16_t entry, uint16_t id,
	uint16_t flags, uint32_t len, uint64_t addr)
{
	struct inflight_packed_entry *to = &iq->packed->entries[entry];

	shared_store64(
		(uint64_t *)(void *)&to->id, id | (uint64_t)flags << 16 | (uint64_t)len << 32);
	shared_store64(&to->addr, addr);
}

static inline void inflight_packed_set_free(
	struct inflight_queue *iq, uint16_t head, uint16_t old_head)
{
	shared_store32((uint32_t *)(void *)&iq->packed->free, head | (uint32_t)old_head << 16);
}

static inline void inflight_packed_set_used(
	struct inflight_queue *iq, struct inflight_position used, struct inflight_position old)
{
	shared_store64((uint64_t *)(void *)&iq->packed->used, used.idx | (uint64_t)old.idx << 16 |
								      (uint64_t)used.wrap << 32 |
								      (uint64_t)old.wrap << 40);
}

/* Takes the request that begins at `head` out of the free list: it is in flight from now on. */
static inline void inflight_packed_mark(
	struct inflight_queue *iq, uint16_t head, uint16_t last, uint16_t num, uint16_t free_head)
{
	struct inflight_packed_entry *entry = &iq->packed->entries[head];

	shared_store32((uint32_t *)(void *)&entry->last, last | (uint32_t)num << 16);
	shared_store64(&entry->counter, iq->counter++);
	shared_store8(&entry->inflight, 1);
	inflight_packed_set_free(iq, free_head, free_head);
}

/* What follows a request's last entry, once the request is over. */
static inline void inflight_packed_link(struct inflight_queue *iq, uint16_t last, uint16_t next)
{
	shared_store16(&iq->packed->entries[last].next, next);
}

/* Not in flight any more. */
static inline void inflight_packed_clear(struct inflight_queue *iq, uint16_t head)
{
	shared_store8(&iq->packed->entries[head].inflight, 0);
}

/* The request fetched last is as never fetched: its entries are at the free list's head again. */
static inline void inflight_packed_unmark(
	struct inflight_queue *iq, uint16_t head, uint16_t last, uint16_t free_head)
{
	inflight_packed_link(iq, last, free_head);
	inflight_packed_set_free(iq, head, head);
	inflight_packed_clear(iq, head);
}

/* Before the used descriptor is written: where free list and used index will be after it. */
static inline void inflight_packed_prepare(struct inflight_queue *iq, uint16_t head,
	uint16_t free_head, struct inflight_position used, struct inflight_position old)
{
	inflight_packed_set_free(iq, head, free_head);
	inflight_packed_set_used(iq, used, old);
}

/* After it, when each request that it made visible is cleared. */
static inline void inflight_packed_settle(
	struct inflight_queue *iq, uint16_t head, struct inflight_position used)
{
	inflight_packed_set_free(iq, head, head);
	inflight_packed_set_used(iq, used, used);
}
