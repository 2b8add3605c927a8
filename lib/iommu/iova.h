/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which I/O virtual addresses are free: ranges with holes between them, out of which buffers take
 * contiguous pieces. Pure: no system call, no IOMMU behind it. One thread at a time per allocator.
 *
 * A range has its first and its last byte, so that one can end with the last byte of the address
 * space. Lengths and addresses of pieces are multiples of the granule, the IOMMU's smallest page.
 */
#pragma once

#include "lib/util.h"

struct iova_range {
	uint64_t first, last; /* both inside */
};

struct iova_alloc;

/* What a buffer needs. */
struct iova_request {
	uint64_t len_bytes;   /* rounded up to the granule; 0 is refused */
	uint64_t align_bytes; /* a power of two; the granule if smaller */
	uint64_t max_addr;    /* the last byte lies at or below: a device's DMA mask */
};

/* The mask of a device that drives `bits` address lines (1 to 64). */
static inline uint64_t iova_mask(unsigned int bits)
{
	return UINT64_MAX >> (64 - bits);
}

/*
 * An allocator whose free space is `ranges` (in any order; they may touch or overlap), shrunk to
 * whole granules. `granule_bytes` is a power of two. NULL: no memory.
 */
struct iova_alloc *iova_alloc_new(
	const struct iova_range *ranges, size_t count, uint64_t granule_bytes);
void iova_alloc_free(struct iova_alloc *a);

static inline void iova_alloc_free_p(struct iova_alloc **a)
{
	iova_alloc_free(*a);
}
#define auto_iova_alloc __attribute__((cleanup(iova_alloc_free_p)))

/*
 * Takes a free piece. A request that reaches above 4 GiB is served from there, lowest first, as
 * long as there is room, then from below; one that does not, highest first below its mask: so that
 * the low addresses are left to the devices that can reach nothing else. Address 0 is never given
 * (devices and drivers take it for "none"). 0, -ENOSPC (nothing that fits), -EINVAL, or -ENOMEM.
 */
int iova_take(struct iova_alloc *a, const struct iova_request *want, uint64_t *iova);

/* Takes this very piece: 0, -ENOSPC if some of it is not free, -EINVAL (granule), -ENOMEM. */
int iova_take_at(struct iova_alloc *a, uint64_t iova, uint64_t len_bytes);

/*
 * Gives back a piece that was taken, or a part of it. 0 or -ENOMEM (nothing was given back). That
 * it was taken is the caller's to know: giving back what is free is -EINVAL.
 */
int iova_give(struct iova_alloc *a, uint64_t iova, uint64_t len_bytes);

/*
 * The valid ranges have become these (a device joined, and with it its holes). What is taken stays
 * so, and when given back returns only in so far as it is valid. 0 or -ENOMEM (nothing changed).
 */
int iova_set_valid(struct iova_alloc *a, const struct iova_range *ranges, size_t count);

/* The free pieces, by address, none touching its neighbour. */
size_t iova_free_count(const struct iova_alloc *a);
struct iova_range iova_free_range(const struct iova_alloc *a, size_t index);

/* Whether all of the piece lies in one of `ranges`. */
bool iova_in_ranges(
	const struct iova_range *ranges, size_t count, uint64_t iova, uint64_t len_bytes);
