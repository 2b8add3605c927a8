/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/dma_map.h"

#include <errno.h>
#include <sys/mman.h>

#include "lib/cleanup.h"
#include "lib/iommu/memlock.h"

#define LARGEST_PAGE (UINT64_C(1) << 30) /* aligning further brings nothing */

/* What a huge page has: a whole page of page table entries, of 8 bytes each. */
static uint64_t huge_page_bytes(uint64_t page)
{
	return page * (page / 8);
}

/*
 * Where the memory starts on a boundary of so many bytes, the range should, too: then whatever huge
 * pages are in it are huge for the IOMMU. More than the buffer's own size serves nothing.
 */
static uint64_t natural_align(uint64_t memory, uint64_t len, uint64_t granule)
{
	uint64_t align = granule;

	while (align < LARGEST_PAGE && align * 2 <= len && (memory & (align * 2 - 1)) == 0)
		align *= 2;
	return align;
}

static int sum_up(struct iommu_space *space, const struct iovec *pieces, size_t count,
	uint64_t *total, struct err *e)
{
	uint64_t granule = iommu_space_limits(space)->granule_bytes;

	*total = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t at = (uintptr_t)pieces[i].iov_base, len = pieces[i].iov_len;

		if (!granule || !len || ((at | len) & (granule - 1)) ||
			!u64_add(*total, len, total))
			return err_set(e, ERR_REFUSED, "IOVA-RANGE",
				"map a buffer: piece %zu of %zu is not of whole pages (%llu bytes)",
				i, count, (unsigned long long)granule);
	}
	if (*total == 0)
		return err_set(e, ERR_REFUSED, "IOVA-RANGE", "map a buffer of no bytes");
	return 0;
}

/* What could refuse the buffer when half of it is mapped is looked at before. */
static int check_limits(struct iommu_space *space, uint64_t total, size_t maps, struct err *e)
{
	struct memlock m;

	if (memlock_read(iommu_space_api(space), space, total, &m, e) < 0 ||
		memlock_check(&m, e) < 0 || iommu_space_refresh(space, e) < 0)
		return -1;
	if (iommu_space_limits(space)->maps_left >= maps)
		return 0;
	err_set(e, ERR_REFUSED, "IOVA-LIMIT", "map a buffer: it takes %zu mappings", maps);
	err_evidence(e, "the kernel allows %llu more",
		(unsigned long long)iommu_space_limits(space)->maps_left);
	return err_fix(e, "make it of fewer pieces, or set vfio_iommu_type1's dma_entry_limit");
}

static int no_space(struct iova_alloc *a, uint64_t len, uint64_t max_addr, struct err *e)
{
	uint64_t largest = 0;

	for (size_t i = 0; i < iova_free_count(a); i++) {
		struct iova_range r = iova_free_range(a, i);

		if (r.first <= max_addr)
			largest = MAX(largest, MIN(r.last, max_addr) - r.first);
	}
	err_set(e, ERR_REFUSED, "IOVA-NOSPC",
		"map a buffer: 0x%llx contiguous bytes up to 0x%llx are not free",
		(unsigned long long)len, (unsigned long long)max_addr);
	return err_evidence(e,
		"%zu free ranges; the last byte of the largest is 0x%llx behind its "
		"first",
		iova_free_count(a), (unsigned long long)largest);
}

static int take_range(struct iommu_space *space, uint64_t memory, uint64_t len, uint64_t max_addr,
	uint64_t *iova, struct err *e)
{
	struct iova_alloc *a = iommu_space_iova(space);
	uint64_t granule = iommu_space_limits(space)->granule_bytes;
	struct iova_request want = {len, natural_align(memory, len, granule), max_addr};
	int rc = iova_take(a, &want, iova);

	if (rc == -ENOSPC) {
		want.align_bytes = granule;
		rc = iova_take(a, &want, iova);
	}
	if (rc == -ENOSPC)
		return no_space(a, len, max_addr, e);
	return rc < 0 ? err_sys(e, -rc, "find I/O virtual addresses for a buffer") : 0;
}

/* Maps the pieces in a row; when one fails, those before it are unmapped. */
static int map_pieces(struct iommu_space *space, uint64_t iova, const struct iovec *pieces,
	size_t count, enum iommu_access access, struct err *e)
{
	uint64_t at = iova;

	for (size_t i = 0; i < count; i++) {
		if (iommu_map(space, at, pieces[i].iov_base, pieces[i].iov_len, access, e) < 0) {
			if (at > iova)
				iommu_unmap(space, iova, at - iova, NULL);
			return err_wrap(e, "map piece %zu of %zu of a buffer", i, count);
		}
		at += pieces[i].iov_len;
	}
	return 0;
}

int dma_buffer_map(struct iommu_space *space, const struct iovec *pieces, size_t count,
	uint64_t max_addr, enum iommu_access access, struct dma_buffer *buffer, struct err *e)
{
	uint64_t total, iova;

	if (sum_up(space, pieces, count, &total, e) < 0 ||
		check_limits(space, total, count, e) < 0 ||
		take_range(space, (uintptr_t)pieces[0].iov_base, total, max_addr, &iova, e) < 0)
		return -1;
	if (map_pieces(space, iova, pieces, count, access, e) < 0) {
		iova_give(iommu_space_iova(space), iova, total);
		return -1;
	}
	*buffer = (struct dma_buffer){.space = space, .iova = iova, .len_bytes = total};
	return 0;
}

/* --- buffers with their memory ---------------------------------------------------------------- */

/* Of `len` bytes on a boundary of `align`: more is taken, and what is too much given back. */
static void *map_aligned(uint64_t len, uint64_t align)
{
	char *all = mmap(NULL, len + align, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *begin, *end;

	if (all == MAP_FAILED)
		return MAP_FAILED;
	begin = all + (ALIGN_UP((uintptr_t)all, align) - (uintptr_t)all);
	end = begin + len;
	if (begin > all)
		munmap(all, begin - all);
	if (all + len + align > end)
		munmap(end, all + len + align - end);
	return begin;
}

static void *new_memory(uint64_t len, uint64_t page, enum dma_pages pages)
{
	uint64_t huge = huge_page_bytes(page);
	void *memory = MAP_FAILED;

	if (pages == DMA_PAGES_ANY || len < huge)
		return map_aligned(len, page);
	if (len % huge == 0)
		memory = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		memory = map_aligned(len, huge);
	if (memory != MAP_FAILED)
		madvise(memory, len, MADV_HUGEPAGE);
	return memory;
}

int dma_buffer_new(struct iommu_space *space, uint64_t len_bytes, enum dma_pages pages,
	uint64_t max_addr, enum iommu_access access, struct dma_buffer *buffer, struct err *e)
{
	uint64_t page = iommu_space_limits(space)->granule_bytes;
	struct iovec piece;

	if (!page || !len_bytes || len_bytes > UINT64_MAX / 2)
		return err_set(e, ERR_REFUSED, "IOVA-RANGE", "map a buffer of %llu bytes",
			(unsigned long long)len_bytes);
	piece.iov_len = ALIGN_UP(len_bytes, page);
	piece.iov_base = new_memory(piece.iov_len, page, pages);
	if (piece.iov_base == MAP_FAILED)
		return err_sys(e, errno, "get %zu bytes of memory for a buffer", piece.iov_len);
	/* See dma_buffer_map(). What fails here fails there with words. */
	if (!(access & IOMMU_WRITE))
		madvise(piece.iov_base, piece.iov_len, MADV_POPULATE_WRITE);
	if (dma_buffer_map(space, &piece, 1, max_addr, access, buffer, e) < 0) {
		munmap(piece.iov_base, piece.iov_len);
		return -1;
	}
	buffer->memory = piece.iov_base;
	return 0;
}

int dma_buffer_release(struct dma_buffer *buffer, struct err *e)
{
	if (!buffer->space)
		return 0;
	if (iommu_unmap(buffer->space, buffer->iova, buffer->len_bytes, e) < 0)
		return err_wrap(e, "release a buffer");
	iova_give(iommu_space_iova(buffer->space), buffer->iova, buffer->len_bytes);
	if (buffer->memory)
		munmap(buffer->memory, buffer->len_bytes);
	*buffer = (struct dma_buffer){0};
	return 0;
}
