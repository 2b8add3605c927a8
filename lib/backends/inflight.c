/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the region, and a split ring's part of it. (Packed: inflight_packed.c.)
 *
 * The region holds one part per ring, each rounded up to 64 bytes. It is memory shared with the
 * VMM, which keeps it when we die and gives it back to our successor (or we keep it ourselves, in
 * the vault). All stores are release stores (shared_mem.h), so what a kill -9 leaves is a prefix of
 * our stores in program order; below, "cut at n" is a prefix that ends in front of store n.
 *
 *
 * Split ring. entries[i] belongs to the request whose head is descriptor i.
 *
 *	fetch of head h            1  entries[h].counter = global counter++
 *	(in the avail ring's       2  entries[h].inflight = 1
 *	order, one at a time)         ... only now may I/O start ...
 *
 *	push of h                  3  entries[h].next = last_batch_head
 *	(any number of times)      4  last_batch_head = h
 *	                           5  used.ring[..] = (h, written)
 *
 *	publish of the batch       6  used.idx += batch		<- the guest sees it: the commit
 *	                           7  entries[h].inflight = 0	   for each h of the batch
 *	                           8  region.used_idx = used.idx
 *
 *	cut at  what it looks like                   what it means
 *	1, 2    inflight 0, counter perhaps new      never fetched, nothing was submitted; without
 *	                                             the mark the counter means nothing
 *	3       inflight 1                           in flight: replay
 *	4       the same; h's `next` is new          the same: `next` is only looked at through
 *	                                             last_batch_head
 *	5       used_idx equal, last_batch_head = h  the same: the indexes are equal, so the list is
 *	                                             not looked at at all
 *	6       the same, used elements written      the same: beyond used.idx they mean nothing
 *	7       used_idx != used.idx                 the last (used.idx - used_idx) requests of the
 *	                                             list are done: cleared, not replayed
 *	7 again some of these are cleared already    the same; clearing twice is harmless
 *	8       all of these are cleared             the same
 *
 * The list is walked exactly (used.idx - used_idx) steps from last_batch_head. Beyond, it leads
 * into batches of the past (a request that was staged, cut off and staged again may even point at
 * itself), which is why its length comes from the indexes alone. And this is why no batch may begin
 * before store 8 of the batch before.
 *
 * Requests are marked in the order of the avail ring, so those marked are exactly the first ones
 * after the completed ones: the place to go on is used.idx + (number in flight). Marked out of
 * order, a cut between two marks would skip one request and do another twice.
 *
 * The recovery itself stores 7 and 8 and can be cut there, with the same two pictures. A fresh
 * region (version 0) gets all its fields before its version: cut there, it is fresh again, and
 * nothing was fetched yet.
 *
 *
 * The bytes come from outside (the VMM can write them at any time, and the one who gave us the
 * region may not be who we think): the recovery copies a ring's part once, checks the copy and
 * believes only the copy; `inflight` counts as set when it is 1 and only then, in every pass. After
 * the recovery nothing of the region is read again.
 */
#include "lib/backends/inflight_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backends/mapping.h"
#include "lib/cleanup.h"

#define QUEUE_ALIGN    64u
#define MAX_QUEUE_SIZE 32768u /* of any virtqueue */

struct inflight {
	struct mapping map;
	uint16_t queue_count;
	struct inflight_queue queues[];
};

static uint64_t queue_bytes(uint16_t entries, bool packed)
{
	return packed ? sizeof(struct inflight_packed) +
				entries * sizeof(struct inflight_packed_entry)
		      : sizeof(struct inflight_split) +
				entries * sizeof(struct inflight_split_entry);
}

uint64_t inflight_region_size(uint16_t queues, uint16_t queue_size, bool packed)
{
	return queues * ALIGN_UP(queue_bytes(queue_size, packed), QUEUE_ALIGN);
}

static int check_geometry(uint64_t mmap_size, uint16_t queues, uint16_t queue_size,
	uint16_t max_queues, bool packed, struct err *e)
{
	uint64_t needed = inflight_region_size(queues, queue_size, packed);

	if (!queues || queues > max_queues)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT", "%u queues: 1 to %u are served",
			queues, max_queues);
	if (!queue_size || queue_size > MAX_QUEUE_SIZE)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT", "queue size %u: not within 1 to %u",
			queue_size, MAX_QUEUE_SIZE);
	if (!packed && (queue_size & (queue_size - 1)))
		return err_set(
			e, ERR_FAILED, "VU-INFLIGHT", "queue size %u: no power of two", queue_size);
	if (mmap_size < needed)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT",
			"%" PRIu64 " bytes: %u queues of %u need %" PRIu64, mmap_size, queues,
			queue_size, needed);
	return 0;
}

int inflight_open(struct inflight **inflight, int fd, uint64_t mmap_size, uint64_t offset,
	uint16_t queues, uint16_t queue_size, uint16_t max_queues, bool packed, struct err *e)
{
	auto_free struct inflight *fl = NULL;

	if (check_geometry(mmap_size, queues, queue_size, max_queues, packed, e) < 0)
		return err_wrap(e, "in-flight region");
	if (offset % sizeof(uint64_t)) {
		err_set(e, ERR_FAILED, "VU-INFLIGHT", "offset 0x%" PRIx64 " is not aligned",
			offset);
		return err_wrap(e, "in-flight region");
	}
	fl = calloc(1, sizeof(*fl) + queues * sizeof(fl->queues[0]));
	if (!fl)
		return err_sys(e, ENOMEM, "in-flight region");
	if (mapping_open(&fl->map, fd, offset, mmap_size, e) < 0)
		return err_wrap(e, "in-flight region");
	fl->queue_count = queues;
	for (uint16_t i = 0; i < queues; i++)
		fl->queues[i] = (struct inflight_queue){
			.region = fl->map.data + inflight_region_size(i, queue_size, packed),
			.entries = queue_size,
			.is_packed = packed,
		};
	*inflight = steal_ptr(&fl);
	return 0;
}

void inflight_close(struct inflight *inflight)
{
	if (!inflight)
		return;
	mapping_close(&inflight->map);
	free(inflight);
}

void *inflight_base(struct inflight *inflight, size_t *len)
{
	*len = inflight->map.len_bytes;
	return inflight->map.base;
}

struct inflight_queue *inflight_queue_get(struct inflight *inflight, uint16_t index)
{
	return index < inflight->queue_count ? &inflight->queues[index] : NULL;
}

void inflight_queue_reset(struct inflight_queue *iq)
{
	/* At the same place in both formats. */
	static_assert(offsetof(struct inflight_split, version) ==
			      offsetof(struct inflight_packed, version),
		"both formats have their version where the other one has it");

	shared_store16(&iq->split->version, 0);
}

/* The one copy that is checked and believed. The caller's to free; NULL with `e` set. */
void *inflight_copy_region(const struct inflight_queue *iq, struct err *e)
{
	uint64_t len = queue_bytes(iq->entries, iq->is_packed);
	void *copy = malloc(len);

	if (!copy) {
		err_sys(e, ENOMEM, "in-flight region");
		return NULL;
	}
	memcpy(copy, iq->region, len);
	shared_copied();
	return copy;
}

int inflight_check_header(
	const struct inflight_queue *iq, uint16_t version, uint16_t desc_num, struct err *e)
{
	if (version != INFLIGHT_VERSION)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT",
			"in-flight region of version %u: %u is known", version, INFLIGHT_VERSION);
	if (desc_num != iq->entries)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT",
			"in-flight region says %u entries: it was given to us with %u", desc_num,
			iq->entries);
	return 0;
}

static int by_counter(const void *a, const void *b)
{
	const struct inflight_replay *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return x->entry < y->entry ? -1
				   : x->entry > y->entry; /* never ours: any fixed order will do */
}

/* Oldest first; new requests are numbered after them. */
int inflight_order_replays(struct inflight_queue *iq, struct inflight_recovery *r, struct err *e)
{
	iq->counter = 0;
	if (!r->count)
		return 0;
	qsort(r->replays, r->count, sizeof(r->replays[0]), by_counter);
	iq->counter = r->replays[r->count - 1].counter + 1;
	if (!iq->counter)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT",
			"in-flight region: the counter is at its end");
	return 0;
}

static void init_split(struct inflight_queue *iq, uint16_t used_idx)
{
	struct inflight_split *region = iq->split;

	for (unsigned int i = 0; i < iq->entries; i++)
		shared_store8(&region->entries[i].inflight, 0);
	shared_store64(&region->features, 0);
	shared_store16(&region->desc_num, iq->entries);
	shared_store16(&region->last_batch_head, 0);
	shared_store16(&region->used_idx, used_idx);
	shared_store16(&region->version, INFLIGHT_VERSION);
	iq->counter = 0;
	iq->last_batch_head = 0;
}

/* Clears what the last batch left marked, in the region and in the copy alike. */
static int finish_batch(struct inflight_queue *iq, struct inflight_split *copy, uint16_t size,
	uint16_t used_idx, struct err *e)
{
	uint16_t batch = used_idx - copy->used_idx;
	uint16_t head = copy->last_batch_head;

	if (batch > size)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT",
			"in-flight region: used index %u, the ring's is %u: not of this ring",
			copy->used_idx, used_idx);
	for (uint16_t i = 0; i < batch; i++) {
		if (head >= size)
			return err_set(e, ERR_FAILED, "VU-INFLIGHT",
				"in-flight region: entry %u in the last batch of a ring of %u",
				head, size);
		inflight_split_clear(iq, head);
		copy->entries[head].inflight = 0;
		head = copy->entries[head].next;
	}
	if (batch)
		inflight_split_settle(iq, used_idx);
	iq->last_batch_head = copy->last_batch_head < size ? copy->last_batch_head : 0;
	return 0;
}

static int collect_split(const struct inflight_queue *iq, const struct inflight_split *copy,
	uint16_t size, struct inflight_recovery *r, struct err *e)
{
	for (uint16_t i = 0; i < iq->entries; i++) {
		if (copy->entries[i].inflight != 1)
			continue;
		if (i >= size)
			return err_set(e, ERR_FAILED, "VU-INFLIGHT",
				"in-flight region: entry %u in flight in a ring of %u", i, size);
		r->replays[r->count++] =
			(struct inflight_replay){.counter = copy->entries[i].counter, .entry = i};
	}
	return 0;
}

int inflight_split_recover(struct inflight_queue *iq, uint16_t size, uint16_t used_idx,
	struct inflight_recovery *r, struct err *e)
{
	auto_free struct inflight_split *copy = inflight_copy_region(iq, e);

	if (!copy)
		return -1;
	r->count = 0;
	r->fresh = copy->version == 0;
	if (r->fresh) {
		init_split(iq, used_idx);
		return 0;
	}
	if (inflight_check_header(iq, copy->version, copy->desc_num, e) < 0 ||
		finish_batch(iq, copy, size, used_idx, e) < 0 ||
		collect_split(iq, copy, size, r, e) < 0)
		return -1;
	return inflight_order_replays(iq, r, e);
}
