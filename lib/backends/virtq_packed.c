/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packed virtqueue (virtio 1.2, 2.8).
 *
 * Theory of operation
 *
 * One ring of descriptors, written by both sides. Two flag bits, AVAIL and USED, say whose a
 * descriptor is, together with a wrap counter that each side flips when it passes the ring's end:
 *
 *	available   AVAIL == wrap, USED != wrap     (wrap counter of the one who fetches)
 *	used        AVAIL == USED == wrap           (wrap counter of the one who uses)
 *
 * A request takes consecutive descriptors, linked by NEXT; the last one carries the buffer id. The
 * driver makes the first one available last, so behind an available first all of them are there. A
 * used request is one descriptor with the id, written at the used position, which then moves on by
 * as many as the request took. So fetching goes around ahead of using, never more than the ring's
 * size, and what we overwrite was fetched before, though perhaps not completed: the in-flight
 * region has the copies (inflight_packed.c, with the order of all stores).
 *
 * A replay does not look at the ring; its descriptors come from the recovered region. An indirect
 * table is read again from guest memory, where it stays until the request is used.
 *
 * Notifications: each side writes one event structure of 4 bytes (here always by one store), the
 * other reads it: call/kick always, never, or (EVENT_IDX) when the given place is passed.
 */
#include "lib/backends/virtq_priv.h"

#include <errno.h>
#include <stdlib.h>

#define DESC_F_AVAIL 0x80u
#define DESC_F_USED  0x8000u

#define EVENT_ENABLE  0u
#define EVENT_DISABLE 1u
#define EVENT_DESC    2u
#define EVENT_MASK    3u

#define WRAP_BIT 0x8000u

/* off_wrap in the low half, flags in the high half. */
struct virtq_event {
	uint32_t word;
};

struct packed_request {
	uint16_t entry, last; /* in the region */
	uint16_t num;
};

struct packed_staged {
	struct packed_request request;
	uint16_t id;
	bool joined;
	uint32_t written;
};

static int packed_locate(struct virtq *q, struct err *e)
{
	const struct virtq_config *cfg = &q->cfg;
	struct virtq_packed *p = &q->packed;

	if (cfg->desc_uva % 16 || cfg->avail_uva % 4 || cfg->used_uva % 4)
		return err_set(e, ERR_FAILED, "VIRTQ-ADDR", "its addresses are not aligned");
	p->desc = guest_mem_uva(q->mem, cfg->desc_uva, cfg->size * sizeof(struct virtq_desc));
	p->driver = guest_mem_uva(q->mem, cfg->avail_uva, sizeof(*p->driver));
	p->device = guest_mem_uva(q->mem, cfg->used_uva, sizeof(*p->device));
	if (!p->desc)
		return err_set(
			e, ERR_FAILED, "VIRTQ-ADDR", "descriptor ring is outside guest memory");
	if (!p->driver || !p->device)
		return err_set(
			e, ERR_FAILED, "VIRTQ-ADDR", "event structures are outside guest memory");
	return 0;
}

static int allocate(struct virtq_packed *p, uint16_t size, uint16_t entries, struct err *e)
{
	p->next = calloc(entries, sizeof(p->next[0]));
	p->requests = calloc(size, sizeof(p->requests[0]));
	p->staged = calloc(size, sizeof(p->staged[0]));
	p->fetched = calloc(size, sizeof(p->fetched[0]));
	if (!p->next || !p->requests || !p->staged || !p->fetched)
		return err_sys(e, ENOMEM, "cannot allocate");
	return 0;
}

static void packed_release(struct virtq *q)
{
	free(q->packed.next);
	free(q->packed.requests);
	free(q->packed.staged);
	free(q->packed.fetched);
	free(q->replay.copy);
}

static bool flags_available(uint16_t flags, bool wrap)
{
	return !!(flags & DESC_F_AVAIL) == wrap && !!(flags & DESC_F_USED) != wrap;
}

/* (inflight_available_fn) */
static bool desc_available(void *arg, struct inflight_position at)
{
	const struct virtq *q = arg;

	return flags_available(shared_load16(&q->packed.desc[at.idx].packed.flags), at.wrap);
}

static struct inflight_position advance(
	const struct virtq *q, struct inflight_position at, uint16_t by)
{
	unsigned int idx = at.idx + by;

	if (idx < q->cfg.size)
		return (struct inflight_position){(uint16_t)idx, at.wrap};
	return (struct inflight_position){(uint16_t)(idx - q->cfg.size), !at.wrap};
}

static struct inflight_position retreat(
	const struct virtq *q, struct inflight_position at, uint16_t by)
{
	if (at.idx >= by)
		return (struct inflight_position){at.idx - by, at.wrap};
	return (struct inflight_position){(uint16_t)(at.idx + q->cfg.size - by), !at.wrap};
}

static struct inflight_position used_position(const struct virtq *q)
{
	return (struct inflight_position){q->packed.used_pos, q->packed.used_wrap};
}

static void set_avail(struct virtq *q, struct inflight_position at)
{
	q->packed.avail_pos = at.idx;
	q->packed.avail_wrap = at.wrap;
}

static void set_used(struct virtq *q, struct inflight_position at)
{
	q->packed.used_pos = at.idx;
	q->packed.used_wrap = at.wrap;
}

/* Buffer ids in flight; the copies are private, but were written by somebody. */
static int claim_replays(struct virtq *q, struct err *e)
{
	for (uint16_t i = 0; i < q->replay.count; i++) {
		const struct inflight_replay *r = &q->replay.replays[i];
		const struct inflight_packed_entry *entries = q->replay.copy->entries;
		uint16_t id = entries[entries[r->entry].last].id;

		if (id >= q->cfg.size || q->busy[id])
			return err_set(e, ERR_FAILED, "VU-INFLIGHT",
				"in-flight region: buffer id %u, beyond the ring or twice", id);
		q->busy[id] = true;
		q->packed.desc_in_flight += r->num;
	}
	return 0;
}

/*
 * User-Mode Linux begins a packed ring with base 0 and means 0x80008000: its wrap counters are 1.
 * The ring tells which it is. In a new one USED is set nowhere; where the counters really are 0 at
 * index 0, a lap has ended in which at least one buffer began and was used, which set it. DPDK's
 * virtio-user says 0x8000 and means the same: it leaves out where the used ones are.
 */
static uint32_t first_base(const struct virtq *q)
{
	if (q->cfg.base && q->cfg.base != WRAP_BIT)
		return q->cfg.base;
	for (unsigned int i = 0; i < q->cfg.size; i++)
		if (shared_load16(&q->packed.desc[i].packed.flags) & DESC_F_USED)
			return q->cfg.base;
	return WRAP_BIT << 16 | WRAP_BIT;
}

/*
 * In order, replays are in the ring's next slots. A used descriptor of several that were cut off
 * before the first one may stand there: all are as the driver made them again.
 */
static void restore_slots(struct virtq *q, struct inflight_position at)
{
	const struct inflight_packed_entry *entries = q->replay.copy->entries;

	for (uint16_t i = 0; i < q->replay.count; i++) {
		uint16_t entry = q->replay.replays[i].entry;

		for (uint16_t n = 0; n < q->replay.replays[i].num; n++) {
			const struct inflight_packed_entry *from = &entries[entry];
			struct virtq_desc *d = &q->packed.desc[at.idx];

			shared_store32(&d->len, from->len);
			shared_store32((uint32_t *)(void *)&d->packed.id,
				from->id | (uint32_t)from->flags << 16);
			entry = from->next;
			at = advance(q, at, 1);
		}
	}
}

/* As though each were given back, the last one first. */
static void forget_replays(struct virtq *q)
{
	struct virtq_packed *p = &q->packed;

	while (q->replay.count) {
		uint16_t head = q->replay.replays[--q->replay.count].entry;
		uint16_t last = q->replay.copy->entries[head].last;

		inflight_packed_unmark(q->iq, head, last, p->free_head);
		p->next[last] = p->free_head;
		p->free_head = head;
	}
}

static int packed_recover(struct virtq *q, struct err *e)
{
	uint32_t base = first_base(q);
	struct inflight_position avail = {base & 0x7fff, !!(base & WRAP_BIT)};
	struct inflight_position used = {base >> 16 & 0x7fff, !!(base >> 16 & WRAP_BIT)};

	if (avail.idx >= q->cfg.size || used.idx >= q->cfg.size)
		return err_set(e, ERR_FAILED, "VIRTQ-BASE", "base 0x%x is beyond the ring", base);
	if (allocate(&q->packed, q->cfg.size, q->iq->entries, e) < 0 ||
		inflight_packed_recover(q->iq, q->cfg.size, desc_available, q, &used,
			&q->packed.free_head, q->packed.next, &q->replay, e) < 0)
		return -1;
	if (q->cfg.in_order)
		restore_slots(q, used);
	if (q->cfg.refetch)
		forget_replays(q);
	if (claim_replays(q, e) < 0)
		return -1;
	/*
	 * A region that was used knows better than base: a VMM that lost its back end does not see
	 * the used index of a packed ring, and gives the one it began with.
	 */
	if (!q->replay.fresh)
		avail = advance(q, used, q->packed.desc_in_flight);
	set_avail(q, avail);
	set_used(q, used);
	return 0;
}

static struct virtq_desc load_desc(const struct virtq_desc *d)
{
	const uint64_t *words = (const uint64_t *)d;
	uint64_t rest = shared_load64(&words[1]); /* the flags first: they vouch for the address */

	return (struct virtq_desc){
		.addr = shared_load64(&words[0]),
		.len = (uint32_t)rest,
		.packed = {.id = (uint16_t)(rest >> 32), .flags = (uint16_t)(rest >> 48)},
	};
}

/* Entries of an indirect table follow each other; of their flags only WRITE has a meaning. */
static int read_indirect(struct virtq *q, struct virtq_chain *chain, const struct virtq_desc *d)
{
	int count;

	if (d->packed.flags & DESC_F_NEXT)
		return virtq_break(q, "a descriptor that is indirect and has a next");
	count = virtq_copy_table(q, d->addr, d->len);
	for (int i = 0; i < count; i++) {
		const struct virtq_desc *entry = &q->table[i];

		if (entry->packed.flags & DESC_F_INDIRECT)
			return virtq_break(q, "an indirect table within an indirect table");
		if (virtq_chain_add(q, chain, entry->addr, entry->len, entry->packed.flags) < 0)
			return -1;
	}
	return count < 0 ? -1 : 0;
}

/* Builds a chain of the `num` descriptors in p->fetched. NULL: broken. */
static struct virtq_chain *build_chain(struct virtq *q, uint16_t num)
{
	struct virtq_chain *chain = virtq_chain_take(q);

	chain->id = q->packed.fetched[num - 1].packed.id;
	chain->desc_count = num;
	for (uint16_t i = 0; i < num; i++) {
		const struct virtq_desc *d = &q->packed.fetched[i];
		int bad = d->packed.flags & DESC_F_INDIRECT
				  ? read_indirect(q, chain, d)
				  : virtq_chain_add(q, chain, d->addr, d->len, d->packed.flags);

		if (bad) {
			virtq_chain_put(q, chain);
			return NULL;
		}
	}
	return chain;
}

static struct virtq_chain *pop_replay(struct virtq *q)
{
	const struct inflight_replay *r = &q->replay.replays[q->replay_next];
	const struct inflight_packed_entry *entries = q->replay.copy->entries;
	struct virtq_chain *chain;
	uint16_t at = r->entry;

	for (uint16_t i = 0; i < r->num; i++) {
		q->packed.fetched[i] = (struct virtq_desc){
			.addr = entries[at].addr,
			.len = entries[at].len,
			.packed = {.id = entries[at].id, .flags = entries[at].flags},
		};
		at = entries[at].next;
	}
	chain = build_chain(q, r->num);
	if (!chain)
		return NULL;
	q->packed.requests[chain->slot] =
		(struct packed_request){r->entry, entries[r->entry].last, r->num};
	q->replay_next++;
	chain->replayed = true;
	return chain;
}

/* Copies the request at the avail position into p->fetched. Its number of descriptors, 0: none. */
static uint16_t fetch(struct virtq *q)
{
	struct virtq_packed *p = &q->packed;
	struct inflight_position at = {p->avail_pos, p->avail_wrap};
	uint16_t room = q->cfg.size - p->desc_in_flight, num = 0;

	if (!desc_available(q, at))
		return 0;
	while (num < room) {
		struct virtq_desc *d = &p->fetched[num++];

		*d = load_desc(&p->desc[at.idx]);
		if (!(d->packed.flags & DESC_F_NEXT)) {
			if (d->packed.id < q->cfg.size && !q->busy[d->packed.id])
				return num;
			virtq_break(q,
				d->packed.id < q->cfg.size
					? "buffer id %u is available again while in flight"
					: "buffer id %u is beyond the ring",
				d->packed.id);
			return 0;
		}
		at = advance(q, at, 1);
	}
	virtq_break(q, "more descriptors are available than the ring of %u has", q->cfg.size);
	return 0;
}

/* Writes the request into the region. */
static void track(struct virtq *q, const struct virtq_chain *chain)
{
	struct virtq_packed *p = &q->packed;
	uint16_t head = p->free_head, at = head, last = head;

	for (uint16_t i = 0; i < chain->desc_count; i++) {
		const struct virtq_desc *d = &p->fetched[i];

		inflight_packed_copy(q->iq, at, d->packed.id, d->packed.flags, d->len, d->addr);
		last = at;
		at = p->next[at];
	}
	inflight_packed_mark(q->iq, head, last, chain->desc_count, at);
	p->free_head = at;
	p->requests[chain->slot] = (struct packed_request){head, last, chain->desc_count};
}

static struct virtq_chain *packed_pop(struct virtq *q)
{
	struct virtq_packed *p = &q->packed;
	struct virtq_chain *chain;
	uint16_t num;

	if (virtq_replays_wait(q))
		return pop_replay(q);
	num = fetch(q);
	if (!num)
		return NULL;
	chain = build_chain(q, num);
	if (!chain)
		return NULL;
	track(q, chain);
	q->busy[chain->id] = true;
	q->in_flight++;
	p->desc_in_flight += num;
	set_avail(q, advance(q, (struct inflight_position){p->avail_pos, p->avail_wrap}, num));
	return chain;
}

static void packed_push(struct virtq *q, struct virtq_chain *chain, uint32_t written)
{
	q->packed.staged[q->staged_count++] = (struct packed_staged){
		.request = q->packed.requests[chain->slot],
		.id = chain->id,
		.joined = chain->joined,
		.written = written,
	};
}

static void packed_give_back(struct virtq *q, const struct virtq_chain *chain)
{
	struct virtq_packed *p = &q->packed;
	const struct packed_request *r = &p->requests[chain->slot];

	inflight_packed_unmark(q->iq, r->entry, r->last, p->free_head);
	p->next[r->last] = p->free_head;
	p->free_head = r->entry;
	p->desc_in_flight -= r->num;
	set_avail(q, retreat(q, (struct inflight_position){p->avail_pos, p->avail_wrap}, r->num));
}

static void write_used(struct virtq *q, const struct packed_staged *s, struct inflight_position at)
{
	struct virtq_desc *d = &q->packed.desc[at.idx];
	uint16_t flags = at.wrap ? DESC_F_AVAIL | DESC_F_USED : 0;

	if (s->written)
		flags |= DESC_F_WRITE;
	shared_store32(&d->len, s->written);
	shared_store32((uint32_t *)(void *)&d->packed.id, s->id | (uint32_t)flags << 16);
	if (q->cfg.log_used)
		virtq_log_host(q, d, sizeof(*d));
}

/* Several become visible as one (inflight_packed.c). */
static void publish_group(struct virtq *q, const struct packed_staged *s, uint16_t count)
{
	struct virtq_packed *p = &q->packed;
	struct inflight_position old = used_position(q), used = old, at;

	for (uint16_t i = 0; i < count; i++) {
		const struct packed_request *r = &s[i].request;

		p->next[r->last] = i + 1 < count ? s[i + 1].request.entry : p->free_head;
		inflight_packed_link(q->iq, r->last, p->next[r->last]);
		used = advance(q, used, r->num);
	}
	inflight_packed_prepare(q->iq, s->request.entry, p->free_head, used, old);
	at = used;
	for (uint16_t i = count; i-- > 0;) {
		at = retreat(q, at, s[i].request.num);
		write_used(q, &s[i], at);
	}
	for (uint16_t i = 0; i < count; i++) {
		inflight_packed_clear(q->iq, s[i].request.entry);
		p->desc_in_flight -= s[i].request.num;
		q->busy[s[i].id] = false;
	}
	inflight_packed_settle(q->iq, s->request.entry, used);
	p->free_head = s->request.entry;
	set_used(q, used);
}

/* `count` descriptors were used up to the used position: does the driver want to hear? */
static bool packed_wants_call(const struct virtq *q, uint16_t count)
{
	const struct virtq_packed *p = &q->packed;
	uint32_t word = shared_load32(&p->driver->word);
	uint16_t off_wrap = (uint16_t)word, event = off_wrap & (uint16_t)~WRAP_BIT;
	unsigned int flags = word >> 16 & EVENT_MASK;

	if (flags != EVENT_DESC || !q->cfg.event_idx)
		return flags != EVENT_DISABLE;
	if (!!(off_wrap & WRAP_BIT) != p->used_wrap)
		event -= q->cfg.size; /* it lies in the lap before */
	return virtq_event_passed(event, p->used_pos, (uint16_t)(p->used_pos - count));
}

static uint16_t packed_publish(struct virtq *q)
{
	const struct packed_staged *staged = q->packed.staged;
	uint16_t count = 0, first = 0;

	for (uint16_t i = 0; i < q->staged_count; i++) {
		count += staged[i].request.num;
		if (staged[i].joined && i + 1 < q->staged_count)
			continue;
		publish_group(q, &staged[first], i + 1 - first);
		first = i + 1;
	}
	q->in_flight -= q->staged_count;
	q->staged_count = 0;
	return count;
}

static void store_event(struct virtq *q, uint16_t off_wrap, unsigned int flags)
{
	struct virtq_event *event = q->packed.device;

	shared_store32(&event->word, off_wrap | flags << 16);
	if (q->log && q->cfg.log_used)
		dirty_log_mark(q->log, q->cfg.log_gpa, sizeof(*event));
}

static void packed_kicks_off(struct virtq *q)
{
	store_event(q, 0, EVENT_DISABLE);
}

static void packed_kicks_on(struct virtq *q)
{
	const struct virtq_packed *p = &q->packed;

	if (q->cfg.event_idx)
		store_event(q, p->avail_pos | (p->avail_wrap ? WRAP_BIT : 0), EVENT_DESC);
	else
		store_event(q, 0, EVENT_ENABLE);
}

static bool packed_has_new(const struct virtq *q)
{
	const struct virtq_packed *p = &q->packed;

	return flags_available(shared_load16(&p->desc[p->avail_pos].packed.flags), p->avail_wrap);
}

static void packed_log_ring(struct virtq *q)
{
	if (!q->log || !q->cfg.log_used)
		return;
	virtq_log_host(q, q->packed.desc, q->cfg.size * sizeof(struct virtq_desc));
	dirty_log_mark(q->log, q->cfg.log_gpa, sizeof(struct virtq_event));
}

static uint32_t packed_base(const struct virtq *q)
{
	const struct virtq_packed *p = &q->packed;
	uint32_t avail = p->avail_pos | (p->avail_wrap ? WRAP_BIT : 0);
	uint32_t used = p->used_pos | (p->used_wrap ? WRAP_BIT : 0);

	return avail | used << 16;
}

const struct virtq_ops virtq_packed_ops = {
	.locate = packed_locate,
	.recover = packed_recover,
	.pop = packed_pop,
	.push = packed_push,
	.give_back = packed_give_back,
	.publish = packed_publish,
	.wants_call = packed_wants_call,
	.kicks_off = packed_kicks_off,
	.kicks_on = packed_kicks_on,
	.has_new = packed_has_new,
	.log_ring = packed_log_ring,
	.base = packed_base,
	.release = packed_release,
};
