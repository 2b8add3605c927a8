/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rings that are filled (backend.h), and when the guest is asked for kicks.
 *
 * Buffers that the driver made available stay in the ring until something came for them, so nothing
 * of such a ring is in flight between two rounds: it may stop, drain, or go elsewhere at any time. A
 * kick says that there are more buffers, which is of interest only while something waits for them.
 */
#include "lib/backends/vu_session_priv.h"

bool vu_ring_is_filled(const struct vu_ring *r)
{
	struct backend *b = r->s->backend;

	return b->ops->fills && b->ops->fills(b, r->index);
}

struct virtq_chain *vu_rings_take(struct backend_host *host, unsigned int ring)
{
	struct vu_session *s = container_of(host, struct vu_session, host);
	struct vu_ring *r = &s->rings[ring];
	struct virtq_chain *chain = vu_ring_may_fetch(r) ? virtq_pop(r->q) : NULL;

	if (!chain)
		return NULL;
	r->in_flight++;
	s->in_flight++;
	return chain;
}

static void let_taken_go(struct vu_ring *r)
{
	assert(r->in_flight && r->s->in_flight);
	r->in_flight--;
	r->s->in_flight--;
}

void vu_rings_give_back(struct backend_host *host, unsigned int ring, struct virtq_chain *chain)
{
	struct vu_session *s = container_of(host, struct vu_session, host);

	let_taken_go(&s->rings[ring]);
	virtq_give_back(s->rings[ring].q, chain);
}

void vu_rings_filled(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, uint32_t written)
{
	struct vu_session *s = container_of(host, struct vu_session, host);
	struct vu_ring *r = &s->rings[ring];

	let_taken_go(r);
	s->page->requests_completed++;
	virtq_push(r->q, chain, written);
	r->staged++;
}

uint16_t vu_rings_size(struct backend_host *host, unsigned int ring)
{
	return (uint16_t)container_of(host, struct vu_session, host)->page->rings[ring].num;
}

/*
 * Asks to be kicked for the request behind the `known` ones that are there: a driver does not kick
 * for what it had made available before it was asked.
 */
static bool arm_behind(struct vu_ring *r, unsigned int known)
{
	struct backend_host *host = &r->s->host;
	struct virtq_chain *taken[VIRTQ_MAX_SIZE];
	unsigned int count = 0;
	bool work;

	while (count < known && (taken[count] = vu_rings_take(host, r->index)))
		count++;
	work = virtq_kicks_on(r->q);
	while (count)
		vu_rings_give_back(host, r->index, taken[--count]);
	return work;
}

static bool arm_ring(struct vu_ring *r)
{
	struct backend *b = r->s->backend;
	int known;

	if (!vu_ring_may_fetch(r))
		return false;
	if (!vu_ring_is_filled(r))
		return virtq_kicks_on(r->q);
	known = b->ops->starved(b, r->index);
	return known >= 0 && arm_behind(r, (unsigned int)known);
}

bool vu_rings_arm(struct vu_session *s)
{
	bool work = false;

	if (!s->backend->ops->has_room(s->backend))
		return false; /* a completion will wake us */
	for (unsigned int i = 0; i < s->ring_count; i++)
		work |= arm_ring(&s->rings[i]);
	return work;
}

void vu_rings_disarm(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->ring_count; i++)
		if (s->rings[i].q && vu_ring_may_fetch(&s->rings[i]))
			virtq_kicks_off(s->rings[i].q);
}
