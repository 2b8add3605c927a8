/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueue (virtio 1.2, 2.7).
 *
 * Theory of operation
 *
 *	desc[size]                                  the driver writes
 *	avail: flags, idx, ring[size], used_event   the driver writes
 *	used:  flags, idx, ring[size], avail_event  we write
 *
 * The driver links descriptors into a chain, puts the chain's head into avail.ring[idx % size] and
 * increments avail.idx, which runs freely; we do the same with used. `avail_pos` is how far we have
 * fetched. The guest's index is read once per batch (`avail_seen`) and may be ahead of us by at
 * most `size`, or the ring is broken.
 *
 * Notifications. With EVENT_IDX each side names the index at which it wants to hear: used_event
 * (call us when used.idx passes it) and avail_event (kick when avail.idx passes it). Without, a
 * flag says "not now". "kicks off" costs nothing with EVENT_IDX: an avail_event that stays behind
 * asks for nothing until 2^16 later. Both sides store, fence, then load the other's word, so that
 * one of the two always sees the other.
 *
 * Order of stores with the in-flight region: inflight.c. A ring whose user completes in order may
 * take back its last fetch: what is marked is still the first after the completed ones.
 */
#include "lib/backends/virtq_priv.h"

#include <errno.h>
#include <stdlib.h>

#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY     1u

struct virtq_avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[]; /* size, then used_event */
};

struct used_elem {
	uint32_t id;
	uint32_t len;
};

struct virtq_used {
	uint16_t flags;
	uint16_t idx;
	struct used_elem ring[]; /* size, then avail_event */
};

static uint64_t used_size(const struct virtq *q)
{
	return sizeof(struct virtq_used) + q->cfg.size * sizeof(struct used_elem) +
	       sizeof(uint16_t);
}

static uint16_t *used_event(const struct virtq *q)
{
	return &q->split.avail->ring[q->cfg.size];
}

static uint16_t *avail_event(const struct virtq *q)
{
	return (uint16_t *)&q->split.used->ring[q->cfg.size];
}

static int split_locate(struct virtq *q, struct err *e)
{
	const struct virtq_config *cfg = &q->cfg;
	struct virtq_split *s = &q->split;

	if (cfg->desc_uva % 16 || cfg->avail_uva % 2 || cfg->used_uva % 4)
		return err_set(e, ERR_FAILED, "VIRTQ-ADDR", "its addresses are not aligned");
	s->desc = guest_mem_uva(q->mem, cfg->desc_uva, cfg->size * sizeof(struct virtq_desc));
	if (!s->desc)
		return err_set(
			e, ERR_FAILED, "VIRTQ-ADDR", "descriptor table is outside guest memory");
	s->avail = guest_mem_uva(q->mem, cfg->avail_uva,
		sizeof(struct virtq_avail) + (cfg->size + 1) * sizeof(uint16_t));
	if (!s->avail)
		return err_set(e, ERR_FAILED, "VIRTQ-ADDR", "avail ring is outside guest memory");
	s->used = guest_mem_uva(q->mem, cfg->used_uva, used_size(q));
	if (!s->used)
		return err_set(e, ERR_FAILED, "VIRTQ-ADDR", "used ring is outside guest memory");
	return 0;
}

/* As though each were given back, the last one first. */
static void forget_replays(struct virtq *q)
{
	q->split.avail_pos -= q->replay.count;
	while (q->replay.count)
		inflight_split_clear(q->iq, q->replay.replays[--q->replay.count].entry);
}

static int split_recover(struct virtq *q, struct err *e)
{
	struct virtq_split *s = &q->split;

	s->staged = calloc(q->cfg.size, sizeof(s->staged[0]));
	if (!s->staged)
		return err_sys(e, ENOMEM, "cannot allocate");
	s->used_pos = shared_load16(&s->used->idx);
	if (inflight_split_recover(q->iq, q->cfg.size, s->used_pos, &q->replay, e) < 0)
		return -1;
	/* A predecessor was here: it went as far as what it completed, plus what it did not. */
	if (q->replay.count || (q->cfg.takeover && !q->replay.fresh))
		s->avail_pos = s->used_pos + q->replay.count;
	else
		s->avail_pos = (uint16_t)q->cfg.base;
	if (q->cfg.refetch)
		forget_replays(q);
	for (uint16_t i = 0; i < q->replay.count; i++)
		q->busy[q->replay.replays[i].entry] = true;
	s->avail_seen = s->avail_pos;
	return 0;
}

static void split_release(struct virtq *q)
{
	free(q->split.staged);
}

static struct virtq_desc load_desc(const struct virtq_desc *d)
{
	const uint64_t *words = (const uint64_t *)d;
	uint64_t rest = shared_load64(&words[1]);

	return (struct virtq_desc){
		.addr = shared_load64(&words[0]),
		.len = (uint32_t)rest,
		.split = {.flags = (uint16_t)(rest >> 32), .next = (uint16_t)(rest >> 48)},
	};
}

/* Entries of q->table, from 0 on. The copy has `count` of them, so a loop ends at the latest then.
 */
static int read_table(struct virtq *q, struct virtq_chain *chain, unsigned int count)
{
	unsigned int at = 0;

	for (unsigned int steps = 0; steps < count; steps++) {
		const struct virtq_desc *d = &q->table[at];

		if (d->split.flags & DESC_F_INDIRECT)
			return virtq_break(q, "an indirect table within an indirect table");
		if (virtq_chain_add(q, chain, d->addr, d->len, d->split.flags) < 0)
			return -1;
		if (!(d->split.flags & DESC_F_NEXT))
			return 0;
		at = d->split.next;
		if (at >= count)
			return virtq_break(q, "entry %u in an indirect table of %u", at, count);
	}
	return virtq_break(q, "a loop in an indirect table of %u", count);
}

static int read_indirect(struct virtq *q, struct virtq_chain *chain, const struct virtq_desc *d)
{
	int count;

	if (d->split.flags & DESC_F_NEXT)
		return virtq_break(q, "a descriptor that is indirect and has a next");
	count = virtq_copy_table(q, d->addr, d->len);
	return count < 0 ? -1 : read_table(q, chain, (unsigned int)count);
}

static int read_chain(struct virtq *q, struct virtq_chain *chain, uint16_t head)
{
	uint16_t at = head;

	for (chain->desc_count = 1; chain->desc_count <= q->cfg.size; chain->desc_count++) {
		struct virtq_desc d = load_desc(&q->split.desc[at]);

		if (d.split.flags & DESC_F_INDIRECT)
			return read_indirect(q, chain, &d);
		if (virtq_chain_add(q, chain, d.addr, d.len, d.split.flags) < 0)
			return -1;
		if (!(d.split.flags & DESC_F_NEXT))
			return 0;
		at = d.split.next;
		if (at >= q->cfg.size)
			return virtq_break(q, "descriptor %u in a ring of %u", at, q->cfg.size);
	}
	return virtq_break(q, "a loop in the chain from descriptor %u", head);
}

/* The next head of the avail ring. False: there is none, or the ring is broken. */
static bool next_head(struct virtq *q, uint16_t *head)
{
	struct virtq_split *s = &q->split;

	if (s->avail_seen == s->avail_pos) {
		uint16_t idx = shared_load16(&s->avail->idx);

		if ((uint16_t)(idx - s->avail_pos) > q->cfg.size) {
			virtq_break(q, "avail index %u is %u ahead in a ring of %u", idx,
				(uint16_t)(idx - s->avail_pos), q->cfg.size);
			return false;
		}
		s->avail_seen = idx;
		if (idx == s->avail_pos)
			return false;
	}
	*head = shared_load16(&s->avail->ring[s->avail_pos & (q->cfg.size - 1)]);
	if (*head >= q->cfg.size)
		virtq_break(q, "head %u in a ring of %u", *head, q->cfg.size);
	else if (q->busy[*head])
		virtq_break(q, "head %u is available again while in flight", *head);
	return !q->broken[0];
}

static struct virtq_chain *take_chain(struct virtq *q, uint16_t head)
{
	struct virtq_chain *chain = virtq_chain_take(q);

	chain->id = head;
	if (read_chain(q, chain, head) == 0)
		return chain;
	virtq_chain_put(q, chain);
	return NULL;
}

static struct virtq_chain *pop_replay(struct virtq *q)
{
	struct virtq_chain *chain = take_chain(q, q->replay.replays[q->replay_next].entry);

	if (!chain)
		return NULL;
	q->replay_next++;
	chain->replayed = true;
	return chain;
}

static struct virtq_chain *split_pop(struct virtq *q)
{
	struct virtq_chain *chain;
	uint16_t head;

	if (virtq_replays_wait(q))
		return pop_replay(q);
	if (!next_head(q, &head))
		return NULL;
	chain = take_chain(q, head);
	if (!chain)
		return NULL;
	inflight_split_mark(q->iq, head);
	q->busy[head] = true;
	q->in_flight++;
	q->split.avail_pos++;
	return chain;
}

/* Marks [first, first+len) of the used ring. */
static void log_used(struct virtq *q, const void *first, uint64_t len)
{
	if (q->log && q->cfg.log_used)
		dirty_log_mark(q->log,
			q->cfg.log_gpa + (uint64_t)((const char *)first - (char *)q->split.used),
			len);
}

static void split_push(struct virtq *q, struct virtq_chain *chain, uint32_t written)
{
	struct virtq_split *s = &q->split;
	uint16_t at = (uint16_t)(s->used_pos + q->staged_count) & (q->cfg.size - 1);
	struct used_elem *elem = &s->used->ring[at];

	inflight_split_stage(q->iq, chain->id);
	shared_store32(&elem->id, chain->id);
	shared_store32(&elem->len, written);
	log_used(q, elem, sizeof(*elem));
	s->staged[q->staged_count++] = chain->id;
}

static void split_give_back(struct virtq *q, const struct virtq_chain *chain)
{
	inflight_split_clear(q->iq, chain->id);
	q->split.avail_pos--;
}

static bool split_wants_call(const struct virtq *q, uint16_t count)
{
	const struct virtq_split *s = &q->split;
	uint16_t old = (uint16_t)(s->used_pos - count);

	if (q->cfg.event_idx)
		return virtq_event_passed(shared_load16(used_event(q)), s->used_pos, old);
	return !(shared_load16(&s->avail->flags) & AVAIL_F_NO_INTERRUPT);
}

static uint16_t split_publish(struct virtq *q)
{
	struct virtq_split *s = &q->split;
	uint16_t count = q->staged_count;

	s->used_pos += count;
	shared_store16(&s->used->idx, s->used_pos);
	for (uint16_t i = 0; i < count; i++) {
		inflight_split_clear(q->iq, s->staged[i]);
		q->busy[s->staged[i]] = false;
	}
	inflight_split_settle(q->iq, s->used_pos);
	log_used(q, &s->used->idx, sizeof(s->used->idx));
	q->in_flight -= count;
	q->staged_count = 0;
	return count;
}

static void split_kicks_off(struct virtq *q)
{
	if (q->cfg.event_idx)
		return;
	shared_store16(&q->split.used->flags, USED_F_NO_NOTIFY);
	log_used(q, &q->split.used->flags, sizeof(q->split.used->flags));
}

static void split_kicks_on(struct virtq *q)
{
	if (q->cfg.event_idx) {
		shared_store16(avail_event(q), q->split.avail_pos);
		log_used(q, avail_event(q), sizeof(uint16_t));
	} else {
		shared_store16(&q->split.used->flags, 0);
		log_used(q, &q->split.used->flags, sizeof(q->split.used->flags));
	}
}

static bool split_has_new(const struct virtq *q)
{
	return shared_load16(&q->split.avail->idx) != q->split.avail_pos;
}

static void split_log_ring(struct virtq *q)
{
	log_used(q, q->split.used, used_size(q));
}

static uint32_t split_base(const struct virtq *q)
{
	return q->split.avail_pos;
}

const struct virtq_ops virtq_split_ops = {
	.locate = split_locate,
	.recover = split_recover,
	.pop = split_pop,
	.push = split_push,
	.give_back = split_give_back,
	.publish = split_publish,
	.wants_call = split_wants_call,
	.kicks_off = split_kicks_off,
	.kicks_on = split_kicks_on,
	.has_new = split_has_new,
	.log_ring = split_log_ring,
	.base = split_base,
	.release = split_release,
};
