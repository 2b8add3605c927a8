/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/backends/session_facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/backends/session_page_layout.h"
#include "lib/backends/virtq.h"
#include "lib/cleanup.h"

static_assert(SESSION_RINGS_MAX == VU_MAX_QUEUES, "as in the page");
static_assert(SESSION_CONFIG_BYTES == VU_CONFIG_MAX, "as in the page");

/* The page is a worker's word: sizes that the worker could not have accepted are none. */
static struct session_ring ring_of(const struct page_ring *ring)
{
	return (struct session_ring){
		.size = ring->num <= VIRTQ_MAX_SIZE ? (uint16_t)ring->num : 0,
		.base = ring->base,
		.enabled = ring->enabled == 1,
		.started = ring->started == 1,
	};
}

static void read_region(const struct page_inflight *p, struct session_facts *facts)
{
	facts->has_region = p->valid == 1 && p->queues && p->queues <= VU_MAX_QUEUES &&
			    p->queue_size && p->queue_size <= 32768;
	facts->region = (struct taken_region){
		.size = p->size,
		.offset = p->offset,
		.queues = p->queues,
		.queue_size = p->queue_size,
		.packed = p->packed == 1,
	};
}

enum session_memory session_find_memory(int fd, uint64_t gpa)
{
	auto_free struct session_page *page = malloc(sizeof(*page));
	enum session_memory found = SESSION_MEMORY_UNKNOWN;

	if (!page || session_page_read(fd, page, NULL) < 0)
		return found;
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++) {
		const struct page_region *r = &page->regions[i];

		if (r->epoch != page->mem_epoch)
			continue;
		if (gpa >= r->desc.gpa && gpa - r->desc.gpa < r->desc.size)
			return SESSION_MEMORY_THERE;
		found = SESSION_MEMORY_NONE;
	}
	return found;
}

int session_facts_read(int fd, struct session_facts *facts, struct err *e)
{
	auto_free struct session_page *page = malloc(sizeof(*page));

	if (!page)
		return err_sys(e, ENOMEM, "session page");
	if (session_page_read(fd, page, e) < 0)
		return -1;
	*facts = (struct session_facts){
		.connected = page->connected == 1,
		.settled = page_gate_is_settled(page),
		.incoming = page->incoming.valid == 1,
		.offered = page->offered,
		.acknowledged = page->features,
		.protocol = page->protocol,
	};
	memcpy(facts->config, page->config, sizeof(facts->config));
	for (unsigned int i = 0; i < SESSION_RINGS_MAX; i++)
		facts->rings[i] = ring_of(&page->rings[i]);
	read_region(&page->inflight, facts);
	return 0;
}

/* The VMM was early: it has started the ring, behind a shut gate. */
static int check_started(const struct session_page *page, const struct session_facts *facts,
	unsigned int i, struct err *e)
{
	const struct page_ring *ring = &page->rings[i];

	if (ring->num == facts->rings[i].size && ring->base == facts->rings[i].base)
		return 0;
	return err_set(e, ERR_REFUSED, "VU-INCOMING",
		"ring %u was started at 0x%x of %u, and stood at 0x%x of %u: this is another VM", i,
		ring->base, ring->num, facts->rings[i].base, facts->rings[i].size);
}

/* What it has started arrives with the next worker, all the same (vu_incoming.c). */
static int compare_started(const struct session_page *page, const struct session_facts *facts,
	struct page_incoming *in, struct err *e)
{

	for (unsigned int i = 0; i < SESSION_RINGS_MAX; i++) {
		const struct session_ring *ring = &facts->rings[i];

		in->rings[i] = (struct page_incoming_ring){.base = ring->base, .size = ring->size};
		if (ring->size && page->rings[i].started == 1 &&
			check_started(page, facts, i, e) < 0)
			return -1;
	}
	in->valid = 1;
	return 0;
}

static int write_incoming(int fd, const struct page_incoming *in, struct err *e)
{
	const off_t at = offsetof(struct session_page, incoming);

	return pwrite(fd, in, sizeof(*in), at) == sizeof(*in)
		       ? 0
		       : err_sys(e, errno, "write the session page");
}

int session_facts_set_incoming(int fd, const struct session_facts *facts, struct err *e)
{
	struct page_incoming in = {.features = facts->acknowledged};
	auto_free struct session_page *page = malloc(sizeof(*page));

	if (!page)
		return err_sys(e, ENOMEM, "session page");
	if (session_page_read(fd, page, e) < 0 || compare_started(page, facts, &in, e) < 0)
		return -1;
	memcpy(in.config, facts->config, sizeof(in.config));
	return write_incoming(fd, &in, e);
}

int session_facts_clear_incoming(int fd, struct err *e)
{
	const struct page_incoming none = {.valid = 0};

	return write_incoming(fd, &none, e);
}
