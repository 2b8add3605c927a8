/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/iommu/iova: single rules first, then long random runs against a model of one flag per page. */
#include <errno.h>
#include <string.h>

#include "lib/iommu/iova.h"
#include "tests/unit/unit.h"

#define PAGE    UINT64_C(4096)
#define MIB     (UINT64_C(1) << 20)
#define GIB     (UINT64_C(1) << 30)
#define NO_MASK UINT64_MAX

/* What the kernels of the lab's hosts say, and one that says everything. */
static const struct iova_range vtd[] = {{0, 0xfedfffff}, {0xfef00000, (UINT64_C(1) << 39) - 1}};
static const struct iova_range amdvi[] = {
	{0, 0xfedfffff}, {0xfef00000, 0xfcffffffff}, {0x10000000000, UINT64_MAX}};
static const struct iova_range smmuv3[] = {{0, 0x7ffffff}, {0x8100000, (UINT64_C(1) << 48) - 1}};
static const struct iova_range all[] = {{0, UINT64_MAX}};

static const struct {
	const struct iova_range *ranges;
	size_t count;
} hosts[] = {
	{vtd, ARRAY_SIZE(vtd)},
	{amdvi, ARRAY_SIZE(amdvi)},
	{smmuv3, ARRAY_SIZE(smmuv3)},
	{all, ARRAY_SIZE(all)},
};

static struct iova_alloc *alloc_of(const struct iova_range *ranges, size_t count, uint64_t granule)
{
	struct iova_alloc *a = iova_alloc_new(ranges, count, granule);

	ck_assert_ptr_nonnull(a);
	return a;
}

static uint64_t must_take(struct iova_alloc *a, uint64_t len, uint64_t align, uint64_t max_addr)
{
	uint64_t iova = 0;
	int rc = iova_take(a, &(struct iova_request){len, align, max_addr}, &iova);

	ck_assert_msg(rc == 0, "%#lx bytes aligned to %#lx below %#lx: %d", (unsigned long)len,
		(unsigned long)align, (unsigned long)max_addr, rc);
	return iova;
}

static int try_take(struct iova_alloc *a, uint64_t len, uint64_t align, uint64_t max_addr)
{
	uint64_t iova;

	return iova_take(a, &(struct iova_request){len, align, max_addr}, &iova);
}

START_TEST(masks_are_of_so_many_bits)
{
	ck_assert_uint_eq(iova_mask(1), 1);
	ck_assert_uint_eq(iova_mask(28), 0xfffffff);
	ck_assert_uint_eq(iova_mask(32), 0xffffffff);
	ck_assert_uint_eq(iova_mask(64), UINT64_MAX);
}
END_TEST

START_TEST(narrow_devices_get_their_addresses_and_leave_the_low_ones)
{
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		auto_iova_alloc struct iova_alloc *a =
			alloc_of(hosts[i].ranges, hosts[i].count, PAGE);
		uint64_t wide = must_take(a, 64 * MIB, 2 * MIB, NO_MASK);
		uint64_t mid = must_take(a, 64 * MIB, PAGE, iova_mask(32));
		uint64_t low = must_take(a, 64 * MIB, PAGE, iova_mask(28));

		ck_assert_uint_ge(wide, 4 * GIB);
		ck_assert_uint_eq(wide % (2 * MIB), 0);
		ck_assert_uint_lt(mid + 64 * MIB - 1, 4 * GIB);
		ck_assert_uint_gt(mid, iova_mask(28));
		ck_assert_uint_lt(low + 64 * MIB - 1, 1 << 28);
		ck_assert(iova_in_ranges(hosts[i].ranges, hosts[i].count, low, 64 * MIB));
		ck_assert(iova_in_ranges(hosts[i].ranges, hosts[i].count, mid, 64 * MIB));
		ck_assert(iova_in_ranges(hosts[i].ranges, hosts[i].count, wide, 64 * MIB));
	}
}
END_TEST

START_TEST(exactly_what_is_there_fits_and_a_page_more_does_not)
{
	auto_iova_alloc struct iova_alloc *a = alloc_of(smmuv3, ARRAY_SIZE(smmuv3), PAGE);

	/* Address 0 is not given, so below the hole a page less than 128 MiB. */
	ck_assert_int_eq(try_take(a, 128 * MIB, PAGE, iova_mask(27)), -ENOSPC);
	ck_assert_uint_eq(must_take(a, 128 * MIB - PAGE, PAGE, iova_mask(27)), PAGE);
	ck_assert_int_eq(try_take(a, PAGE, PAGE, iova_mask(27)), -ENOSPC);
	ck_assert_uint_eq(must_take(a, 127 * MIB, PAGE, iova_mask(28)), 0x8100000);
	ck_assert_int_eq(try_take(a, 1, 1, iova_mask(28)), -ENOSPC);
	ck_assert_int_eq(iova_give(a, 0x9000000, PAGE), 0);
	ck_assert_int_eq(try_take(a, PAGE + 1, 1, iova_mask(28)), -ENOSPC);
	ck_assert_uint_eq(must_take(a, PAGE, PAGE, iova_mask(28)), 0x9000000);
}
END_TEST

START_TEST(the_last_byte_of_all_can_be_had)
{
	auto_iova_alloc struct iova_alloc *a = alloc_of(all, ARRAY_SIZE(all), PAGE);
	struct iova_range rest;

	ck_assert_int_eq(iova_take_at(a, UINT64_MAX - (PAGE - 1), PAGE), 0);
	ck_assert_int_eq(iova_take_at(a, UINT64_MAX - (PAGE - 1), PAGE), -ENOSPC);
	ck_assert_int_eq(iova_take_at(a, UINT64_MAX - (PAGE - 1), 2 * PAGE), -EINVAL);
	ck_assert_int_eq(try_take(a, UINT64_MAX, 1, NO_MASK), -EINVAL);
	ck_assert_uint_eq(iova_free_count(a), 1);
	rest = iova_free_range(a, 0);
	ck_assert_uint_eq(rest.last, UINT64_MAX - PAGE);
	must_take(a, UINT64_MAX - 2 * PAGE + 1, 1, NO_MASK); /* all the rest, but for address 0 */
	ck_assert_int_eq(try_take(a, 1, 1, NO_MASK), -ENOSPC);
	ck_assert_int_eq(iova_take_at(a, 0, PAGE), 0);
	ck_assert_uint_eq(iova_free_count(a), 0);
}
END_TEST

START_TEST(nonsense_is_refused)
{
	auto_iova_alloc struct iova_alloc *a = alloc_of(vtd, ARRAY_SIZE(vtd), PAGE);

	ck_assert_int_eq(try_take(a, 0, PAGE, NO_MASK), -EINVAL);
	ck_assert_int_eq(try_take(a, PAGE, 3 * PAGE, NO_MASK), -EINVAL);
	ck_assert_int_eq(iova_take_at(a, 1, PAGE), -EINVAL);
	ck_assert_int_eq(iova_take_at(a, PAGE, PAGE + 1), -EINVAL);
	ck_assert_int_eq(iova_take_at(a, PAGE, 0), -EINVAL);
	ck_assert_int_eq(iova_take_at(a, 0xfedff000, 2 * PAGE), -ENOSPC); /* into the hole */
	ck_assert_int_eq(iova_give(a, PAGE, PAGE), -EINVAL);              /* not taken */
	ck_assert_int_eq(iova_take_at(a, PAGE, PAGE), 0);
	ck_assert_int_eq(iova_give(a, PAGE, 2 * PAGE), -EINVAL);
	ck_assert_int_eq(iova_give(a, PAGE, PAGE), 0);
	ck_assert_int_eq(iova_give(a, PAGE, PAGE), -EINVAL);
}
END_TEST

START_TEST(ranges_are_cut_to_whole_granules_and_joined)
{
	static const struct iova_range odd[] = {{0x9000, 0x8fff}, /* empty */
		{0x8000, 0x9fff}, {0x4001, 0x5fff}, {0x6000, 0x7ffe}, {0x7fff, 0x7fff}, {0, 0xffe}};
	auto_iova_alloc struct iova_alloc *a = alloc_of(odd, ARRAY_SIZE(odd), PAGE);
	auto_iova_alloc struct iova_alloc *b = alloc_of(odd, ARRAY_SIZE(odd), 4 * PAGE);
	struct iova_range r;

	ck_assert_uint_eq(iova_free_count(a), 1);
	r = iova_free_range(a, 0);
	ck_assert_uint_eq(r.first, 0x5000);
	ck_assert_uint_eq(r.last, 0x9fff);
	ck_assert_uint_eq(iova_free_count(b), 0); /* [0x8000, 0xbfff] is not all there */
}
END_TEST

START_TEST(a_hole_that_comes_later_is_not_given_again)
{
	auto_iova_alloc struct iova_alloc *a = alloc_of(all, ARRAY_SIZE(all), PAGE);

	ck_assert_int_eq(iova_take_at(a, 0x8000000 - PAGE, 4 * PAGE), 0);
	ck_assert_int_eq(iova_set_valid(a, smmuv3, ARRAY_SIZE(smmuv3)), 0);
	ck_assert_int_eq(iova_give(a, 0x8000000 - PAGE, 4 * PAGE), 0);
	ck_assert_uint_eq(iova_free_count(a), 2);
	ck_assert_uint_eq(iova_free_range(a, 0).last, 0x7ffffff);
	ck_assert_uint_eq(iova_free_range(a, 1).first, 0x8100000);
}
END_TEST

/* --- the model -------------------------------------------------------------------------------- */

/* Pages in three places where carries and limits are: at 0, around 4 GiB, at the end of all. */
#define WINDOW 24
#define PAGES  (3 * WINDOW)

/* A check that costs nothing while it holds: libcheck's make a system call each. */
#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg("not so: %s", #condition);                                    \
	} while (0)

struct model {
	bool valid[PAGES], taken[PAGES];
};

static uint64_t page_addr(unsigned int i)
{
	static const uint64_t base[] = {
		0, 4 * GIB - WINDOW / 2 * PAGE, UINT64_MAX - (WINDOW * PAGE - 1)};

	return base[i / WINDOW] + i % WINDOW * PAGE;
}

static bool model_fits(const struct model *m, unsigned int begin, unsigned int pages,
	const struct iova_request *want)
{
	if (begin % WINDOW + pages > WINDOW || page_addr(begin) % want->align_bytes)
		return false;
	for (unsigned int i = begin; i < begin + pages; i++)
		if (!m->valid[i] || m->taken[i] || page_addr(i) + (PAGE - 1) > want->max_addr)
			return false;
	return true;
}

/* The index of the page where the allocator has to put it, or -1. */
static int model_place(const struct model *m, unsigned int pages, const struct iova_request *want)
{
	for (int i = 0; i < PAGES; i++)
		if (page_addr(i) >= 4 * GIB && model_fits(m, i, pages, want))
			return i;
	for (int i = PAGES - 1; i > 0; i--)
		if (model_fits(m, i, pages, want))
			return i;
	return -1;
}

static void model_mark(struct model *m, unsigned int begin, unsigned int pages, bool taken)
{
	for (unsigned int i = begin; i < begin + pages; i++)
		m->taken[i] = taken;
}

/* The allocator's free pieces are the model's, and none touches the next. */
static void compare(const struct iova_alloc *a, const struct model *m)
{
	size_t next = 0;

	for (unsigned int i = 0; i < PAGES; i++) {
		bool is_free = m->valid[i] && !m->taken[i];
		bool begins = i % WINDOW == 0 || !m->valid[i - 1] || m->taken[i - 1];
		bool ends = (i + 1) % WINDOW == 0 || !m->valid[i + 1] || m->taken[i + 1];

		if (is_free && begins) {
			must(next < iova_free_count(a));
			must(iova_free_range(a, next).first == page_addr(i));
		}
		if (is_free && ends)
			must(iova_free_range(a, next++).last == page_addr(i) + (PAGE - 1));
	}
	must(next == iova_free_count(a));
}

static void random_take(struct iova_alloc *a, struct model *m)
{
	static const unsigned int masks[] = {12, 13, 15, 16, 28, 32, 33, 48, 64};
	unsigned int pages = 1 + rand() % 6;
	struct iova_request want = {
		.len_bytes = pages * PAGE - rand() % PAGE,
		.align_bytes = PAGE << rand() % 4,
		.max_addr = iova_mask(masks[rand() % ARRAY_SIZE(masks)]),
	};
	int place = model_place(m, pages, &want);
	uint64_t iova;
	int rc = iova_take(a, &want, &iova);

	must(rc == (place < 0 ? -ENOSPC : 0));
	if (place < 0)
		return;
	must(iova == page_addr(place));
	model_mark(m, place, pages, true);
}

/* A random piece within one window. */
static unsigned int random_piece(unsigned int *begin)
{
	*begin = rand() % PAGES;
	return 1 + rand() % (WINDOW - *begin % WINDOW);
}

static void random_take_at(struct iova_alloc *a, struct model *m)
{
	unsigned int begin, pages = random_piece(&begin);
	const struct iova_request anywhere = {.align_bytes = PAGE, .max_addr = NO_MASK};
	bool fits = model_fits(m, begin, pages, &anywhere);

	must(iova_take_at(a, page_addr(begin), pages * PAGE) == (fits ? 0 : -ENOSPC));
	if (fits)
		model_mark(m, begin, pages, true);
}

static void random_give(struct iova_alloc *a, struct model *m)
{
	unsigned int begin, pages = random_piece(&begin);
	bool ours = true;

	for (unsigned int i = begin; i < begin + pages; i++)
		ours = ours && m->taken[i];
	must(iova_give(a, page_addr(begin), pages * PAGE) == (ours ? 0 : -EINVAL));
	if (ours)
		model_mark(m, begin, pages, false);
}

static void random_valid(struct iova_alloc *a, struct model *m)
{
	struct iova_range ranges[PAGES];
	size_t count = 0;

	for (unsigned int i = 0; i < PAGES; i++) {
		m->valid[i] = rand() % 8 > 0;
		if (m->valid[i])
			ranges[count++] =
				(struct iova_range){page_addr(i), page_addr(i) + (PAGE - 1)};
	}
	for (size_t i = 0; i < count; i++) {
		size_t other = rand() % count;
		struct iova_range was = ranges[i];

		ranges[i] = ranges[other];
		ranges[other] = was;
	}
	ck_assert_int_eq(iova_set_valid(a, ranges, count), 0);
}

START_TEST(it_does_as_the_model)
{
	static void (*const acts[])(struct iova_alloc *, struct model *) = {random_take,
		random_take, random_take, random_take_at, random_give, random_give, random_give};

	for (unsigned int seed = 1; seed <= 60; seed++) {
		auto_iova_alloc struct iova_alloc *a = alloc_of(NULL, 0, PAGE);
		struct model m = {0};

		srand(seed);
		random_valid(a, &m);
		for (int i = 0; i < 2000; i++) {
			if (rand() % 200 == 0)
				random_valid(a, &m);
			acts[rand() % ARRAY_SIZE(acts)](a, &m);
			compare(a, &m);
		}
	}
}
END_TEST

START_TEST(all_given_back_is_as_at_the_beginning)
{
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		auto_iova_alloc struct iova_alloc *a =
			alloc_of(hosts[i].ranges, hosts[i].count, PAGE);
		uint64_t taken[256];

		srand(7);
		for (size_t k = 0; k < ARRAY_SIZE(taken); k++)
			taken[k] = must_take(a, (k % 9 + 1) * PAGE, PAGE << k % 5,
				iova_mask(k % 3 ? 64 : 28 + k % 12));
		for (size_t k = 0, at = 0; k < ARRAY_SIZE(taken); k++) {
			at = (at + 101) % ARRAY_SIZE(taken); /* 101 is prime: each once */
			ck_assert_int_eq(iova_give(a, taken[at], (at % 9 + 1) * PAGE), 0);
		}
		ck_assert_uint_eq(iova_free_count(a), hosts[i].count);
		for (size_t k = 0; k < hosts[i].count; k++) {
			ck_assert_uint_eq(iova_free_range(a, k).first, hosts[i].ranges[k].first);
			ck_assert_uint_eq(iova_free_range(a, k).last, hosts[i].ranges[k].last);
		}
	}
}
END_TEST

UNIT_MAIN(masks_are_of_so_many_bits, narrow_devices_get_their_addresses_and_leave_the_low_ones,
	exactly_what_is_there_fits_and_a_page_more_does_not, the_last_byte_of_all_can_be_had,
	nonsense_is_refused, ranges_are_cut_to_whole_granules_and_joined,
	a_hole_that_comes_later_is_not_given_again, it_does_as_the_model,
	all_given_back_is_as_at_the_beginning)
