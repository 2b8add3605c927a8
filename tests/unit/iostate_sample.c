/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/iostate_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crc32c.h"
#include "lib/migrate/iostate_fields.h"

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static uint32_t below(uint64_t *seed, uint32_t n)
{
	return *seed ? (uint32_t)(next(seed) % n) : 0;
}

/* The request that takes place `nth` and, in a packed ring, up to `most` places; how many it took. */
static uint16_t fill_request(struct iostate_attachment *a, const struct iostate_ring *ring,
	uint32_t nth, uint32_t most, uint64_t *seed)
{
	struct iostate_request *rq = &a->requests[a->request_count++];
	bool packed = a->features.acknowledged & IOSTATE_F_PACKED;

	*rq = (struct iostate_request){
		.ring = ring->index,
		.head = (uint16_t)(ring->size - 1 - nth),
		.descs = packed ? (uint16_t)(1 + below(seed, MIN(most, 3))) : 0,
		.type = below(seed, IOSTATE_REQUEST_TYPES),
		.counter = (nth ? rq[-1].counter + 1 : 0) + below(seed, 3),
		.sector = next(seed),
		.bytes = next(seed),
	};
	for (uint16_t i = 0; i < rq->descs; i++)
		a->descs[a->desc_count++] = (struct iostate_desc){
			.addr = next(seed), .len = below(seed, 1u << 31), .id = rq->head};
	return packed ? rq->descs : 1;
}

/* The position that has as many requests in flight as there are. */
static void place_ring(struct iostate_ring *ring, bool packed, uint32_t ahead, uint64_t *seed)
{
	uint32_t avail;

	assert(ring->size);
	ring->used = (uint16_t)below(seed, packed ? ring->size : 65536);
	avail = ring->used + ahead;
	if (packed) {
		ring->used_wrap = below(seed, 2);
		ring->avail_wrap = ring->used_wrap != (avail >= ring->size);
		avail %= ring->size;
	}
	ring->avail = (uint16_t)avail;
}

static void fill_ring(struct iostate_attachment *a, uint16_t index, uint64_t *seed)
{
	struct iostate_ring *ring = &a->rings[a->ring_count++];
	bool packed = a->features.acknowledged & IOSTATE_F_PACKED;
	uint32_t ahead;

	ring->index = index;
	ring->enabled = below(seed, 2);
	if (*seed && !below(seed, 4))
		return; /* not set up */
	ring->size = (uint16_t)(*seed ? 1u << below(seed, 7) : 64);
	ahead = below(seed, ring->size + 1u);
	place_ring(ring, packed, ahead, seed);
	for (uint32_t i = 0; i < ahead;)
		i += fill_request(a, ring, i, ahead - i, seed);
}

static void fill_rescue(struct iostate_policy *p, uint64_t *seed)
{
	uint32_t spares = below(seed, IOSTATE_MAX_SPARES + 1);

	p->io_timeout_ms = below(seed, IOSTATE_MAX_IO_TIMEOUT + 1);
	for (uint32_t i = 0; p->on_error == IOSTATE_ON_ERROR_HOLD && i < spares; i++)
		snprintf(p->spares[i], sizeof(p->spares[i]), "/srv/spare%u.img", i);
	if (below(seed, 2))
		snprintf(p->fence, sizeof(p->fence), "/usr/sbin/fence disk %u", spares);
}

static void fill_disk(struct iostate_disk *d, uint64_t *seed)
{
	*d = (struct iostate_disk){.size_bytes = 512u * (1u + below(seed, 1u << 20)),
		.block_size = 512u << below(seed, 4),
		.physical_block_size = 4096,
		.queues = 1 + below(seed, 4),
		.readonly = below(seed, 2),
		.write_cache = true};
}

static void fill_network(struct iostate_network *n, uint64_t *seed)
{
	n->queues = 1 + below(seed, 4);
	n->mtu = 1500 + below(seed, 2) * 7500;
	snprintf(n->settings, sizeof(n->settings), "mac=52:54:00:00:00:%02x", below(seed, 256));
}

static void fill_attachment(struct iostate_attachment *a, uint32_t n, uint64_t *seed)
{
	struct iostate_identity *id = &a->identity;

	snprintf(id->name, sizeof(id->name), "disk%u", n);
	snprintf(id->id, sizeof(id->id), "a%u", n + 1);
	snprintf(id->device, sizeof(id->device), "/srv/disk%u.img", n);
	snprintf(id->node, sizeof(id->node), "/srv/disk%u.img", n);
	snprintf(id->fingerprint, sizeof(id->fingerprint), "%016x", below(seed, 1u << 31));
	if (below(seed, 3) == 1)
		fill_network(&a->network, seed);
	else
		fill_disk(&a->disk, seed);
	a->features.acknowledged = 1ull << 32 | (below(seed, 2) ? IOSTATE_F_PACKED : 0);
	a->features.offered = a->features.acknowledged | 1ull << 30;
	a->features.protocol = below(seed, 1u << 16);
	a->policy.cache = below(seed, IOSTATE_CACHES);
	a->policy.on_error = below(seed, IOSTATE_ON_ERRORS);
	snprintf(a->policy.owner, sizeof(a->policy.owner), "root");
	fill_rescue(&a->policy, seed);
	a->rings = calloc(iostate_ring_limit(a), sizeof(*a->rings));
	a->requests = calloc(iostate_ring_limit(a) * 64, sizeof(*a->requests));
	a->descs = calloc(iostate_ring_limit(a) * 64, sizeof(*a->descs));
	for (uint32_t i = 0; i < iostate_ring_limit(a); i++)
		fill_ring(a, (uint16_t)i, seed);
}

struct iostate *iostate_sample(uint64_t seed)
{
	struct iostate *s = iostate_new(NULL);
	uint32_t count = 1 + below(&seed, 4);

	snprintf(s->origin.vm, sizeof(s->origin.vm), "web1");
	snprintf(s->origin.host, sizeof(s->origin.host), "host%u", below(&seed, 100));
	snprintf(s->origin.program, sizeof(s->origin.program), "iovd 0.1");
	s->origin.saved_ms = seed;
	for (uint32_t i = 0; i < count; i++)
		fill_attachment(iostate_add(s, NULL), i, &seed);
	return s;
}

void iostate_mend(uint8_t *data, size_t len)
{
	uint32_t sections = 0;
	size_t at = 40;

	if (len < 40)
		return;
	while (len - at >= 16) {
		uint64_t content = iostate_get_le(data + at + 8, 4);

		if (content > len - at - 16)
			break;
		iostate_put_le(data + at + 12, 4,
			crc32c(crc32c(0, data + at, 12), data + at + 16, content));
		sections++;
		at += 16 + MIN(ALIGN_UP(content, 8), len - at - 16);
	}
	iostate_put_le(data + 16, 8, len);
	iostate_put_le(data + 24, 4, sections);
	iostate_put_le(data + 28, 4, crc32c(0, data + 40, len - 40));
	iostate_put_le(data + 36, 4, crc32c(0, data, 36));
}
