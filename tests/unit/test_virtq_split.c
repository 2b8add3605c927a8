/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/backends/virtq_split: what a good driver gets, and what a bad one does not. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/driver.h"
#include "tests/unit/unit.h"

#define DATA (GUEST_BASE + 0x10000)

struct rig {
	struct driver driver;
	struct device device;
	int inflight_fd;
};

static void rig_open(struct rig *r, struct driver_options opt)
{
	driver_open(&r->driver, opt);
	r->inflight_fd = inflight_memfd(&r->driver);
	device_start(&r->device, &r->driver, r->inflight_fd, false);
}

static void rig_close(struct rig *r)
{
	device_close(&r->device);
	driver_close(&r->driver);
	close(r->inflight_fd);
}

static void expect_broken(struct rig *r, const char *words)
{
	ck_assert_ptr_null(virtq_pop(r->device.q));
	ck_assert_ptr_nonnull(virtq_broken(r->device.q));
	ck_assert_msg(strstr(virtq_broken(r->device.q), words), "\"%s\" lacks \"%s\"",
		virtq_broken(r->device.q), words);
	ck_assert(!virtq_has_work(r->device.q));
	rig_close(r);
}

/* Puts one descriptor chain of `head` into the avail ring without any check. */
static void offer(struct rig *r, uint16_t head)
{
	struct driver *d = &r->driver;

	d->avail->ring[d->pos % d->opt.size] = head;
	d->avail->idx = ++d->pos;
}

START_TEST(a_request_goes_through)
{
	struct driver_buf bufs[] = {{DATA, 16}, {DATA + 0x1000, 4096}, {DATA + 0x3000, 1}};
	struct virtq_chain *chain;
	uint32_t len;
	uint16_t id;
	struct rig r;
	int head;

	rig_open(&r, (struct driver_options){.size = 8});
	ck_assert_ptr_null(virtq_pop(r.device.q));
	ck_assert(!virtq_has_work(r.device.q));
	head = driver_add(&r.driver, bufs, 1, 2, 0);
	ck_assert(virtq_has_work(r.device.q));
	chain = virtq_pop(r.device.q);
	ck_assert_ptr_nonnull(chain);
	ck_assert_int_eq(chain->id, head);
	ck_assert_uint_eq(chain->desc_count, 3);
	ck_assert_uint_eq(chain->out_count, 1);
	ck_assert_uint_eq(chain->in_count, 2);
	ck_assert_uint_eq(chain->out_len, 16);
	ck_assert_uint_eq(chain->in_len, 4097);
	ck_assert(!chain->replayed);
	memcpy(chain->iov[1].iov_base, "seen by the guest", 18);
	ck_assert_uint_eq(virtq_in_flight(r.device.q), 1);
	virtq_push(r.device.q, chain, 4097);
	ck_assert(!driver_take(&r.driver, &id, &len));
	ck_assert(virtq_publish(r.device.q));
	ck_assert(driver_take(&r.driver, &id, &len));
	ck_assert_int_eq(id, head);
	ck_assert_uint_eq(len, 4097);
	ck_assert_str_eq(driver_host(&r.driver, DATA + 0x1000), "seen by the guest");
	ck_assert_uint_eq(virtq_in_flight(r.device.q), 0);
	ck_assert_uint_eq(virtq_base(r.device.q), 1);
	rig_close(&r);
}
END_TEST

START_TEST(buffers_cross_the_seam_of_two_regions)
{
	struct driver_buf bufs[] = {{GUEST_SEAM - 100, 300}};
	struct virtq_chain *chain;
	struct rig r;

	rig_open(&r, (struct driver_options){.size = 8});
	driver_add(&r.driver, bufs, 0, 1, 0);
	chain = virtq_pop(r.device.q);
	ck_assert_ptr_nonnull(chain);
	ck_assert_uint_eq(chain->in_count, 2);
	ck_assert_uint_eq(chain->iov[0].iov_len, 100);
	ck_assert_uint_eq(chain->iov[1].iov_len, 200);
	ck_assert_uint_eq(chain->desc_count, 1);
	rig_close(&r);
}
END_TEST

START_TEST(indirect_tables_are_followed)
{
	struct driver_buf bufs[] = {{DATA, 16}, {DATA + 0x1000, 512}, {DATA + 0x3000, 1}};
	/* In one place, and across the seam. */
	const uint64_t tables[] = {DATA + 0x8000, GUEST_SEAM - 16};
	struct virtq_chain *chain;
	struct rig r;

	rig_open(&r, (struct driver_options){.size = 8, .indirect = true});
	for (unsigned int i = 0; i < ARRAY_SIZE(tables); i++) {
		if (i == 1) { /* the driver's own writes cannot cross, so it is put together */
			struct raw_desc t[3] = {
				{DATA, 16, DESC_NEXT, 1},
				{DATA + 0x1000, 512, DESC_NEXT | DESC_WRITE, 2},
				{DATA + 0x3000, 1, DESC_WRITE, 0},
			};

			memcpy(driver_host(&r.driver, tables[i]), &t[0], 16);
			memcpy(driver_host(&r.driver, GUEST_SEAM), &t[1], 32);
			r.driver.desc[5] = (struct raw_desc){tables[i], 48, DESC_INDIRECT, 0};
			offer(&r, 5);
		} else {
			driver_add(&r.driver, bufs, 1, 2, tables[i]);
		}
		chain = virtq_pop(r.device.q);
		ck_assert_msg(chain, "%s", virtq_broken(r.device.q));
		ck_assert_uint_eq(chain->desc_count, 1);
		ck_assert_uint_eq(chain->out_count, 1);
		ck_assert_uint_eq(chain->in_count, 2);
		ck_assert_uint_eq(chain->in_len, 513);
	}
	rig_close(&r);
}
END_TEST

/* A chain that breaks one rule, laid out from descriptor 0 on, and what is said about it. */
struct bad_chain {
	const char *words;
	struct raw_desc desc[4];
	struct raw_desc table[4]; /* at DATA */
	uint16_t head;
	bool no_indirect;
};

static const struct bad_chain bad_chains[] = {
	{"head 8 in a ring of 8", {{0}}, {{0}}, 8, false},
	{"head 65535", {{0}}, {{0}}, 65535, false},
	{"descriptor 8 in a ring of 8", {{DATA, 1, DESC_NEXT, 8}}, {{0}}, 0, false},
	{"a loop in the chain", {{DATA, 1, DESC_NEXT, 0}}, {{0}}, 0, false},
	{"a loop in the chain", {{DATA, 1, DESC_NEXT, 1}, {DATA, 1, DESC_NEXT, 0}}, {{0}}, 0,
		false},
	{"has no length", {{DATA, 0, 0, 0}}, {{0}}, 0, false},
	{"has no length", {{0x10, 0, DESC_WRITE, 0}}, {{0}}, 0, false},
	{"outside guest memory", {{GUEST_BASE - 1, 1, 0, 0}}, {{0}}, 0, false},
	{"outside guest memory", {{GUEST_END - 1, 2, 0, 0}}, {{0}}, 0, false},
	{"outside guest memory", {{UINT64_MAX, 2, 0, 0}}, {{0}}, 0, false},
	{"outside guest memory", {{DATA, 0xffffffff, 0, 0}}, {{0}}, 0, false},
	{"readable buffer after", {{DATA, 1, DESC_NEXT | DESC_WRITE, 1}, {DATA, 1, 0, 0}}, {{0}}, 0,
		false},
	{"not negotiated", {{DATA, 16, DESC_INDIRECT, 0}}, {{DATA, 1, 0, 0}}, 0, true},
	{"indirect and has a next", {{DATA, 16, DESC_INDIRECT | DESC_NEXT, 1}}, {{DATA, 1, 0, 0}},
		0, false},
	{"table of 0 bytes", {{DATA, 0, DESC_INDIRECT, 0}}, {{0}}, 0, false},
	{"table of 15 bytes", {{DATA, 15, DESC_INDIRECT, 0}}, {{0}}, 0, false},
	{"table of 17 bytes", {{DATA, 17, DESC_INDIRECT, 0}}, {{0}}, 0, false},
	{"table of 133 entries", {{DATA, 133 * 16, DESC_INDIRECT, 0}}, {{0}}, 0, false},
	{"table of 65537 entries", {{DATA, 0x100010, DESC_INDIRECT, 0}}, {{0}}, 0, false},
	{"is outside guest memory", {{GUEST_END - 16, 32, DESC_INDIRECT, 0}}, {{0}}, 0, false},
	{"within an indirect table", {{DATA, 16, DESC_INDIRECT, 0}}, {{DATA, 16, DESC_INDIRECT, 0}},
		0, false},
	{"entry 2 in an indirect table of 2", {{DATA, 32, DESC_INDIRECT, 0}},
		{{DATA, 1, DESC_NEXT, 2}}, 0, false},
	{"a loop in an indirect table", {{DATA, 32, DESC_INDIRECT, 0}},
		{{DATA, 1, DESC_NEXT, 1}, {DATA, 1, DESC_NEXT, 0}}, 0, false},
};

START_TEST(bad_chains_break_the_ring)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(bad_chains); i++) {
		const struct bad_chain *bad = &bad_chains[i];
		struct rig r;

		rig_open(&r, (struct driver_options){.size = 8, .indirect = !bad->no_indirect});
		memcpy(r.driver.desc, bad->desc, sizeof(bad->desc));
		memcpy(driver_host(&r.driver, DATA), bad->table, sizeof(bad->table));
		offer(&r, bad->head);
		expect_broken(&r, bad->words);
	}
}
END_TEST

START_TEST(most_buffers_are_exact)
{
	struct raw_desc *table;
	struct virtq_chain *chain;

	for (unsigned int n = VIRTQ_CHAIN_IOV - 1; n <= VIRTQ_CHAIN_IOV; n++) {
		struct rig r;

		/* The last buffer crosses the seam, and takes two entries. */
		rig_open(&r, (struct driver_options){.size = 8, .indirect = true});
		table = driver_host(&r.driver, DATA);
		for (unsigned int i = 0; i < n; i++)
			table[i] = (struct raw_desc){DATA, 1, DESC_NEXT, (uint16_t)(i + 1)};
		table[n - 1] = (struct raw_desc){GUEST_SEAM - 1, 2, 0, 0};
		r.driver.desc[0] = (struct raw_desc){DATA, n * 16, DESC_INDIRECT, 0};
		offer(&r, 0);
		if (n == VIRTQ_CHAIN_IOV) {
			expect_broken(&r, "more than 132 buffers");
			continue;
		}
		chain = virtq_pop(r.device.q);
		ck_assert_ptr_nonnull(chain);
		ck_assert_uint_eq(chain->out_count, VIRTQ_CHAIN_IOV);
		rig_close(&r);
	}
}
END_TEST

START_TEST(avail_index_may_be_size_ahead_and_no_more)
{
	struct driver_buf buf = {DATA, 1};
	struct rig r;

	rig_open(&r, (struct driver_options){.size = 8});
	for (int i = 0; i < 8; i++)
		ck_assert_int_ge(driver_add(&r.driver, &buf, 1, 0, 0), 0);
	ck_assert_int_eq(driver_add(&r.driver, &buf, 1, 0, 0), -1);
	for (int i = 0; i < 8; i++)
		ck_assert_ptr_nonnull(virtq_pop(r.device.q));
	ck_assert_ptr_null(virtq_pop(r.device.q));
	ck_assert_ptr_null(virtq_broken(r.device.q));
	ck_assert_uint_eq(virtq_in_flight(r.device.q), 8);
	rig_close(&r);

	rig_open(&r, (struct driver_options){.size = 8});
	r.driver.avail->idx = 9;
	expect_broken(&r, "9 ahead");

	rig_open(&r, (struct driver_options){.size = 8});
	r.driver.avail->idx = 0xffff; /* back */
	expect_broken(&r, "65535 ahead");
}
END_TEST

START_TEST(a_head_in_flight_is_not_taken_again)
{
	struct driver_buf buf = {DATA, 1};
	struct virtq_chain *chain;
	struct rig r;
	uint32_t len;
	uint16_t id;

	rig_open(&r, (struct driver_options){.size = 8});
	offer(&r, (uint16_t)driver_add(&r.driver, &buf, 1, 0, 0));
	chain = virtq_pop(r.device.q);
	ck_assert_ptr_nonnull(chain);
	ck_assert_ptr_null(virtq_pop(r.device.q));
	ck_assert_ptr_nonnull(strstr(virtq_broken(r.device.q), "again while in flight"));
	/* What was in flight still completes. */
	virtq_push(r.device.q, chain, 0);
	virtq_publish(r.device.q);
	ck_assert(driver_take(&r.driver, &id, &len));
	ck_assert_uint_eq(virtq_in_flight(r.device.q), 0);
	rig_close(&r);
}
END_TEST

START_TEST(rings_outside_memory_are_refused)
{
	struct driver d;
	int fd;

	driver_open(&d, (struct driver_options){.size = 8});
	fd = inflight_memfd(&d);
	for (int i = 0; i < 8; i++) {
		struct virtq_config cfg = driver_config(&d);
		struct err e = ERR_INIT;
		struct device dev;
		uint64_t end = GUEST_UVA + GUEST_HALF + GUEST_HALF;
		uint64_t bad[] = {0, end - 16, UINT64_MAX - 15, end};

		if (i < 4)
			cfg.desc_uva = bad[i];
		else if (i < 6)
			cfg.avail_uva = i == 4 ? end - 8 : cfg.avail_uva + 1;
		else
			cfg.used_uva = i == 6 ? end - 64 : cfg.used_uva + 2;
		ck_assert_int_eq(device_open(&dev, &d, &cfg, fd, &e), -1);
		ck_assert_msg(strstr(e.msg, "ring 0:"), "%s", e.msg);
		device_close(&dev);
	}
	close(fd);
	driver_close(&d);
}
END_TEST

START_TEST(sizes_are_exact)
{
	const struct {
		uint16_t size;
		bool good;
	} sizes[] = {{0, false}, {1, true}, {2, true}, {3, false}, {1024, true}, {1025, false},
		{2048, false}, {32768, false}, {65535, false}};
	struct driver d;

	driver_open(&d, (struct driver_options){.size = 1024});
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct virtq_config cfg = driver_config(&d);
		struct err e = ERR_INIT;
		int fd = inflight_memfd(&d);
		struct device dev;

		cfg.size = sizes[i].size;
		ck_assert_int_eq(device_open(&dev, &d, &cfg, fd, &e), sizes[i].good ? 0 : -1);
		device_close(&dev);
		close(fd);
	}
	driver_close(&d);
}
END_TEST

START_TEST(calls_come_when_wanted)
{
	struct driver_buf buf = {DATA, 1};
	struct rig r;
	uint32_t len;
	uint16_t id;

	rig_open(&r, (struct driver_options){.size = 8});
	driver_call_never(&r.driver);
	for (int i = 0; i < 100; i++) {
		struct virtq_chain *chain;

		if (i == 50)
			driver_call_always(&r.driver);
		driver_add(&r.driver, &buf, 1, 0, 0);
		chain = virtq_pop(r.device.q);
		virtq_push(r.device.q, chain, 0);
		ck_assert(virtq_publish(r.device.q) == (i >= 50));
		ck_assert(!virtq_publish(r.device.q));
		ck_assert(driver_take(&r.driver, &id, &len));
	}
	rig_close(&r);
}
END_TEST

START_TEST(calls_come_at_the_event_index)
{
	struct driver_buf buf = {DATA, 1};
	uint16_t id, left = 0;
	struct rig r;
	uint32_t len;

	/* Around the 16 bits, in batches of all sizes, with the event at any place ahead. */
	rig_open(&r, (struct driver_options){.size = 16, .event_idx = true});
	for (unsigned int round = 0; round < 70000; round++) {
		uint16_t batch = round % 7 + 1;

		if (!left) {
			left = round % 23 + 1;
			driver_call_at(&r.driver, left - 1);
		}
		for (uint16_t i = 0; i < batch; i++) {
			driver_add(&r.driver, &buf, 1, 0, 0);
			virtq_push(r.device.q, virtq_pop(r.device.q), 0);
		}
		must(virtq_publish(r.device.q) == (left <= batch));
		left = left <= batch ? 0 : left - batch;
		while (driver_take(&r.driver, &id, &len))
			continue;
	}
	rig_close(&r);
}
END_TEST

/* A wish that becomes visible only after the device has looked: found by a second look, once. */
START_TEST(a_late_wish_for_a_call_is_found)
{
	struct driver_buf buf = {DATA, 1};
	struct rig r;
	uint32_t len;
	uint16_t id;

	rig_open(&r, (struct driver_options){.size = 16, .event_idx = true});
	for (unsigned int round = 0; round < 10000; round++) {
		uint16_t batch = round % 7 + 1;

		driver_call_at(&r.driver, 7);
		for (uint16_t i = 0; i < batch; i++) {
			driver_add(&r.driver, &buf, 1, 0, 0);
			virtq_push(r.device.q, virtq_pop(r.device.q), 0);
			must(!virtq_publish(r.device.q));
		}
		must(!virtq_wants_call_after_all(r.device.q));
		driver_call_at(&r.driver, 0);
		must(virtq_wants_call_after_all(r.device.q));
		must(!virtq_wants_call_after_all(r.device.q));
		while (driver_take(&r.driver, &id, &len))
			continue;
	}
	rig_close(&r);
}
END_TEST

static void kicks(bool event_idx)
{
	struct driver_buf buf = {DATA, 1};
	struct rig r;
	uint32_t len;
	uint16_t id;

	rig_open(&r, (struct driver_options){.size = 8, .event_idx = event_idx});
	for (unsigned int i = 0; i < 70000; i++) {
		uint16_t from = r.driver.pos;

		must(!virtq_kicks_on(r.device.q));
		driver_add(&r.driver, &buf, 1, 0, 0);
		must(driver_would_kick(&r.driver, from));
		virtq_kicks_off(r.device.q);
		virtq_push(r.device.q, virtq_pop(r.device.q), 0);
		from = r.driver.pos;
		driver_add(&r.driver, &buf, 1, 0, 0);
		must(!driver_would_kick(&r.driver, from));
		/* It came without a kick: seen when they are turned on again. */
		must(virtq_kicks_on(r.device.q));
		virtq_push(r.device.q, virtq_pop(r.device.q), 0);
		virtq_publish(r.device.q);
		while (driver_take(&r.driver, &id, &len))
			continue;
	}
	rig_close(&r);
}

START_TEST(no_kick_is_lost)
{
	kicks(false);
	kicks(true);
}
END_TEST

START_TEST(a_successor_goes_on)
{
	struct driver_buf buf = {DATA, 8};
	struct virtq_chain *chain;
	struct device next;
	uint16_t heads[4];
	struct rig r;
	uint32_t len;
	uint16_t id;

	rig_open(&r, (struct driver_options){.size = 8});
	for (int i = 0; i < 4; i++)
		heads[i] = (uint16_t)driver_add(&r.driver, &buf, 0, 1, 0);
	chain = virtq_pop(r.device.q);
	virtq_push(r.device.q, chain, 8);
	virtq_publish(r.device.q);
	virtq_pop(r.device.q);
	virtq_push(r.device.q, virtq_pop(r.device.q), 8); /* staged, never published */

	/* Two are in flight, one was never fetched. */
	device_start(&next, &r.driver, r.inflight_fd, true);
	ck_assert_uint_eq(virtq_in_flight(next.q), 2);
	ck_assert(virtq_publish(next.q)); /* the call may have died with the predecessor */
	ck_assert(!virtq_publish(next.q));
	for (int i = 1; i < 4; i++) {
		ck_assert(virtq_has_work(next.q));
		chain = virtq_pop(next.q);
		ck_assert_ptr_nonnull(chain);
		ck_assert_uint_eq(chain->id, heads[i]);
		ck_assert(chain->replayed == (i < 3));
		virtq_push(next.q, chain, 8);
	}
	ck_assert_ptr_null(virtq_pop(next.q));
	virtq_publish(next.q);
	for (int i = 0; i < 4; i++) {
		ck_assert(driver_take(&r.driver, &id, &len));
		ck_assert_uint_eq(id, heads[i]);
	}
	ck_assert(!driver_take(&r.driver, &id, &len));
	device_close(&next);
	rig_close(&r);
}
END_TEST

START_TEST(base_counts_when_nothing_is_in_flight)
{
	struct driver_buf buf = {DATA, 8};
	struct virtq_config cfg;
	struct err e = ERR_INIT;
	struct device dev;
	struct driver d;
	int fd;

	/* As after a migration: indexes that are not 0, a region that is. */
	driver_open(&d, (struct driver_options){.size = 8});
	driver_begin_at(&d, 0xfffe);
	fd = inflight_memfd(&d);
	cfg = driver_config(&d);
	cfg.base = 0xfffe;
	ck_assert_int_eq(device_open(&dev, &d, &cfg, fd, &e), 0);
	for (int i = 0; i < 5; i++)
		driver_add(&d, &buf, 0, 1, 0);
	ck_assert_uint_eq(device_serve(&dev), 5);
	ck_assert_uint_eq(virtq_base(dev.q), 3);
	device_close(&dev);
	/* Stop and start again with the same region. */
	cfg.base = 3;
	ck_assert_int_eq(device_open(&dev, &d, &cfg, fd, &e), 0);
	ck_assert_uint_eq(device_serve(&dev), 0);
	ck_assert_ptr_null(virtq_broken(dev.q));
	device_close(&dev);
	close(fd);
	driver_close(&d);
}
END_TEST

START_TEST(a_ring_moves_with_its_memory)
{
	struct guest_region_desc low = {GUEST_BASE, GUEST_HALF, GUEST_UVA, GUEST_HALF};
	struct driver_buf buf = {DATA, 8};
	struct err e = ERR_INIT;
	struct rig r;
	void *gap;

	rig_open(&r, (struct driver_options){.size = 8});
	driver_add(&r.driver, &buf, 0, 1, 0);
	ck_assert_uint_eq(device_serve(&r.device), 1);
	ck_assert_int_ge(guest_mem_remove(r.device.mem, &low, &e), 0);
	ck_assert_int_eq(virtq_remap(r.device.q, &e), -1);
	ck_assert_msg(strstr(e.msg, "ring 0: descriptor table is outside"), "%s", e.msg);
	/* Something else lies where it was. */
	gap = mmap(NULL, GUEST_HALF, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_int_ge(guest_mem_add(r.device.mem, &low, r.driver.fd, &e), 0);
	ck_assert_int_eq(virtq_remap(r.device.q, &e), 0);
	driver_add(&r.driver, &buf, 0, 1, 0);
	ck_assert_uint_eq(device_serve(&r.device), 1);
	munmap(gap, GUEST_HALF);
	rig_close(&r);
}
END_TEST

START_TEST(four_gigabytes_are_too_much)
{
	const uint64_t big = 3ull << 30, gpa = 1ull << 40;
	struct guest_region_desc region = {gpa, big, gpa, 0};
	struct driver_buf bufs[] = {{gpa, 1u << 31}, {gpa, (1u << 31) - 1}, {gpa, 1}};
	int fd = memfd_create("sparse", MFD_CLOEXEC);
	struct virtq_chain *chain;
	struct rig r;

	rig_open(&r, (struct driver_options){.size = 8});
	ck_assert_int_eq(ftruncate(fd, (off_t)big), 0);
	ck_assert_int_ge(guest_mem_add(r.device.mem, &region, fd, NULL), 0);
	driver_add(&r.driver, bufs, 1, 1, 0);
	chain = virtq_pop(r.device.q);
	ck_assert_ptr_nonnull(chain);
	ck_assert_uint_eq(chain->out_len + chain->in_len, UINT32_MAX);
	driver_add(&r.driver, bufs, 1, 2, 0);
	close(fd);
	expect_broken(&r, "more than 4 GiB");
}
END_TEST

UNIT_MAIN(a_request_goes_through, buffers_cross_the_seam_of_two_regions,
	indirect_tables_are_followed, bad_chains_break_the_ring, most_buffers_are_exact,
	avail_index_may_be_size_ahead_and_no_more, a_head_in_flight_is_not_taken_again,
	rings_outside_memory_are_refused, sizes_are_exact, calls_come_when_wanted,
	calls_come_at_the_event_index, a_late_wish_for_a_call_is_found, no_kick_is_lost,
	a_successor_goes_on, base_counts_when_nothing_is_in_flight, a_ring_moves_with_its_memory,
	four_gigabytes_are_too_much)
