/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must hold between the fields of an I/O state; of single ones: iostate_fields.c. */
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/migrate/iostate.h"

#define SECTOR 512u

static int bad(struct err *e, const char *words)
{
	return err_set(e, ERR_REFUSED, IOSTATE_VALUE, "%s", words);
}

static bool is_packed(const struct iostate_attachment *a)
{
	return a->features.acknowledged & IOSTATE_F_PACKED;
}

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

static int check_disk(const struct iostate_disk *d, struct err *e)
{
	if (!d->size_bytes || d->size_bytes % SECTOR)
		return bad(e, "the disk's size is no whole number of sectors");
	if (!is_power_of_two(d->block_size) || d->block_size < SECTOR ||
		!is_power_of_two(d->physical_block_size) || d->physical_block_size < d->block_size)
		return bad(e, "the disk's block sizes cannot be");
	if (d->queues > IOSTATE_MAX_RINGS)
		return bad(e, "a disk with too many queues");
	return 0;
}

static int check_device(const struct iostate_attachment *a, struct err *e)
{
	if (!a->disk.queues == !a->network.queues)
		return err_set(e, ERR_REFUSED, IOSTATE_SECTION,
			a->disk.queues ? "sections DISK (the disk) and NETW are both there"
				       : "section DISK (the disk) or NETW is missing");
	if (a->disk.queues)
		return check_disk(&a->disk, e);
	if (a->network.queues > IOSTATE_MAX_RINGS / 2)
		return bad(e, "a network device with too many queues");
	return 0;
}

uint32_t iostate_ring_limit(const struct iostate_attachment *a)
{
	return a->network.queues ? 2 * a->network.queues : a->disk.queues;
}

/* --- rings ------------------------------------------------------------------------------------ */

static int bad_ring(const struct iostate_ring *ring, struct err *e, const char *words)
{
	return err_set(e, ERR_REFUSED, IOSTATE_VALUE, "ring %u %s", ring->index, words);
}

static int check_unused_ring(const struct iostate_ring *ring, struct err *e)
{
	if (ring->avail || ring->used || ring->avail_wrap || ring->used_wrap)
		return bad_ring(ring, e, "has a position but no size");
	return 0;
}

static int check_position(const struct iostate_ring *ring, bool packed, struct err *e)
{
	if (!packed && (ring->avail_wrap || ring->used_wrap))
		return bad_ring(ring, e, "is split and has laps");
	if (!packed && !is_power_of_two(ring->size))
		return bad_ring(ring, e, "is split and its size is no power of two");
	if (packed && (ring->avail >= ring->size || ring->used >= ring->size))
		return bad_ring(ring, e, "stands beyond its end");
	return 0;
}

/* Taken and not given back: requests of a split ring, descriptors of a packed one. */
static unsigned int ring_ahead(const struct iostate_ring *ring, bool packed)
{
	unsigned int lap = packed ? ring->size : 0;

	if (!packed)
		return (uint16_t)(ring->avail - ring->used);
	return ring->avail_wrap == ring->used_wrap ? (unsigned int)ring->avail - ring->used
						   : lap + ring->avail - ring->used;
}

static int check_ring(const struct iostate_attachment *a, uint32_t i, struct err *e)
{
	const struct iostate_ring *ring = &a->rings[i];

	if (ring->index >= iostate_ring_limit(a))
		return bad_ring(ring, e, "is beyond the device's queues");
	if (i && ring->index <= ring[-1].index)
		return bad_ring(ring, e, "is there twice, or out of order");
	if (ring->size > IOSTATE_MAX_RING_SIZE)
		return bad_ring(ring, e, "is too large");
	if (!ring->size)
		return check_unused_ring(ring, e);
	return check_position(ring, is_packed(a), e);
}

/* --- requests --------------------------------------------------------------------------------- */

/* Goes through the requests, which must be in the order of their rings. */
struct walk {
	const struct iostate_attachment *a;
	uint32_t request, desc; /* the next ones */
	bool *heads;            /* of this ring: seen */
};

static int check_descs(struct walk *w, const struct iostate_ring *ring,
	const struct iostate_request *rq, struct err *e)
{
	if (!is_packed(w->a))
		return rq->descs ? bad_ring(ring, e, "is split, and a request has descriptors") : 0;
	if (!rq->descs || rq->descs > w->a->desc_count - w->desc)
		return bad_ring(ring, e, "has a request without its descriptors");
	w->desc += rq->descs;
	if (w->a->descs[w->desc - 1].id != rq->head)
		return bad_ring(ring, e, "has a request whose descriptors are another's");
	return 0;
}

static int check_request(struct walk *w, const struct iostate_ring *ring, bool first,
	const struct iostate_request *rq, struct err *e)
{
	if (rq->head >= ring->size)
		return bad_ring(ring, e, "has a request from beyond its end");
	if (w->heads[rq->head])
		return bad_ring(ring, e, "has one request twice");
	w->heads[rq->head] = true;
	if (!first && rq->counter <= rq[-1].counter)
		return bad_ring(ring, e, "has requests out of order");
	if (rq->counter == UINT64_MAX)
		return bad_ring(ring, e, "has counted its requests to the end");
	return check_descs(w, ring, rq, e);
}

static int check_requests_of(struct walk *w, const struct iostate_ring *ring, struct err *e)
{
	const struct iostate_attachment *a = w->a;
	uint32_t first = w->request, first_desc = w->desc;
	unsigned int taken;

	memset(w->heads, 0, IOSTATE_MAX_RING_SIZE * sizeof(w->heads[0]));
	for (; w->request < a->request_count; w->request++) {
		const struct iostate_request *rq = &a->requests[w->request];

		if (rq->ring != ring->index)
			break;
		if (check_request(w, ring, w->request == first, rq, e) < 0)
			return -1;
	}
	taken = is_packed(a) ? w->desc - first_desc : w->request - first;
	if (taken > ring->size || taken != ring_ahead(ring, is_packed(a)))
		return bad_ring(ring, e, "stands elsewhere than its requests in flight say");
	return 0;
}

static int check_rings(const struct iostate_attachment *a, struct err *e)
{
	auto_free bool *heads = calloc(IOSTATE_MAX_RING_SIZE, sizeof(*heads));
	struct walk w = {.a = a, .heads = heads};

	if (!heads)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for an I/O state");
	for (uint32_t i = 0; i < a->ring_count; i++)
		if (check_ring(a, i, e) < 0 || check_requests_of(&w, &a->rings[i], e) < 0)
			return -1;
	if (w.request != a->request_count)
		return bad(e, "a request is of no ring, or out of order");
	if (w.desc != a->desc_count)
		return bad(e, "a descriptor is of no request");
	return 0;
}

/* --- attachments ------------------------------------------------------------------------------ */

static int check_policy(const struct iostate_policy *p, struct err *e)
{
	for (uint32_t i = 1; i < IOSTATE_MAX_SPARES; i++)
		if (p->spares[i][0] && !p->spares[i - 1][0])
			return bad(e, "a spare comes after none");
	if (p->spares[0][0] && p->on_error != IOSTATE_ON_ERROR_HOLD)
		return bad(e, "there is a spare, and nothing is held for it");
	if (p->fence[0] && p->fence[0] != '/')
		return bad(e, "the fence is no path of a program");
	if (p->io_timeout_ms > IOSTATE_MAX_IO_TIMEOUT)
		return bad(e, "the timeout of requests is longer than a day");
	return 0;
}

static int check_attachment(const struct iostate *s, uint32_t i, struct err *e)
{
	const struct iostate_attachment *a = &s->attachments[i];

	if (!name_is_valid(a->identity.name))
		return bad(e, "an attachment's name cannot be");
	for (uint32_t n = 0; n < i; n++)
		if (strcmp(s->attachments[n].identity.name, a->identity.name) == 0)
			return err_set(e, ERR_REFUSED, IOSTATE_VALUE, "%s is there twice",
				a->identity.name);
	if (a->features.acknowledged & ~a->features.offered)
		return bad(e, "features were acknowledged that were not offered");
	if (check_device(a, e) < 0 || check_policy(&a->policy, e) < 0 || check_rings(a, e) < 0)
		return err_wrap(e, "%s", a->identity.name);
	return 0;
}

int iostate_check(const struct iostate *s, struct err *e)
{
	if (!name_is_valid(s->origin.vm))
		return bad(e, "the name of the VM cannot be");
	if (!s->attachment_count)
		return bad(e, "there is no attachment");
	for (uint32_t i = 0; i < s->attachment_count; i++)
		if (check_attachment(s, i, e) < 0)
			return -1;
	return 0;
}
