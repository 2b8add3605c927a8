/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. inflight.c and inflight_packed.c say what the region's bytes mean and what
 * interrupted steps leave in them. A list is made only of a session that rests: its worker said
 * that nothing is with the host and all that ended is published, so no step is half done, and
 * marked means in flight. If it is not so (the region is the VMM's to write), the list is refused
 * here, or wrong, and then the VM that it is restored to gets wrong what it wrote itself.
 *
 * The other way, the list becomes a region as a predecessor would have left it, and the successor's
 * ordinary recovery replays it: there is no second way of replaying.
 *
 *	split	entries[head] = {inflight 1, counter}; used_idx = base - count
 *	packed	requests take entries 0, 1, 2, ... one after the other; the rest is the free list;
 *		used = what base says of it
 *
 * A ring with nothing in flight is left fresh: it begins at the base that the VMM gives.
 */
#include "lib/backends/taken.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/backends/inflight_priv.h"
#include "lib/backends/virtq.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"

#define MOST     (64u * VIRTQ_MAX_SIZE) /* of requests, and of descriptors */
#define WRAP_BIT 0x8000u

static int bad(struct err *e, const char *words, unsigned int n)
{
	return err_set(e, ERR_FAILED, "VU-INFLIGHT", "in-flight region: %s %u", words, n);
}

/* --- lists ------------------------------------------------------------------------------------ */

void taken_release(struct taken *t)
{
	free(t->requests);
	free(t->descs);
	*t = (struct taken){0};
}

int taken_allocate(struct taken *t, uint32_t requests, uint32_t descs, struct err *e)
{
	if (requests > MOST || descs > MOST)
		return bad(e, "more than", MOST);
	t->requests = calloc(MAX(requests, 1u), sizeof(*t->requests));
	t->descs = calloc(MAX(descs, 1u), sizeof(*t->descs));
	if (!t->requests || !t->descs) {
		taken_release(t);
		return err_sys(e, ENOMEM, "requests in flight");
	}
	t->request_count = requests;
	t->desc_count = descs;
	return 0;
}

static int grow(struct taken *t, uint32_t requests, uint32_t descs, struct err *e)
{
	void *more;

	if (t->request_count + requests > MOST || t->desc_count + descs > MOST)
		return bad(e, "more than", MOST);
	more = reallocarray(t->requests, t->request_count + requests + 1, sizeof(*t->requests));
	if (!more)
		return err_sys(e, ENOMEM, "requests in flight");
	t->requests = more;
	more = reallocarray(t->descs, t->desc_count + descs + 1, sizeof(*t->descs));
	if (!more)
		return err_sys(e, ENOMEM, "requests in flight");
	t->descs = more;
	return 0;
}

/* --- positions -------------------------------------------------------------------------------- */

uint32_t taken_base(const struct taken_position *at, bool packed)
{
	if (!packed)
		return at->avail;
	return at->avail | (at->avail_wrap ? WRAP_BIT : 0) | (uint32_t)at->used << 16 |
	       (at->used_wrap ? WRAP_BIT << 16 : 0);
}

struct taken_position taken_position_of_base(uint32_t base, bool packed)
{
	if (!packed)
		return (struct taken_position){.avail = (uint16_t)base, .used = (uint16_t)base};
	return (struct taken_position){
		.avail = base & 0x7fff,
		.avail_wrap = base & WRAP_BIT,
		.used = base >> 16 & 0x7fff,
		.used_wrap = base >> 16 & WRAP_BIT,
	};
}

/* --- from a region ---------------------------------------------------------------------------- */

/* A disk, or a file that some process serves, would hold us up for as long as that likes. */
static int check_is_memory(int fd, uint64_t needed, struct err *e)
{
	struct stat st;

	if (fcntl(fd, F_GET_SEALS) < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_REFUSED, "VU-INFLIGHT",
			"in-flight region: the VMM keeps it in something that is not memory");
	if (st.st_size < 0 || (uint64_t)st.st_size < needed)
		return err_set(e, ERR_FAILED, "VU-INFLIGHT", "in-flight region: it was cut off");
	return 0;
}

void *taken_read_region(int fd, const struct taken_region *region, struct err *e)
{
	uint64_t len = inflight_region_size(region->queues, region->queue_size, region->packed);
	auto_free char *bytes = NULL;
	uint64_t end;
	ssize_t n;

	if (region->size < len || !u64_add(region->offset, len, &end) || end > INT64_MAX) {
		bad(e, "too small for rings:", region->queues);
		return NULL;
	}
	if (check_is_memory(fd, end, e) < 0)
		return NULL;
	bytes = malloc(len);
	if (!bytes) {
		err_sys(e, ENOMEM, "in-flight region");
		return NULL;
	}
	n = pread(fd, bytes, len, (off_t)region->offset);
	if (n < 0 || (uint64_t)n != len) {
		err_sys(e, n < 0 ? errno : EIO, "read the in-flight region");
		return NULL;
	}
	return steal_ptr(&bytes);
}

static int by_counter(const void *a, const void *b)
{
	const struct taken_request *x = a, *y = b;

	return x->counter < y->counter ? -1 : x->counter > y->counter;
}

static int collect_split(struct taken *t, const struct inflight_split *part, uint16_t index,
	uint16_t entries, uint16_t size, struct taken_position *at, struct err *e)
{
	struct taken_request *first = t->requests + t->request_count, *next = first;

	for (uint16_t i = 0; i < entries; i++) {
		if (part->entries[i].inflight != 1)
			continue;
		if (i >= size)
			return bad(e, "a request beyond its ring:", i);
		*next++ = (struct taken_request){
			.ring = index, .head = i, .counter = part->entries[i].counter};
	}
	qsort(first, (size_t)(next - first), sizeof(*first), by_counter);
	t->request_count += (uint32_t)(next - first);
	*at = (struct taken_position){
		.used = part->used_idx, .avail = (uint16_t)(part->used_idx + (next - first))};
	return 1;
}

/* The descriptors of the request at `head`, in their order. Its buffer id, or -1. */
static int collect_descs(struct taken *t, const struct inflight_packed *part, uint16_t entries,
	uint16_t head, uint16_t room, struct err *e)
{
	const struct inflight_packed_entry *entry = &part->entries[head];
	uint16_t num = entry->num, place = head;

	if (!num || num > room)
		return bad(e, "descriptors of a request:", num);
	for (uint16_t i = 0; i < num; i++) {
		if (place >= entries)
			return bad(e, "a request leads to", place);
		entry = &part->entries[place];
		t->descs[t->desc_count++] = (struct taken_desc){.addr = entry->addr,
			.len = entry->len,
			.id = entry->id,
			.flags = entry->flags};
		place = entry->next;
	}
	return entry->id;
}

/* Entry numbers of a packed region's heads, oldest first; how many. */
static uint16_t order_heads(
	const struct inflight_packed *part, uint16_t entries, struct taken_request *heads)
{
	uint16_t count = 0;

	for (uint16_t i = 0; i < entries; i++)
		if (part->entries[i].inflight == 1)
			heads[count++] = (struct taken_request){
				.head = i, .counter = part->entries[i].counter};
	qsort(heads, count, sizeof(heads[0]), by_counter);
	return count;
}

static void set_packed_position(
	struct taken_position *at, const struct inflight_used *used, uint16_t size, uint32_t ahead)
{
	uint32_t avail = used->idx + ahead;

	at->used = used->idx;
	at->used_wrap = used->wrap;
	at->avail_wrap = used->wrap != (avail >= size);
	at->avail = (uint16_t)(avail >= size ? avail - size : avail);
}

static int collect_packed(struct taken *t, const struct inflight_packed *part, uint16_t index,
	uint16_t entries, uint16_t size, struct taken_position *at, struct err *e)
{
	struct taken_request *heads = t->requests + t->request_count;
	uint16_t count = order_heads(part, entries, heads);
	uint32_t first = t->desc_count;

	if (part->used.idx >= size || part->used.wrap > 1)
		return bad(e, "a position beyond its ring:", part->used.idx);
	if (part->used.idx != part->used.old_idx || part->free.head != part->free.old_head)
		return bad(e, "a step is half done in ring", index);
	for (uint16_t i = 0; i < count; i++) {
		uint16_t room = (uint16_t)(size - (t->desc_count - first));
		uint32_t before = t->desc_count;
		int id = collect_descs(t, part, entries, heads[i].head, room, e);

		if (id < 0)
			return -1;
		heads[i].ring = index;
		heads[i].head = (uint16_t)id;
		heads[i].descs = (uint16_t)(t->desc_count - before);
	}
	t->request_count += count;
	set_packed_position(at, &part->used, size, t->desc_count - first);
	return 1;
}

int taken_collect(struct taken *t, const struct taken_region *region, const void *bytes,
	uint16_t index, uint16_t size, struct taken_position *at, struct err *e)
{
	uint16_t entries = region->queue_size;
	const void *part =
		(const char *)bytes + inflight_region_size(index, entries, region->packed);
	const struct inflight_split *split = part;

	if (index >= region->queues || !split->version)
		return 0;
	if (split->version != INFLIGHT_VERSION || split->desc_num != entries || size > entries)
		return bad(e, "it is not as it was made, in ring", index);
	if (grow(t, entries, region->packed ? entries : 0, e) < 0)
		return -1;
	return region->packed ? collect_packed(t, part, index, entries, size, at, e)
			      : collect_split(t, split, index, entries, size, at, e);
}

/* --- as bytes --------------------------------------------------------------------------------- */

struct head {
	uint32_t requests, descs;
};

int taken_to_fd(const struct taken *t, struct err *e)
{
	const struct head head = {t->request_count, t->desc_count};
	const size_t requests = head.requests * sizeof(*t->requests);
	const size_t descs = head.descs * sizeof(*t->descs);
	auto_close int fd = fdio_sealed_memfd("iovd requests", sizeof(head) + requests + descs, e);
	int rc;

	if (fd < 0)
		return -1;
	rc = fdio_write_all(fd, &head, sizeof(head));
	if (rc == 0)
		rc = fdio_write_all(fd, t->requests, requests);
	if (rc == 0)
		rc = fdio_write_all(fd, t->descs, descs);
	return rc < 0 ? err_sys(e, -rc, "list the requests in flight") : steal_fd(&fd);
}

static int read_all(int fd, void *data, size_t len, off_t at, struct err *e)
{
	if (pread(fd, data, len, at) == (ssize_t)len)
		return 0;
	return err_set(e, ERR_FAILED, "VU-INFLIGHT", "the list of requests in flight ends early");
}

int taken_from_fd(struct taken *t, int fd, struct err *e)
{
	struct head head;
	off_t at = sizeof(head);

	if (read_all(fd, &head, sizeof(head), 0, e) < 0 ||
		taken_allocate(t, head.requests, head.descs, e) < 0)
		return -1;
	if (read_all(fd, t->requests, head.requests * sizeof(*t->requests), at, e) == 0) {
		at += (off_t)(head.requests * sizeof(*t->requests));
		if (read_all(fd, t->descs, head.descs * sizeof(*t->descs), at, e) == 0)
			return 0;
	}
	taken_release(t);
	return -1;
}

/* --- to a region ------------------------------------------------------------------------------ */

/* The requests of a ring, and the first of their descriptors. */
struct taken_part {
	const struct taken_request *requests;
	const struct taken_desc *descs;
	uint32_t count;
	uint32_t desc_count;
};

static struct taken_part part_of(const struct taken *t, uint16_t index)
{
	struct taken_part part = {t->requests, t->descs, 0, 0};

	for (uint32_t i = 0; i < t->request_count; i++) {
		const struct taken_request *rq = &t->requests[i];

		if (rq->ring == index) {
			part.count++;
			part.desc_count += rq->descs;
		} else if (!part.count) {
			part.requests = rq + 1;
			part.descs += rq->descs;
		}
	}
	return part;
}

static void mark_split(struct inflight_split *region, const struct taken_part *part,
	uint16_t entries, uint32_t base)
{
	for (uint32_t i = 0; i < part->count; i++) {
		struct inflight_split_entry *entry = &region->entries[part->requests[i].head];

		entry->counter = part->requests[i].counter;
		entry->inflight = 1;
	}
	region->desc_num = entries;
	region->used_idx = (uint16_t)(base - part->count);
	region->version = INFLIGHT_VERSION;
}

static void mark_packed_request(struct inflight_packed_entry *entries, uint16_t first,
	const struct taken_request *rq, const struct taken_desc *descs)
{
	for (uint16_t i = 0; i < rq->descs; i++) {
		struct inflight_packed_entry *entry = &entries[first + i];

		entry->id = descs[i].id;
		entry->flags = descs[i].flags;
		entry->len = descs[i].len;
		entry->addr = descs[i].addr;
	}
	entries[first].last = (uint16_t)(first + rq->descs - 1);
	entries[first].num = rq->descs;
	entries[first].counter = rq->counter;
	entries[first].inflight = 1;
}

static void mark_packed(struct inflight_packed *region, const struct taken_part *part,
	uint16_t entries, uint32_t base)
{
	struct taken_position at = taken_position_of_base(base, true);
	const struct taken_desc *descs = part->descs;
	uint16_t next = 0;

	for (uint16_t i = 0; i < entries; i++)
		region->entries[i].next = (uint16_t)(i + 1);
	for (uint32_t i = 0; i < part->count; i++) {
		mark_packed_request(region->entries, next, &part->requests[i], descs);
		next = (uint16_t)(next + part->requests[i].descs);
		descs += part->requests[i].descs;
	}
	region->desc_num = entries;
	region->free = (struct inflight_free){next, next};
	region->used = (struct inflight_used){
		.idx = at.used, .old_idx = at.used, .wrap = at.used_wrap, .old_wrap = at.used_wrap};
	region->version = INFLIGHT_VERSION;
}

static int check_fits(const struct taken *t, const struct taken_part *part,
	const struct taken_region *region, uint16_t index, struct err *e)
{
	uint32_t used = region->packed ? part->desc_count : part->count;

	if (index >= region->queues)
		return bad(e, "it has no ring", index);
	if (used > region->queue_size || part->descs + part->desc_count > t->descs + t->desc_count)
		return bad(e, "more is in flight than there is room for in ring", index);
	for (uint32_t i = 0; i < part->count; i++)
		if (part->requests[i].ring != index ||
			part->requests[i].head >= region->queue_size ||
			!part->requests[i].descs == region->packed)
			return bad(e, "a request that cannot be, in ring", index);
	return 0;
}

int taken_mark(const struct taken *t, const struct taken_region *region, void *bytes,
	uint16_t index, uint32_t base, struct err *e)
{
	struct taken_part part = part_of(t, index);
	void *at = (char *)bytes + inflight_region_size(index, region->queue_size, region->packed);

	if (!part.count)
		return 0;
	if (check_fits(t, &part, region, index, e) < 0)
		return -1;
	if (region->packed)
		mark_packed(at, &part, region->queue_size, base);
	else
		mark_split(at, &part, region->queue_size, base);
	return 0;
}
