/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Three sets of addresses: valid (what the IOMMU can translate), taken, and free = valid - taken.
 * Each is an array of ranges in the order of their addresses, no two of which overlap or touch:
 * so a set is the same whatever order it was made in, and giving a piece back joins it with its
 * neighbours by itself.
 *
 * What changes a set adds at most one range to it. Room for that is made in every set before the
 * first is touched, so that a call that finds no memory has changed nothing.
 *
 * There are few ranges (a handful of holes, some tens of buffers): looking through all of them is
 * the fastest way.
 */
#include "lib/iommu/iova.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

#define FOUR_GIB (UINT64_C(1) << 32)

struct set {
	struct iova_range *ranges;
	size_t count, room;
};

struct iova_alloc {
	uint64_t granule;
	struct set valid, taken, free;
};

/* --- sets ------------------------------------------------------------------------------------- */

static int set_make_room(struct set *s, size_t more)
{
	size_t room = MAX(s->count + more, s->room);
	struct iova_range *grown;

	if (room == s->room)
		return 0;
	room = MAX(room, s->room * 2);
	grown = reallocarray(s->ranges, room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->ranges = grown;
	s->room = room;
	return 0;
}

static void set_release(struct set *s)
{
	free(s->ranges);
	*s = (struct set){0};
}
#define auto_set __attribute__((cleanup(set_release)))

/* Puts `count` ranges (0 to 2) in the place of those from `begin` to before `end`. */
static void set_replace(
	struct set *s, size_t begin, size_t end, const struct iova_range *with, size_t count)
{
	assert(s->count - (end - begin) + count <= s->room);
	memmove(&s->ranges[begin + count], &s->ranges[end], (s->count - end) * sizeof(*with));
	memcpy(&s->ranges[begin], with, count * sizeof(*with));
	s->count = s->count - (end - begin) + count;
}

/* The first range that ends at or behind `address`; s->count if there is none. */
static size_t set_find(const struct set *s, uint64_t address)
{
	size_t i = 0;

	while (i < s->count && s->ranges[i].last < address)
		i++;
	return i;
}

/* Room for one more is there. */
static void set_add(struct set *s, struct iova_range r)
{
	size_t begin = set_find(s, r.first ? r.first - 1 : 0), end = begin;

	for (; end < s->count; end++) {
		if (s->ranges[end].first > r.last && s->ranges[end].first - r.last > 1)
			break;
		r.first = MIN(r.first, s->ranges[end].first);
		r.last = MAX(r.last, s->ranges[end].last);
	}
	set_replace(s, begin, end, &r, 1);
}

/* Room for one more is there. */
static void set_subtract(struct set *s, struct iova_range r)
{
	size_t begin = set_find(s, r.first), end = begin, left = 0;
	struct iova_range rest[2];

	for (; end < s->count && s->ranges[end].first <= r.last; end++)
		;
	if (begin == end)
		return;
	if (s->ranges[begin].first < r.first)
		rest[left++] = (struct iova_range){s->ranges[begin].first, r.first - 1};
	if (s->ranges[end - 1].last > r.last)
		rest[left++] = (struct iova_range){r.last + 1, s->ranges[end - 1].last};
	set_replace(s, begin, end, rest, left);
}

/* All of r is in the set: then in one range, since ranges do not touch. */
static bool set_contains(const struct set *s, struct iova_range r)
{
	size_t i = set_find(s, r.first);

	return i < s->count && s->ranges[i].first <= r.first && r.last <= s->ranges[i].last;
}

static int set_copy(struct set *to, const struct set *from)
{
	if (set_make_room(to, from->count + 1) < 0)
		return -ENOMEM;
	set_replace(to, 0, to->count, from->ranges, from->count);
	return 0;
}

/* The part of r that is whole granules; false if there is none. */
static bool shrink(struct iova_range *r, uint64_t granule)
{
	uint64_t up = granule - 1;

	if (r->first > UINT64_MAX - up || (r->last < up))
		return false;
	r->first = ALIGN_UP(r->first, granule);
	r->last = ((r->last - up) & ~up) + up;
	return r->first <= r->last;
}

/* The whole granules of what `ranges` cover together. */
static int set_of_ranges(
	struct set *s, const struct iova_range *ranges, size_t count, uint64_t granule)
{
	auto_set struct set all = {0};

	if (set_make_room(&all, count + 1) < 0 || set_make_room(s, count + 1) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (ranges[i].first <= ranges[i].last)
			set_add(&all, ranges[i]);
	for (size_t i = 0; i < all.count; i++)
		if (shrink(&all.ranges[i], granule))
			set_add(s, all.ranges[i]);
	return 0;
}

/* --- the allocator ---------------------------------------------------------------------------- */

struct iova_alloc *iova_alloc_new(
	const struct iova_range *ranges, size_t count, uint64_t granule_bytes)
{
	auto_iova_alloc struct iova_alloc *a = calloc(1, sizeof(*a));

	assert(granule_bytes && (granule_bytes & (granule_bytes - 1)) == 0);
	if (!a)
		return NULL;
	a->granule = granule_bytes;
	if (iova_set_valid(a, ranges, count) < 0)
		return NULL;
	return steal_ptr(&a);
}

void iova_alloc_free(struct iova_alloc *a)
{
	if (!a)
		return;
	set_release(&a->valid);
	set_release(&a->taken);
	set_release(&a->free);
	free(a);
}

int iova_set_valid(struct iova_alloc *a, const struct iova_range *ranges, size_t count)
{
	auto_set struct set valid = {0}, left = {0};
	struct set was;

	if (set_of_ranges(&valid, ranges, count, a->granule) < 0 || set_copy(&left, &valid) < 0 ||
		set_make_room(&left, a->taken.count + 1) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < a->taken.count; i++)
		set_subtract(&left, a->taken.ranges[i]);
	was = a->valid;
	a->valid = valid;
	valid = was;
	was = a->free;
	a->free = left;
	left = was;
	return 0;
}

/* A piece as a range; false if it is none, or not of whole granules. */
static bool piece(
	const struct iova_alloc *a, uint64_t iova, uint64_t len_bytes, struct iova_range *r)
{
	*r = (struct iova_range){iova, iova + (len_bytes - 1)};
	return len_bytes && r->last >= iova && ((iova | len_bytes) & (a->granule - 1)) == 0;
}

static int make_room_for_one(struct iova_alloc *a)
{
	return set_make_room(&a->taken, 1) < 0 || set_make_room(&a->free, 1) < 0 ? -ENOMEM : 0;
}

static void take(struct iova_alloc *a, struct iova_range r)
{
	set_subtract(&a->free, r);
	set_add(&a->taken, r);
}

int iova_take_at(struct iova_alloc *a, uint64_t iova, uint64_t len_bytes)
{
	struct iova_range r;

	if (!piece(a, iova, len_bytes, &r))
		return -EINVAL;
	if (!set_contains(&a->free, r))
		return -ENOSPC;
	if (make_room_for_one(a) < 0)
		return -ENOMEM;
	take(a, r);
	return 0;
}

/* The lowest aligned start of `len` bytes between first and last, if there is one. */
static bool fit_low(
	uint64_t first, uint64_t last, uint64_t len_less_1, uint64_t align, uint64_t *start)
{
	if (first > UINT64_MAX - (align - 1))
		return false;
	*start = ALIGN_UP(first, align);
	return *start <= last && last - *start >= len_less_1;
}

/* The highest. */
static bool fit_high(
	uint64_t first, uint64_t last, uint64_t len_less_1, uint64_t align, uint64_t *start)
{
	if (first > last || last - first < len_less_1)
		return false;
	*start = (last - len_less_1) & ~(align - 1);
	return *start >= first;
}

static bool find_from_4_gib(const struct set *s, const struct iova_request *want, uint64_t *start)
{
	for (size_t i = set_find(s, FOUR_GIB); i < s->count; i++)
		if (fit_low(MAX(s->ranges[i].first, FOUR_GIB),
			    MIN(s->ranges[i].last, want->max_addr), want->len_bytes - 1,
			    want->align_bytes, start))
			return true;
	return false;
}

static bool find_from_top(
	const struct set *s, const struct iova_request *want, uint64_t lowest, uint64_t *start)
{
	for (size_t i = s->count; i-- > 0;)
		if (fit_high(MAX(s->ranges[i].first, lowest),
			    MIN(s->ranges[i].last, want->max_addr), want->len_bytes - 1,
			    want->align_bytes, start))
			return true;
	return false;
}

int iova_take(struct iova_alloc *a, const struct iova_request *want, uint64_t *iova)
{
	struct iova_request r = *want;

	if (!r.len_bytes || r.len_bytes > UINT64_MAX - (a->granule - 1) ||
		(r.align_bytes & (r.align_bytes - 1)))
		return -EINVAL;
	r.len_bytes = ALIGN_UP(r.len_bytes, a->granule);
	r.align_bytes = MAX(r.align_bytes, a->granule);
	if (make_room_for_one(a) < 0)
		return -ENOMEM;
	if (!find_from_4_gib(&a->free, &r, iova) && !find_from_top(&a->free, &r, a->granule, iova))
		return -ENOSPC;
	take(a, (struct iova_range){*iova, *iova + (r.len_bytes - 1)});
	return 0;
}

int iova_give(struct iova_alloc *a, uint64_t iova, uint64_t len_bytes)
{
	struct iova_range r, part;

	if (!piece(a, iova, len_bytes, &r) || !set_contains(&a->taken, r))
		return -EINVAL;
	/* It may have holes by now: then it comes back in parts. */
	if (set_make_room(&a->free, a->valid.count + 1) < 0 || set_make_room(&a->taken, 1) < 0)
		return -ENOMEM;
	set_subtract(&a->taken, r);
	for (size_t i = set_find(&a->valid, r.first); i < a->valid.count; i++) {
		part.first = MAX(r.first, a->valid.ranges[i].first);
		part.last = MIN(r.last, a->valid.ranges[i].last);
		if (part.first <= part.last)
			set_add(&a->free, part);
	}
	return 0;
}

size_t iova_free_count(const struct iova_alloc *a)
{
	return a->free.count;
}

struct iova_range iova_free_range(const struct iova_alloc *a, size_t index)
{
	assert(index < a->free.count);
	return a->free.ranges[index];
}

bool iova_in_ranges(
	const struct iova_range *ranges, size_t count, uint64_t iova, uint64_t len_bytes)
{
	uint64_t last = iova + (len_bytes - 1);

	if (!len_bytes || last < iova)
		return false;
	for (size_t i = 0; i < count; i++)
		if (ranges[i].first <= iova && last <= ranges[i].last)
			return true;
	return false;
}
