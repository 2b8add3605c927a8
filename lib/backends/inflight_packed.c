/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a packed ring's part of the in-flight region. (inflight.c comes first.)
 *
 * A packed ring overwrites its own descriptors: a used one is written over whatever stands at the
 * used position, which may be the only copy of a request that is still in flight. So the region
 * keeps copies. entries[] is a pool: a free list through `next` from free_head on (desc_num ends
 * it), and requests in flight, each a chain through `next` of `num` entries from its head to
 *`last`.
 *
 * The fields come as pairs, new and old: free_head and old_free_head, (used_idx, used_wrap) and
 * (old_used_idx, old_used_wrap). A pair is one aligned store of 4 or 8 bytes here, so it is never
 * seen half changed. Writing F for the free pair and U for the used pair as new|old:
 *
 *	fetch of a request of    1  entries[..].id, flags, len, addr	each of its entries
 *	n descriptors, in the    2  entries[h].last, num
 *	first n free entries     3  entries[h].counter = global counter++
 *	from h on                4  entries[h].inflight = 1
 *	                         5  F = f|f, f the first entry not taken	<- the commit
 *	                            ... only now may I/O start ...
 *
 *	publish of the request   6  entries[last].next = f
 *	at h, one at a time      7  F = h|f
 *	                         8  U = u'|u
 *	                         9  desc[u].len = written
 *	                        10  desc[u].id, flags = used		<- the guest sees it: the
 *commit 11  entries[h].inflight = 0 12  F = h|h 13  U = u'|u'
 *
 *	cut at    what it looks like             what is done about it
 *	1 to 5    F = h|h, U equal; head h       nothing happened: entries in the free list are not
 *	          perhaps marked                 in flight; a mark on one (cut at 5) is cleared
 *	6         in flight                      replay
 *	7         the same, last.next new        the same: `next` of the last entry is not looked at
 *	8         F = h|f, U equal               rolled back: F = f|f; h is in flight: replay
 *	9, 10     F = h|f, U = u'|u, desc[u]     the same, and U = u|u. That desc[u].len may have
 *	          still available                changed is harmless: the request is rebuilt from
 *	                                         here, and its own used descriptor rewrites it
 *	11        F = h|f, U = u'|u, desc[u]     the guest has it: rolled forward, that is, 11 to 13
 *	          not available any more         are done again
 *	12        the same, mark cleared         the same
 *	13        F = h|h, U = u'|u              the same
 *
 * The question at 9 to 13 is asked of the ring: is desc[u] still *available* as in this lap? Not:
 * is it used? Between our death and our successor's question the guest runs on, takes the used
 * descriptor and may put a new request of the next lap in its place. It is not available as in this
 * lap either way, and it cannot come a whole lap further, since we have used nothing meanwhile.
 *
 * Why the order 12 before 13: with U settled first, a cut in between would look like 8 and give the
 * entry back to a request that is over. Why one at a time where the specification allows batches:
 * used descriptors behind the first one of a batch that was cut would stay in the ring, and after
 * the rollback, with requests completing in another order, the guest could come upon them.
 *
 * Where requests complete in the order of fetching (virtq_config.in_order) the guest cannot come upon
 * them, and the recovery puts such descriptors back as they were (virtq_packed.c). So several may
 * be published as one there, h the first of them: 6 links each to the next and the last one to f,
 * 8 has u' behind all, 9 and 10 go from the last to the first -- which is what the guest looks for,
 * and what the ring is asked about -- and 11 clears each. Cuts mean the same, for all of them.
 *
 *	giving back the request    a  entries[last].next = f
 *	at h, fetched last         b  F = h|h				<- the commit
 *	                           c  entries[h].inflight = 0
 *
 * Cut at b it is in flight still; at c a mark in the free list is cleared.
 *
 * The place to fetch from is u + the sum of `num` over all that is in flight: descriptors are used
 * in the order of the ring's slots, whatever the order of the requests.
 *
 * The recovery's own stores (marks in the free list, F, U) can be cut as well: forward they are 11
 * to 13 again; backward, F = f|f with U = u'|u still asks the ring, and gets the same answer.
 */
#include "lib/backends/inflight_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"

enum { FREE = 1, IN_FLIGHT = 2 };

static int corrupt(struct err *e, const char *what, unsigned int entry)
{
	return err_set(e, ERR_FAILED, "VU-INFLIGHT", "in-flight region: %s %u", what, entry);
}

static void init_packed(struct inflight_queue *iq, struct inflight_position used, uint16_t *next)
{
	struct inflight_packed *region = iq->packed;

	for (uint16_t i = 0; i < iq->entries; i++) {
		next[i] = i + 1;
		shared_store8(&region->entries[i].inflight, 0);
		shared_store16(&region->entries[i].next, next[i]);
	}
	shared_store64(&region->features, 0);
	shared_store16(&region->desc_num, iq->entries);
	inflight_packed_set_free(iq, 0, 0);
	inflight_packed_set_used(iq, used, used);
	shared_store16(&region->version, INFLIGHT_VERSION);
	iq->counter = 0;
}

/* Decides between forward and back, in the copy only: afterwards new equals old there. */
static int decide(struct inflight_packed *copy, uint16_t size, inflight_available_fn *available,
	void *arg, struct err *e)
{
	struct inflight_used *u = &copy->used;
	struct inflight_position old = {u->old_idx, u->old_wrap};
	bool settled = u->idx == u->old_idx && u->wrap == u->old_wrap;

	if (u->idx >= size || u->old_idx >= size)
		return corrupt(e, "used index beyond the ring:", MAX(u->idx, u->old_idx));
	if (u->wrap > 1 || u->old_wrap > 1)
		return corrupt(e, "wrap counter", MAX(u->wrap, u->old_wrap));
	if (settled || available(arg, old)) {
		u->idx = u->old_idx;
		u->wrap = u->old_wrap;
		copy->free.head = copy->free.old_head;
	} else {
		u->old_idx = u->idx;
		u->old_wrap = u->wrap;
		copy->free.old_head = copy->free.head;
	}
	return 0;
}

/* Follows the free list, marks what is in it, and clears what was marked in flight there. */
static int walk_free(
	struct inflight_queue *iq, struct inflight_packed *copy, uint8_t *seen, struct err *e)
{
	uint16_t at = copy->free.head;

	while (at != iq->entries) {
		if (at > iq->entries || seen[at])
			return corrupt(e, "free list leads to", at);
		seen[at] = FREE;
		if (copy->entries[at].inflight) {
			copy->entries[at].inflight = 0;
			shared_store8(&iq->packed->entries[at].inflight, 0);
		}
		at = copy->entries[at].next;
	}
	return 0;
}

static int walk_request(const struct inflight_queue *iq, const struct inflight_packed *copy,
	uint16_t head, uint8_t *seen, struct err *e)
{
	uint16_t at = head, num = copy->entries[head].num;

	for (uint16_t i = 0; i < num; i++) {
		if (at >= iq->entries || seen[at])
			return corrupt(e, "a request leads to", at);
		seen[at] = IN_FLIGHT;
		if (i + 1 == num && at != copy->entries[head].last)
			return corrupt(e, "a request does not end at", copy->entries[head].last);
		at = copy->entries[at].next;
	}
	return num ? 0 : corrupt(e, "no descriptors at", head);
}

static int collect_packed(const struct inflight_queue *iq, const struct inflight_packed *copy,
	uint16_t size, uint8_t *seen, struct inflight_recovery *r, struct err *e)
{
	unsigned int total = 0;

	for (uint16_t i = 0; i < iq->entries; i++) {
		const struct inflight_packed_entry *entry = &copy->entries[i];

		if (entry->inflight != 1)
			continue;
		if (walk_request(iq, copy, i, seen, e) < 0)
			return -1;
		total += entry->num;
		if (total > size)
			return corrupt(e, "more descriptors in flight than the ring has:", total);
		r->replays[r->count++] = (struct inflight_replay){
			.counter = entry->counter, .entry = i, .num = entry->num};
	}
	for (uint16_t i = 0; i < iq->entries; i++)
		if (!seen[i])
			return corrupt(e, "neither free nor in flight:", i);
	return 0;
}

static void store_decision(struct inflight_queue *iq, const struct inflight_packed *copy)
{
	struct inflight_position used = {copy->used.idx, copy->used.wrap};

	inflight_packed_set_free(iq, copy->free.head, copy->free.head);
	inflight_packed_set_used(iq, used, used);
}

static int recover_from(struct inflight_queue *iq, uint16_t size, inflight_available_fn *available,
	void *arg, struct inflight_recovery *r, struct err *e)
{
	struct inflight_packed *copy = r->copy;
	auto_free uint8_t *seen = calloc(1, iq->entries);

	if (!seen)
		return err_sys(e, ENOMEM, "in-flight region");
	if (decide(copy, size, available, arg, e) < 0 || walk_free(iq, copy, seen, e) < 0 ||
		collect_packed(iq, copy, size, seen, r, e) < 0 ||
		inflight_order_replays(iq, r, e) < 0)
		return -1;
	store_decision(iq, copy);
	return 0;
}

int inflight_packed_recover(struct inflight_queue *iq, uint16_t size,
	inflight_available_fn *available, void *arg, struct inflight_position *used,
	uint16_t *free_head, uint16_t *next, struct inflight_recovery *r, struct err *e)
{
	struct inflight_packed *copy = inflight_copy_region(iq, e);

	if (!copy)
		return -1;
	r->copy = copy;
	r->count = 0;
	r->fresh = copy->version == 0;
	if (r->fresh) {
		init_packed(iq, *used, next);
		*free_head = 0;
		return 0;
	}
	if (inflight_check_header(iq, copy->version, copy->desc_num, e) < 0 ||
		recover_from(iq, size, available, arg, r, e) < 0)
		return -1;
	*used = (struct inflight_position){copy->used.idx, copy->used.wrap};
	*free_head = copy->free.head;
	for (uint16_t i = 0; i < iq->entries; i++)
		next[i] = copy->entries[i].next;
	return 0;
}
