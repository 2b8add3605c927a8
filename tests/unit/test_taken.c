/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/backends/taken: what one device process left in flight is replayed by another one that has a
 * region of its own, made from a list: each request once, in the order of fetching, and then
 * what is new.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/backends/inflight.h"
#include "lib/backends/taken.h"
#include "lib/cleanup.h"
#include "tests/unit/driver.h"
#include "tests/unit/unit.h"

#define DATA    (GUEST_BASE + 0x10000)
#define ENTRIES 8u
#define NONE    99u

struct world {
	struct driver driver;
	struct device device;
	struct taken_region region;
	int fd;
};

static void add(struct world *w, unsigned int n)
{
	const struct driver_buf bufs[] = {
		{DATA + n * 0x100ull, 16 + n}, {DATA + 0x8000 + n * 0x100ull, 16}};

	*(uint8_t *)driver_host(&w->driver, bufs[0].gpa) = (uint8_t)(0x40 + n);
	ck_assert_int_ge(driver_add(&w->driver, bufs, 1, 1, 0), 0);
}

static void world_open(struct world *w, bool packed, uint16_t begin)
{
	memset(w, 0, sizeof(*w));
	driver_open(&w->driver, (struct driver_options){.size = ENTRIES, .packed = packed});
	driver_begin_at(&w->driver, begin);
	w->region = (struct taken_region){
		.size = inflight_region_size(1, ENTRIES, packed),
		.queues = 1,
		.queue_size = ENTRIES,
		.packed = packed,
	};
	w->fd = inflight_memfd(&w->driver);
	device_start(&w->device, &w->driver, w->fd, false);
}

static void world_close(struct world *w)
{
	device_close(&w->device);
	driver_close(&w->driver);
	close(w->fd);
}

static int collect(struct world *w, struct taken *t, struct taken_position *at, struct err *e)
{
	auto_free void *bytes = taken_read_region(w->fd, &w->region, e);

	return bytes ? taken_collect(t, &w->region, bytes, 0, ENTRIES, at, e) : -1;
}

/* Another device process, on another host: the guest's memory, and a region made from the list. */
static void move(struct world *w, const struct taken *t, uint32_t base)
{
	struct virtq_config cfg = driver_config(&w->driver);
	struct err e = ERR_INIT;
	void *bytes;

	device_close(&w->device);
	close(w->fd);
	w->fd = inflight_memfd(&w->driver);
	bytes = mmap(NULL, w->region.size, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	ck_assert_ptr_ne(bytes, MAP_FAILED);
	ck_assert_msg(taken_mark(t, &w->region, bytes, 0, base, &e) == 0, "%s", e.msg);
	munmap(bytes, w->region.size);
	cfg.base = base;
	ck_assert_msg(device_open(&w->device, &w->driver, &cfg, w->fd, &e) == 0, "%s", e.msg);
}

static void expect_next(struct world *w, unsigned int n, bool replayed)
{
	struct virtq_chain *chain = virtq_pop(w->device.q);

	ck_assert_ptr_nonnull(chain);
	ck_assert_uint_eq(chain->out_len, 16 + n);
	ck_assert_uint_eq(*(uint8_t *)chain->iov[0].iov_base, 0x40 + n);
	ck_assert_int_eq(chain->replayed, replayed);
	virtq_push(w->device.q, chain, 16);
}

/* Requests 0, 1, 2 are taken, and of them `done` (or none) is completed; they move; 3 is new. */
static void leave_and_move(bool packed, uint16_t begin, unsigned int done)
{
	struct taken t = {0}, again = {0};
	struct taken_position at;
	struct virtq_chain *chain[3];
	struct err e = ERR_INIT;
	struct world w;
	int list;

	world_open(&w, packed, begin);
	for (unsigned int n = 0; n < 3; n++)
		add(&w, n);
	for (unsigned int n = 0; n < 3; n++)
		chain[n] = virtq_pop(w.device.q);
	if (done != NONE) {
		virtq_push(w.device.q, chain[done], 16);
		virtq_publish(w.device.q);
	}
	ck_assert_msg(collect(&w, &t, &at, &e) == 1, "%s", e.msg);
	ck_assert_uint_eq(t.request_count, done == NONE ? 3 : 2);
	ck_assert_uint_eq(taken_base(&at, packed), virtq_base(w.device.q));
	list = taken_to_fd(&t, &e);
	ck_assert_msg(list >= 0 && taken_from_fd(&again, list, &e) == 0, "%s", e.msg);
	close(list);
	move(&w, &again, taken_base(&at, packed));
	add(&w, 3);
	for (unsigned int n = 0; n < 4; n++)
		if (n != done)
			expect_next(&w, n, n < 3);
	ck_assert_ptr_null(virtq_pop(w.device.q));
	virtq_publish(w.device.q);
	for (unsigned int n = 0; n < 4; n++) {
		uint32_t len;
		uint16_t id;

		ck_assert(driver_take(&w.driver, &id, &len)); /* each once, says the driver */
	}
	taken_release(&t);
	taken_release(&again);
	world_close(&w);
}

START_TEST(moved_and_replayed_once_in_order)
{
	static const unsigned int done[] = {0, 1, 2, NONE};

	for (uint16_t begin = 0; begin < ENTRIES; begin++)
		for (unsigned int i = 0; i < ARRAY_SIZE(done); i++) {
			leave_and_move(true, begin, done[i]);
			leave_and_move(false, (uint16_t)(65530 + begin), done[i]);
		}
}
END_TEST

START_TEST(nothing_in_flight_is_left_fresh)
{
	for (int packed = 0; packed < 2; packed++) {
		struct taken t = {0};
		struct taken_position at;
		struct err e = ERR_INIT;
		struct world w;

		world_open(&w, packed, 5);
		add(&w, 0);
		device_serve(&w.device);
		ck_assert_int_eq(collect(&w, &t, &at, &e), 1);
		ck_assert_uint_eq(t.request_count, 0);
		ck_assert_uint_eq(taken_base(&at, packed), virtq_base(w.device.q));
		move(&w, &t, taken_base(&at, packed));
		add(&w, 1);
		expect_next(&w, 1, false);
		taken_release(&t);
		world_close(&w);
	}
}
END_TEST

START_TEST(bases_and_positions_are_one)
{
	const uint32_t bases[] = {0, 1, 0x8000, 0x80008000, 0x80000003, 0x7fff7fff, 0xffffffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(bases); i++) {
		struct taken_position at = taken_position_of_base(bases[i], true);

		ck_assert_uint_eq(taken_base(&at, true), bases[i]);
		at = taken_position_of_base(bases[i], false);
		ck_assert_uint_eq(taken_base(&at, false), bases[i] & 0xffff);
	}
}
END_TEST

/* --- what is not to be believed --------------------------------------------------------------- */

static void poke(struct world *w, size_t at, uint8_t value)
{
	ck_assert_int_eq(pwrite(w->fd, &value, 1, (off_t)at), 1);
}

static void expect_bad(bool packed, size_t at, uint8_t value)
{
	struct taken t = {0};
	struct taken_position pos;
	struct err e = ERR_INIT;
	struct world w;

	world_open(&w, packed, 0);
	add(&w, 0);
	ck_assert_ptr_nonnull(virtq_pop(w.device.q));
	poke(&w, at, value);
	ck_assert_msg(collect(&w, &t, &pos, &e) == -1, "packed %d, byte %zu", packed, at);
	ck_assert_ptr_nonnull(strstr(e.msg, "in-flight region"));
	taken_release(&t);
	world_close(&w);
}

START_TEST(regions_are_not_believed)
{
	expect_bad(false, 8, 2);  /* version */
	expect_bad(false, 10, 9); /* desc_num */
	expect_bad(true, 8, 2);
	expect_bad(true, 16, 8);     /* used_idx: beyond the ring */
	expect_bad(true, 16, 1);     /* half done: not old_used_idx */
	expect_bad(true, 20, 2);     /* wrap counter */
	expect_bad(true, 12, 7);     /* half done: not old_free_head */
	expect_bad(true, 32 + 6, 0); /* no descriptors */
	expect_bad(true, 32 + 6, 9); /* more than the ring has */
	expect_bad(true, 32 + 3, 1); /* the first leads beyond */
}
END_TEST

START_TEST(regions_are_memory_and_whole)
{
	struct taken_region region = {.size = 1 << 20, .queues = 1, .queue_size = 8};
	FILE *file = tmpfile();
	struct err e = ERR_INIT;
	struct world w;

	ck_assert_ptr_null(taken_read_region(fileno(file), &region, &e));
	fclose(file);
	world_open(&w, false, 0);
	region.offset = 1;
	ck_assert_ptr_null(taken_read_region(w.fd, &region, &e));
	region.offset = UINT64_MAX;
	ck_assert_ptr_null(taken_read_region(w.fd, &region, &e));
	region.offset = 0;
	region.size = 10;
	ck_assert_ptr_null(taken_read_region(w.fd, &region, &e));
	world_close(&w);
}
END_TEST

START_TEST(what_does_not_fit_is_not_marked)
{
	const struct taken_region region = {.size = 4096, .queues = 1, .queue_size = 4};
	struct taken_request rq[5] = {{.head = 4}};
	struct taken t = {.requests = rq, .request_count = 1};
	uint8_t bytes[4096] = {0}, before[4096] = {0};

	t.descs = (struct taken_desc[1]){{0}};
	ck_assert_int_eq(taken_mark(&t, &region, bytes, 0, 1, NULL), -1);
	rq[0].head = 3;
	rq[0].descs = 1; /* of a split ring */
	ck_assert_int_eq(taken_mark(&t, &region, bytes, 0, 1, NULL), -1);
	t.request_count = 5;
	rq[0].descs = 0;
	ck_assert_int_eq(taken_mark(&t, &region, bytes, 0, 5, NULL), -1);
	ck_assert_mem_eq(bytes, before, sizeof(bytes));
	t.request_count = 1;
	ck_assert_int_eq(taken_mark(&t, &region, bytes, 0, 1, NULL), 0);
	ck_assert_mem_ne(bytes, before, sizeof(bytes));
}
END_TEST

UNIT_MAIN(moved_and_replayed_once_in_order, nothing_in_flight_is_left_fresh,
	bases_and_positions_are_one, regions_are_not_believed, regions_are_memory_and_whole,
	what_does_not_fit_is_not_marked)
