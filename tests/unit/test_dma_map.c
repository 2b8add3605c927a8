/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/iommu: spaces, buffers and locked memory, over a table that stands in for the kernel. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/iommu/dma_map.h"
#include "lib/iommu/iommu_priv.h"
#include "lib/iommu/memlock.h"
#include "tests/unit/unit.h"

#define MIB      (UINT64_C(1) << 20)
#define MAX_MAPS 64

/* The kernel: what is mapped, how many more may be, and which map fails. */
static struct {
	struct {
		uint64_t iova, len;
		void *memory;
		enum iommu_access access;
	} maps[MAX_MAPS];
	size_t count, most;
	int fail_at, fail_with;
	bool unmap_fails;
} kernel;

static const struct iova_range smmuv3[] = {{0, 0x7ffffff}, {0x8100000, (UINT64_C(1) << 48) - 1}};

static int fake_open(struct iommu_space *s, struct err *e)
{
	(void)s;
	(void)e;
	return 0;
}

static void fake_close(struct iommu_space *s)
{
	(void)s;
}

static int fake_limits(struct iommu_space *s, struct iommu_limits *limits, struct err *e)
{
	(void)s;
	(void)e;
	for (size_t i = 0; i < ARRAY_SIZE(smmuv3); i++)
		limits->ranges[i] = smmuv3[i];
	limits->range_count = ARRAY_SIZE(smmuv3);
	limits->maps_left = kernel.most - kernel.count;
	iommu_limits_set_granule(limits, 4096 | 2 * MIB);
	return 0;
}

static int fake_map(struct iommu_space *s, uint64_t iova, void *memory, uint64_t len_bytes,
	enum iommu_access access)
{
	(void)s;
	if (kernel.fail_with && (int)kernel.count == kernel.fail_at)
		return -kernel.fail_with;
	ck_assert_uint_lt(kernel.count, MAX_MAPS);
	kernel.maps[kernel.count].iova = iova;
	kernel.maps[kernel.count].len = len_bytes;
	kernel.maps[kernel.count].memory = memory;
	kernel.maps[kernel.count++].access = access;
	return 0;
}

/* Whole mappings only, as the kernel. */
static int fake_unmap(struct iommu_space *s, uint64_t iova, uint64_t len_bytes)
{
	uint64_t found = 0;

	(void)s;
	if (kernel.unmap_fails)
		return -EIO;
	for (size_t i = kernel.count; i-- > 0;)
		if (kernel.maps[i].iova >= iova &&
			kernel.maps[i].iova + kernel.maps[i].len <= iova + len_bytes) {
			found += kernel.maps[i].len;
			kernel.maps[i] = kernel.maps[--kernel.count];
		}
	return found == len_bytes ? 0 : -ENOENT;
}

static const struct iommu_ops fake_ops = {
	.name = "fake",
	.open = fake_open,
	.close = fake_close,
	.limits = fake_limits,
	.map = fake_map,
	.unmap = fake_unmap,
};

static struct iommu_space *new_space(enum iommu_api api)
{
	struct iommu_space *space;

	kernel.count = 0;
	kernel.most = MAX_MAPS;
	ck_assert_int_eq(iommu_space_new_with(api, &fake_ops, &space, NULL), 0);
	ck_assert_ptr_null(iommu_space_iova(space)); /* blocked, and nothing can be mapped */
	ck_assert_int_eq(iommu_space_refresh(space, NULL), 0);
	return space;
}

static uint64_t granule(struct iommu_space *space)
{
	return iommu_space_limits(space)->granule_bytes;
}

START_TEST(scattered_pieces_become_one_range)
{
	auto_space struct iommu_space *space = new_space(IOMMU_TYPE1);
	uint64_t g = granule(space);
	char *memory =
		mmap(NULL, 16 * g, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec pieces[] = {{memory + 4 * g, g}, {memory, 2 * g}, {memory + 9 * g, 3 * g}};
	struct dma_buffer buffer;
	struct err e = ERR_INIT;
	uint64_t at;

	ck_assert_msg(dma_buffer_map(space, pieces, 3, iova_mask(28), IOMMU_READ, &buffer, &e) == 0,
		"%s", e.msg);
	ck_assert_uint_eq(buffer.len_bytes, 6 * g);
	ck_assert_uint_le(buffer.iova + 6 * g - 1, iova_mask(28));
	ck_assert_uint_eq(iommu_space_mapped_bytes(space), 6 * g);
	ck_assert_uint_eq(kernel.count, 3);
	at = buffer.iova;
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(kernel.maps[i].iova, at);
		ck_assert_ptr_eq(kernel.maps[i].memory, pieces[i].iov_base);
		ck_assert_int_eq(kernel.maps[i].access, IOMMU_READ);
		at += pieces[i].iov_len;
	}
	ck_assert_int_eq(dma_buffer_release(&buffer, &e), 0);
	ck_assert_uint_eq(kernel.count, 0);
	ck_assert_uint_eq(iommu_space_mapped_bytes(space), 0);
	ck_assert_uint_eq(iova_free_count(iommu_space_iova(space)), ARRAY_SIZE(smmuv3));
	ck_assert_int_eq(dma_buffer_release(&buffer, &e), 0); /* empty by now */
	munmap(memory, 16 * g);
}
END_TEST

START_TEST(what_fails_half_way_leaves_nothing)
{
	auto_space struct iommu_space *space = new_space(IOMMU_TYPE1);
	uint64_t g = granule(space);
	char *memory =
		mmap(NULL, 4 * g, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec pieces[] = {{memory, g}, {memory + 2 * g, g}, {memory + g, g}};
	struct dma_buffer buffer;
	struct err e = ERR_INIT;

	kernel.fail_with = EEXIST;
	for (kernel.fail_at = 0; kernel.fail_at < 3; kernel.fail_at++) {
		ck_assert_int_eq(
			dma_buffer_map(space, pieces, 3, UINT64_MAX, IOMMU_READ_WRITE, &buffer, &e),
			-1);
		ck_assert_str_eq(e.code, "IOVA-BUSY");
		ck_assert_uint_eq(kernel.count, 0);
		ck_assert_uint_eq(iommu_space_mapped_bytes(space), 0);
		ck_assert_uint_eq(iova_free_count(iommu_space_iova(space)), ARRAY_SIZE(smmuv3));
	}
	munmap(memory, 4 * g);
}
END_TEST

START_TEST(refusals_have_their_codes)
{
	auto_space struct iommu_space *space = new_space(IOMMU_TYPE1);
	uint64_t g = granule(space);
	char *memory =
		mmap(NULL, 4 * g, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dma_buffer buffer;
	struct err e = ERR_INIT;

	ck_assert_int_eq(iommu_map(space, 0x8000000 - g, memory, 2 * g, IOMMU_READ, &e), -1);
	ck_assert_str_eq(e.code, "IOVA-RANGE"); /* into the hole */
	ck_assert_int_eq(iommu_map(space, g / 2, memory, g, IOMMU_READ, &e), -1);
	ck_assert_str_eq(e.code, "IOVA-RANGE");
	ck_assert_int_eq(iommu_map(space, g, memory + 1, g, IOMMU_READ, &e), -1);
	ck_assert_str_eq(e.code, "IOVA-RANGE");
	ck_assert_int_eq(iommu_map(space, g, memory, 0, IOMMU_READ, &e), -1);
	ck_assert_str_eq(e.code, "IOVA-RANGE");
	ck_assert_int_eq(dma_buffer_map(space, &(struct iovec){memory, g - 1}, 1, UINT64_MAX,
				 IOMMU_READ, &buffer, &e),
		-1);
	ck_assert_str_eq(e.code, "IOVA-RANGE");
	ck_assert_int_eq(dma_buffer_map(space, NULL, 0, UINT64_MAX, IOMMU_READ, &buffer, &e), -1);
	ck_assert_str_eq(e.code, "IOVA-RANGE");
	ck_assert_int_eq(dma_buffer_new(space, 256 * MIB, DMA_PAGES_ANY, iova_mask(28), IOMMU_READ,
				 &buffer, &e),
		-1);
	ck_assert_str_eq(e.code, "IOVA-NOSPC");
	kernel.most = 2;
	ck_assert_int_eq(
		dma_buffer_map(space, (struct iovec[]){{memory, g}, {memory + g, g}, {memory, g}},
			3, UINT64_MAX, IOMMU_READ, &buffer, &e),
		-1);
	ck_assert_str_eq(e.code, "IOVA-LIMIT");
	ck_assert_uint_eq(kernel.count, 0);
	munmap(memory, 4 * g);
}
END_TEST

START_TEST(a_buffer_is_aligned_as_its_memory_is)
{
	auto_space struct iommu_space *space = new_space(IOMMU_TYPE1);
	uint64_t g = granule(space), huge = g * (g / 8);
	struct dma_buffer buffer, other;
	struct err e = ERR_INIT;

	ck_assert_msg(dma_buffer_new(space, 2 * huge, DMA_PAGES_HUGE, UINT64_MAX, IOMMU_READ_WRITE,
			      &buffer, &e) == 0,
		"%s", e.msg);
	ck_assert_uint_eq((uintptr_t)buffer.memory % huge, 0);
	ck_assert_uint_eq(buffer.iova % huge, 0);
	ck_assert_int_eq(((char *)buffer.memory)[2 * huge - 1], 0);
	/* No room on such a boundary below the mask: then on any. */
	ck_assert_int_eq(
		iova_take_at(iommu_space_iova(space), 0x8100000, 0x10000000 - 0x8100000 - huge - g),
		0);
	ck_assert_int_eq(iova_take_at(iommu_space_iova(space), g, 0x8000000 - g), 0);
	ck_assert_int_eq(iova_take_at(iommu_space_iova(space), 0x10000000 - g, g), 0);
	ck_assert_msg(dma_buffer_new(space, huge, DMA_PAGES_HUGE, iova_mask(28), IOMMU_READ_WRITE,
			      &other, &e) == 0,
		"%s", e.msg);
	ck_assert_uint_eq(other.iova, 0x10000000 - huge - g);
	ck_assert_int_eq(dma_buffer_release(&other, &e), 0);
	ck_assert_int_eq(dma_buffer_release(&buffer, &e), 0);
}
END_TEST

START_TEST(memory_stays_while_it_is_mapped)
{
	auto_space struct iommu_space *space = new_space(IOMMU_IOMMUFD);
	struct dma_buffer buffer;
	struct err e = ERR_INIT;
	uint64_t iova;

	ck_assert_int_eq(
		dma_buffer_new(space, 1, DMA_PAGES_ANY, UINT64_MAX, IOMMU_READ_WRITE, &buffer, &e),
		0);
	ck_assert_uint_eq(buffer.len_bytes, granule(space));
	iova = buffer.iova;
	kernel.unmap_fails = true;
	ck_assert_int_eq(dma_buffer_release(&buffer, &e), -1);
	ck_assert_int_eq(e.sys, EIO);
	((volatile char *)buffer.memory)[0] = 1;
	ck_assert_int_eq(iova_take_at(iommu_space_iova(space), iova, buffer.len_bytes), -ENOSPC);
	kernel.unmap_fails = false;
	ck_assert_int_eq(dma_buffer_release(&buffer, &e), 0);
}
END_TEST

/* --- locked memory ---------------------------------------------------------------------------- */

START_TEST(the_sum_is_told_at_the_limit_and_not_before)
{
	struct memlock m = {.api = IOMMU_TYPE1,
		.limit_bytes = 3 * MIB,
		.used_bytes = MIB,
		.need_bytes = 2 * MIB};
	struct err e = ERR_INIT;

	ck_assert_int_eq(memlock_check(&m, &e), 0);
	m.need_bytes++;
	ck_assert_int_eq(memlock_check(&m, &e), -1);
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_str_eq(e.code, "MEMLOCK");
	ck_assert_str_eq(e.msg, "lock 3 MiB of memory: with the 1 MiB locked already 4 MiB are "
				"needed");
	ck_assert_str_eq(e.evidence, "RLIMIT_MEMLOCK is 3072 KiB; type1 counts it for the process");
	ck_assert_str_eq(e.fix, "set the limit to 3073 KiB or more (ulimit -l, LimitMEMLOCK=)");
	m = (struct memlock){.api = IOMMU_IOMMUFD, .limit_bytes = 0, .need_bytes = 1};
	ck_assert_int_eq(memlock_check(&m, &e), -1);
	ck_assert_str_eq(e.evidence, "RLIMIT_MEMLOCK is 0 KiB; iommufd counts it for the user");
	m = (struct memlock){.limit_bytes = UINT64_MAX, .used_bytes = 2, .need_bytes = UINT64_MAX};
	ck_assert_int_eq(memlock_check(&m, &e), -1);
}
END_TEST

START_TEST(a_vmm_needs_its_memory_once_per_space)
{
	ck_assert_uint_eq(memlock_for_vmm(4096 * MIB, 0, false), 0);
	ck_assert_uint_eq(memlock_for_vmm(4096 * MIB, 1, false), 5120 * MIB);
	ck_assert_uint_eq(memlock_for_vmm(4096 * MIB, 3, false), 5120 * MIB);
	ck_assert_uint_eq(memlock_for_vmm(4096 * MIB, 3, true), (3 * 4096 + 1024) * MIB);
	ck_assert_uint_eq(memlock_for_vmm(UINT64_MAX / 2, 3, true), UINT64_MAX);
}
END_TEST

/* In this test's own process: a limit, and no privilege to pass it. */
static void give_up_privileges(uint64_t limit)
{
	struct rlimit r = {limit, limit};

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &r), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
}

START_TEST(it_is_refused_before_the_kernel_is_asked)
{
	auto_space struct iommu_space *space = new_space(IOMMU_IOMMUFD);
	uint64_t g = granule(space);
	struct dma_buffer first, second;
	struct err e = ERR_INIT;
	struct memlock m;

	give_up_privileges(4 * g);
	ck_assert_int_eq(
		dma_buffer_new(space, 3 * g, DMA_PAGES_ANY, UINT64_MAX, IOMMU_READ, &first, &e), 0);
	ck_assert_int_eq(
		dma_buffer_new(space, 2 * g, DMA_PAGES_ANY, UINT64_MAX, IOMMU_READ, &second, &e),
		-1);
	ck_assert_str_eq(e.code, "MEMLOCK");
	ck_assert_uint_eq(kernel.count, 1);
	ck_assert_int_eq(
		dma_buffer_new(space, g, DMA_PAGES_ANY, UINT64_MAX, IOMMU_READ, &second, &e), 0);
	ck_assert_int_eq(dma_buffer_release(&second, &e), 0);
	ck_assert_int_eq(dma_buffer_release(&first, &e), 0);

	/* type1's count is the process's, whoever locked it. */
	ck_assert_int_eq(memlock_read(IOMMU_TYPE1, NULL, g, &m, &e), 0);
	ck_assert_uint_eq(m.used_bytes, 0);
	ck_assert_uint_eq(m.limit_bytes, 4 * g);
	ck_assert_ptr_ne(mmap(NULL, 2 * g, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0),
		MAP_FAILED);
	ck_assert_int_eq(memlock_read(IOMMU_TYPE1, NULL, g, &m, &e), 0);
	ck_assert_uint_eq(m.used_bytes, 2 * g);
}
END_TEST

UNIT_MAIN(scattered_pieces_become_one_range, what_fails_half_way_leaves_nothing,
	refusals_have_their_codes, a_buffer_is_aligned_as_its_memory_is,
	memory_stays_while_it_is_mapped, the_sum_is_told_at_the_limit_and_not_before,
	a_vmm_needs_its_memory_once_per_space, it_is_refused_before_the_kernel_is_asked)
