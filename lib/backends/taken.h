/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests in flight as a list: taken from the guest, and not given back. From the in-flight region
 * of a session that rests (settled) to the list, from the list to the region of another session,
 * and in between to and from a descriptor. What is read is not trusted. No state; thread safe.
 */
#pragma once

#include "lib/err.h"

/* By ring, in the order in which they were taken. */
struct taken_request {
	uint16_t ring;
	uint16_t head;  /* split: first descriptor; packed: buffer id */
	uint16_t descs; /* packed: how many of the descriptors are its own; split: 0 */
	uint64_t counter;
};

/* As it was in the packed ring. */
struct taken_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

/* The arrays are malloc()ed: taken_release() frees them. */
struct taken {
	struct taken_request *requests;
	struct taken_desc *descs; /* of the first request, then of the second, ... */
	uint32_t request_count, desc_count;
};

void taken_release(struct taken *t);
#define auto_taken __attribute__((cleanup(taken_release)))

/* Room for so many, zeroed; the counts are set. */
int taken_allocate(struct taken *t, uint32_t requests, uint32_t descs, struct err *e);

struct taken_region {
	uint64_t size, offset; /* bytes, and where they are behind their descriptor */
	uint16_t queues, queue_size;
	bool packed;
};

/* Where a ring stands. Split: as counted, wraps false. Packed: place and wrap counter. */
struct taken_position {
	uint16_t avail, used;
	bool avail_wrap, used_wrap;
};

/* As in GET_VRING_BASE and SET_VRING_BASE; of a split ring that is only `avail`. */
uint32_t taken_base(const struct taken_position *at, bool packed);
/* Nothing is in flight there. */
struct taken_position taken_position_of_base(uint32_t base, bool packed);

/* The bytes of the region behind `fd`, which must be memory (reading it can not block), or NULL. */
void *taken_read_region(int fd, const struct taken_region *region, struct err *e);

/*
 * Appends what is in flight in ring `index` of `size` entries; `bytes` are the region's. 1: *at is
 * where it stands; 0: the region knows nothing of it; -1.
 */
int taken_collect(struct taken *t, const struct taken_region *region, const void *bytes,
	uint16_t index, uint16_t size, struct taken_position *at, struct err *e);

/* To a sealed memfd, and back. */
int taken_to_fd(const struct taken *t, struct err *e);
int taken_from_fd(struct taken *t, int fd, struct err *e);

/*
 * Marks all of ring `index`, which stands at `base`, in a region that is fresh there. 0, or -1: it
 * does not fit, and the region is as before.
 */
int taken_mark(const struct taken *t, const struct taken_region *region, void *bytes,
	uint16_t index, uint32_t base, struct err *e);
