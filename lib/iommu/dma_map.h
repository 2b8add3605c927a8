/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers for DMA: memory of this process, however scattered, as one contiguous range of I/O
 * virtual addresses that the device can reach. Locked memory is summed up first (memlock.h).
 * One thread at a time per address space.
 */
#pragma once

#include <sys/uio.h>

#include "lib/iommu/iommu.h"

struct dma_buffer {
	struct iommu_space *space; /* NULL: nothing is mapped */
	uint64_t iova;             /* of the first byte */
	uint64_t len_bytes;
	/* Set if dma_buffer_new() got the memory, which then goes with the buffer. */
	void *memory;
};

/*
 * Maps the pieces (each starting and ending on a page) one behind the other, into a range below
 * max_addr (iova_mask() of the device). The range is aligned as the first piece is, as far as the
 * free addresses allow, so that huge pages stay huge. The memory must outlive the mapping; what the
 * device may only read must have been written to once (before Linux 6.2 it would else go on reading
 * zeroes: the page that was pinned is not the one that the first write makes). -1 with
 * e set and nothing mapped: as iommu_map(), and IOVA-NOSPC (no such range is free).
 */
int dma_buffer_map(struct iommu_space *space, const struct iovec *pieces, size_t count,
	uint64_t max_addr, enum iommu_access access, struct dma_buffer *buffer, struct err *e);

enum dma_pages {
	DMA_PAGES_ANY,  /* of whatever size the system gives */
	DMA_PAGES_HUGE, /* aligned to huge pages, and of such ones if the system has them ready */
};

/* A buffer of new, zeroed memory (len_bytes rounded up to whole pages). */
int dma_buffer_new(struct iommu_space *space, uint64_t len_bytes, enum dma_pages pages,
	uint64_t max_addr, enum iommu_access access, struct dma_buffer *buffer, struct err *e);

/*
 * Takes the mapping away, then the memory that came with it: the device may not write to it when
 * others have it. If the kernel refuses (-1) both stay. An empty buffer is allowed.
 */
int dma_buffer_release(struct dma_buffer *buffer, struct err *e);
