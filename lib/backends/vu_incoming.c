/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session that goes on where another host's session stopped.
 *
 * Theory of operation. Before the first worker, the daemon wrote into the page what the driver had
 * acknowledged, the configuration space as it read it, and size and base of each ring; and into
 * VAULT_INCOMING the requests in flight. The VMM brings the guest's memory and its own word on
 * where the rings stand. So:
 *
 *	at birth	features and configuration are held against ours; what the driver has set in the
 *			configuration (write cache) becomes ours, once
 *	a region is	what is in flight is marked in it for each ring that has not arrived, as if a
 *	used		predecessor had left it: when the VMM brings the region, or we make one, and
 *			when we find one that it brought before we knew (to an idle predecessor)
 *	a ring starts	features and base must be those that were recorded: else this is another VM, or
 *			its memory of another moment, and to go on would lose or repeat requests. Then
 *			virtq_start() recovers from the region, and replays come before all that is new
 *	it has started	it has arrived: from now on it is a ring like any other
 *	all have	the session is no longer incoming
 *
 *	killed ...			the successor ...
 *	before a ring's `started`	handles the message again, with the same region
 *	after it			takes the ring over from the region, and notes that it has arrived
 *	after the last `arrived`	sees that all have, and clears `valid`
 *
 * The region that carries the marks is either the VMM's (which has it, and gives it back when it
 * connects again), or ours, which is made anew for each connection. When the VMM goes before all
 * rings have arrived, the list is still there, and the next region gets the marks again: the next
 * VMM begins from the same memory, too. A ring that has not arrived has done nothing, so that marking
 * it once more changes nothing.
 *
 * A VMM may be early: the machine runs already, and the other host has not said yet what is in flight.
 * Until then the worker is idle behind a shut gate, and rings that were started have fetched nothing;
 * where requests are in flight they count as not arrived, and arrive with the successor.
 */
#include "lib/backends/vu_session_priv.h"

#include <string.h>

#include "lib/backends/taken.h"
#include "lib/cleanup.h"

/* Bits that a VMM sets and takes away as it needs them. */
#define NOT_THE_DRIVERS (VHOST_F_LOG_ALL | VU_F_PROTOCOL_FEATURES)

static struct page_incoming *incoming(struct vu_session *s)
{
	return &s->page->incoming;
}

void vu_note_config(struct vu_session *s)
{
	s->page->offered = vu_offered_features(s);
	s->backend->ops->config_read(s->backend, 0, sizeof(s->page->config), s->page->config);
}

int vu_incoming_begin(struct vu_session *s, struct err *e)
{
	struct page_incoming *in = incoming(s);
	uint64_t missing = in->features & ~vu_offered_features(s);

	if (in->valid && !in->adopted) {
		if (missing)
			return err_set(e, ERR_REFUSED, "VU-INCOMING",
				"the driver has acknowledged features 0x%llx, which are not "
				"offered here",
				(unsigned long long)missing);
		if (s->backend->ops->adopt(s->backend, in->config, e) < 0)
			return -1;
		page_commit(in->adopted, 1);
	}
	vu_note_config(s);
	return 0;
}

/* --- regions ---------------------------------------------------------------------------------- */

static int check_region(struct vu_session *s, const struct taken *t,
	const struct page_inflight *facts, struct err *e)
{
	if (facts->packed != !!(incoming(s)->features & VIRTIO_F_RING_PACKED))
		return err_set(e, ERR_REFUSED, "VU-INCOMING",
			"the VMM's rings are of another kind than those that were saved");
	for (uint32_t i = 0; i < t->request_count; i++)
		if (t->requests[i].ring >= facts->queues)
			return err_set(e, ERR_REFUSED, "VU-INCOMING",
				"a request is in flight in ring %u, and the VMM has %u",
				t->requests[i].ring, facts->queues);
	return 0;
}

/* What the region said of it was said before anybody knew. */
static int mark_ring(struct vu_session *s, const struct taken *t, const struct taken_region *region,
	uint16_t index, struct err *e)
{
	uint64_t from = inflight_region_size(index, region->queue_size, region->packed);
	uint64_t to = inflight_region_size(index + 1, region->queue_size, region->packed);
	size_t len;
	char *bytes = inflight_base(s->inflight, &len);

	assert(to <= len);
	memset(bytes + from, 0, to - from);
	return taken_mark(t, region, bytes, index, incoming(s)->rings[index].base, e);
}

int vu_incoming_mark(struct vu_session *s, const struct page_inflight *facts, struct err *e)
{
	const struct taken_region region = {
		.queues = facts->queues,
		.queue_size = facts->queue_size,
		.packed = facts->packed,
	};
	int list = vault_fd(s->vault, VAULT_INCOMING);
	auto_taken struct taken t = {0};

	if (!incoming(s)->valid || list < 0)
		return 0;
	if (taken_from_fd(&t, list, e) < 0 || check_region(s, &t, facts, e) < 0)
		return -1;
	for (unsigned int i = 0; i < MIN(facts->queues, s->ring_count); i++)
		if (vu_incoming_waits_for(s, i) && mark_ring(s, &t, &region, (uint16_t)i, e) < 0)
			return -1;
	return 0;
}

/* --- rings ------------------------------------------------------------------------------------ */

bool vu_incoming_waits_for(struct vu_session *s, unsigned int index)
{
	const struct page_incoming_ring *ring = &incoming(s)->rings[index];

	return incoming(s)->valid && ring->size && !ring->arrived;
}

int vu_incoming_check(struct vu_session *s, unsigned int index, struct err *e)
{
	const struct page_incoming *in = incoming(s);
	const struct page_ring *ring = &s->page->rings[index];
	uint64_t other = (s->page->features ^ in->features) & ~NOT_THE_DRIVERS;

	if (!vu_incoming_waits_for(s, index))
		return 0;
	if (other)
		return err_set(e, ERR_REFUSED, "VU-INCOMING",
			"features 0x%llx are not as they were saved: this is another VM",
			(unsigned long long)other);
	if (ring->num == in->rings[index].size && ring->base == in->rings[index].base)
		return 0;
	return err_set(e, ERR_REFUSED, "VU-INCOMING",
		"ring %u begins at 0x%x of %u, and was saved at 0x%x of %u: this is another VM, or "
		"its "
		"memory of another moment",
		index, ring->base, ring->num, in->rings[index].base, in->rings[index].size);
}

void vu_incoming_arrived(struct vu_session *s, unsigned int index)
{
	struct page_incoming *in = incoming(s);

	if (!in->valid)
		return;
	page_commit(in->rings[index].arrived, 1);
	for (unsigned int i = 0; i < s->ring_count; i++)
		if (vu_incoming_waits_for(s, i))
			return;
	page_commit(in->valid, 0);
	vault_drop(s->vault, VAULT_INCOMING);
	vu_changed(s);
}
