/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/backends/inflight: regions as a VMM describes them, and what their bytes may say. What a
 * crash leaves there is tested by test_virtq_crash.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/driver.h"
#include "tests/unit/unit.h"

#define DATA (GUEST_BASE + 0x10000)

/* The layouts, written down a second time. */
struct split_region {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct {
		uint8_t inflight, padding[5];
		uint16_t next;
		uint64_t counter;
	} desc[8];
};

struct packed_region {
	uint64_t features;
	uint16_t version, desc_num, free_head, old_free_head, used_idx, old_used_idx;
	uint8_t used_wrap, old_used_wrap, padding[10];
	struct {
		uint8_t inflight, padding;
		uint16_t next, last, num;
		uint64_t counter;
		uint16_t id, flags;
		uint32_t len;
		uint64_t addr;
	} desc[8];
};

static_assert(sizeof(struct split_region) == 16 + 8 * 16, "specification");
static_assert(sizeof(struct packed_region) == 32 + 8 * 32, "specification");

START_TEST(sizes_follow_the_layout)
{
	ck_assert_uint_eq(inflight_region_size(1, 8, false), 192);
	ck_assert_uint_eq(inflight_region_size(3, 8, false), 3 * 192);
	ck_assert_uint_eq(inflight_region_size(1, 128, false), 16 + 128 * 16 + 48);
	ck_assert_uint_eq(inflight_region_size(1, 8, true), 320);
	ck_assert_uint_eq(inflight_region_size(65535, 65535, true),
		65535ull * ((32 + 65535ull * 32 + 63) / 64 * 64));
}
END_TEST

START_TEST(geometry_is_checked)
{
	const struct {
		uint64_t size, offset;
		uint16_t queues, queue_size;
		bool packed, good;
	} cases[] = {
		{192, 0, 1, 8, false, true},
		{191, 0, 1, 8, false, false},
		{384, 0, 2, 8, false, true},
		{383, 0, 2, 8, false, false},
		{4096, 0, 4, 8, false, true},
		{4096, 0, 5, 8, false, false}, /* more than ours */
		{4096, 0, 0, 8, false, false},
		{4096, 0, 1, 0, false, false},
		{4096, 0, 1, 7, false, false},
		{4096, 0, 1, 7, true, true},
		{4097, 0, 1, 8, false, false}, /* the file ends */
		{4096, 8, 1, 8, false, false},
		{4088, 8, 1, 8, false, true},
		{4088, 4, 1, 8, false, false}, /* not aligned */
		{192, UINT64_MAX - 7, 1, 8, false, false},
		{UINT64_MAX, 0, 1, 8, false, false},
		{UINT64_MAX, 8, 1, 8, false, false},
		{4096, 0, 4, 32768, true, false},
		{4096, 0, 1, 32769, true, false},
		{4096, 0, 65535, 65535, false, false},
	};
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct inflight *fl = NULL;
		struct err e = ERR_INIT;
		int ret = inflight_open(&fl, fd, cases[i].size, cases[i].offset, cases[i].queues,
			cases[i].queue_size, 4, cases[i].packed, &e);

		ck_assert_msg(ret == (cases[i].good ? 0 : -1), "case %u: %s", i, e.msg);
		ck_assert_msg(
			cases[i].good || strstr(e.msg, "in-flight region") == e.msg, "%s", e.msg);
		if (ret == 0) {
			ck_assert_ptr_nonnull(inflight_queue_get(fl, cases[i].queues - 1));
			ck_assert_ptr_null(inflight_queue_get(fl, cases[i].queues));
		}
		inflight_close(fl);
	}
	close(fd);
}
END_TEST

struct rig {
	struct driver driver;
	struct device device;
	int fd;
	union {
		void *region;
		struct split_region *split;
		struct packed_region *packed;
	};
};

/* A ring whose first `count` requests are in flight. */
static void rig_open(struct rig *r, bool packed, unsigned int count)
{
	struct driver_buf bufs[] = {{DATA, 4}, {DATA + 0x1000, 4}};

	driver_open(&r->driver, (struct driver_options){.size = 8, .packed = packed});
	r->fd = inflight_memfd(&r->driver);
	r->region = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	ck_assert_ptr_ne(r->region, MAP_FAILED);
	device_start(&r->device, &r->driver, r->fd, false);
	for (unsigned int i = 0; i < count; i++) {
		driver_add(&r->driver, bufs, 1, 1, 0);
		ck_assert_ptr_nonnull(virtq_pop(r->device.q));
	}
}

static void rig_close(struct rig *r)
{
	device_close(&r->device);
	driver_close(&r->driver);
	munmap(r->region, 4096);
	close(r->fd);
}

static void expect_refused(struct rig *r, const char *words)
{
	struct virtq_config cfg = driver_config(&r->driver);
	struct err e = ERR_INIT;
	struct device next;

	cfg.takeover = true;
	ck_assert_msg(device_open(&next, &r->driver, &cfg, r->fd, &e) == -1, "%s expected", words);
	ck_assert_msg(strstr(e.msg, words), "\"%s\" lacks \"%s\"", e.msg, words);
	device_close(&next);
	rig_close(r);
}

START_TEST(bytes_are_as_specified)
{
	struct rig r;

	rig_open(&r, false, 2);
	ck_assert_uint_eq(r.split->version, 1);
	ck_assert_uint_eq(r.split->desc_num, 8);
	ck_assert_uint_eq(r.split->desc[0].inflight, 1);
	ck_assert_uint_eq(r.split->desc[2].inflight, 1);
	ck_assert_uint_eq(r.split->desc[1].inflight, 0); /* a tail, not a head */
	ck_assert_uint_eq(r.split->desc[0].counter, 0);
	ck_assert_uint_eq(r.split->desc[2].counter, 1);
	rig_close(&r);

	rig_open(&r, true, 2);
	ck_assert_uint_eq(r.packed->version, 1);
	ck_assert_uint_eq(r.packed->desc_num, 8);
	ck_assert_uint_eq(r.packed->free_head, 4);
	ck_assert_uint_eq(r.packed->old_free_head, 4);
	ck_assert_uint_eq(r.packed->used_idx, 0);
	ck_assert_uint_eq(r.packed->used_wrap, 1);
	ck_assert_uint_eq(r.packed->desc[2].inflight, 1);
	ck_assert_uint_eq(r.packed->desc[2].num, 2);
	ck_assert_uint_eq(r.packed->desc[2].last, 3);
	ck_assert_uint_eq(r.packed->desc[2].next, 3);
	ck_assert_uint_eq(r.packed->desc[2].counter, 1);
	ck_assert_uint_eq(r.packed->desc[2].addr, DATA);
	ck_assert_uint_eq(r.packed->desc[3].addr, DATA + 0x1000);
	ck_assert_uint_eq(r.packed->desc[3].id, 1);
	ck_assert_uint_eq(r.packed->desc[3].flags & DESC_WRITE, DESC_WRITE);
	rig_close(&r);
}
END_TEST

START_TEST(split_lies_are_refused)
{
	struct rig r;

	rig_open(&r, false, 2);
	r.split->version = 2;
	expect_refused(&r, "version 2");
	rig_open(&r, false, 2);
	r.split->desc_num = 7;
	expect_refused(&r, "7 entries");
	rig_open(&r, false, 2);
	r.split->used_idx = 9; /* the ring's is 0: 65527 in the last batch */
	expect_refused(&r, "not of this ring");
	rig_open(&r, false, 2);
	r.split->used_idx = 0xffff; /* one in the last batch */
	r.split->last_batch_head = 8;
	expect_refused(&r, "entry 8 in the last batch");
	rig_open(&r, false, 2);
	r.split->used_idx = 0xfffe;
	r.split->last_batch_head = 0;
	r.split->desc[0].next = 0xffff;
	expect_refused(&r, "entry 65535 in the last batch");
	rig_open(&r, false, 2);
	r.split->desc[0].counter = UINT64_MAX;
	expect_refused(&r, "counter is at its end");
}
END_TEST

static uint16_t recovered(struct rig *r)
{
	struct device next;
	uint16_t count;

	device_start(&next, &r->driver, r->fd, true);
	count = virtq_in_flight(next.q);
	for (uint16_t i = 0; i < count; i++)
		ck_assert_ptr_nonnull(virtq_pop(next.q));
	device_close(&next);
	return count;
}

START_TEST(split_oddities_are_bounded)
{
	struct rig r;

	/* A list that leads back to itself is walked as far as the indexes say. */
	rig_open(&r, false, 2);
	r.split->used_idx = 0xfff8; /* a batch of 8: exactly the ring */
	r.split->last_batch_head = 0;
	r.split->desc[0].next = 0;
	ck_assert_uint_eq(recovered(&r), 1);
	rig_close(&r);

	/* Anything but 1 is not in flight, in every pass. */
	rig_open(&r, false, 2);
	r.split->desc[0].inflight = 2;
	r.split->desc[1].inflight = 0xff;
	ck_assert_uint_eq(recovered(&r), 1);
	rig_close(&r);

	/* All of them, all with the same number. */
	rig_open(&r, false, 4);
	for (int i = 0; i < 8; i++) {
		r.split->desc[i].inflight = 1;
		r.split->desc[i].counter = 7;
		r.driver.desc[i] = (struct raw_desc){DATA, 1, 0, 0};
	}
	ck_assert_uint_eq(recovered(&r), 8);
	rig_close(&r);

	/* A region that was never used may hold anything but a version. */
	rig_open(&r, false, 2);
	memset(r.split, 0xff, sizeof(*r.split));
	r.split->version = 0;
	ck_assert_uint_eq(recovered(&r), 0);
	rig_close(&r);
}
END_TEST

START_TEST(a_ring_smaller_than_its_region)
{
	struct virtq_config cfg;
	struct err e = ERR_INIT;
	struct device next;
	struct rig r;

	/* The guest may take fewer entries than the VMM reserved. */
	rig_open(&r, false, 0);
	cfg = driver_config(&r.driver);
	cfg.size = 4;
	ck_assert_int_eq(device_open(&next, &r.driver, &cfg, r.fd, &e), 0);
	device_close(&next);
	r.split->desc[4].inflight = 1;
	ck_assert_int_eq(device_open(&next, &r.driver, &cfg, r.fd, &e), -1);
	ck_assert_msg(strstr(e.msg, "entry 4 in flight in a ring of 4"), "%s", e.msg);
	device_close(&next);
	/* The size changed after the region was sized (CVE-2026-86565). */
	cfg.size = 16;
	ck_assert_int_eq(device_open(&next, &r.driver, &cfg, r.fd, &e), -1);
	ck_assert_msg(strstr(e.msg, "has 8 entries"), "%s", e.msg);
	device_close(&next);
	rig_close(&r);
}
END_TEST

START_TEST(packed_lies_are_refused)
{
	static const struct {
		const char *words;
		size_t offset;
		uint16_t value;
	} lies[] = {
#define LIE(words_, field_, value_) {words_, offsetof(struct packed_region, field_), value_}
		LIE("version 7", version, 7), LIE("9 entries", desc_num, 9),
		LIE("free list leads to 9", old_free_head, 9),
		LIE("neither free nor in flight", old_free_head, 8),
		LIE("beyond the ring: 8", old_used_idx, 8),
		LIE("beyond the ring: 65535", used_idx, 65535),
		LIE("wrap counter 2", used_wrap, 0x0102), LIE("wrap counter 2", used_wrap, 0x0201),
		LIE("free list leads to 4", desc[7].next, 4),
		LIE("free list leads to 9", desc[7].next, 9),
		LIE("neither free nor in flight", desc[4].next, 8),
		LIE("free list leads to 4", desc[7].next, 2),
		LIE("no descriptors at 2", desc[2].num, 0),
		LIE("does not end at 3", desc[2].num, 1),
		LIE("a request leads to 4", desc[2].num, 3),
		LIE("a request leads to 4", desc[2].num, 65535),
		LIE("does not end at 2", desc[2].last, 2),
		LIE("a request leads to 8", desc[2].next, 8),
		LIE("a request leads to 2", desc[2].next, 2),
		LIE("a request leads to 0", desc[2].next, 0),
		LIE("neither free nor in flight", desc[2].inflight, 0),
		LIE("neither free nor in flight", desc[2].inflight, 2),
		LIE("buffer id 8", desc[3].id, 8),
		LIE("buffer id 0", desc[3].id, 0), /* that of the first one */
#undef LIE
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(lies); i++) {
		struct rig r;

		rig_open(&r, true, 2);
		memcpy((char *)r.region + lies[i].offset, &lies[i].value, 2);
		expect_refused(&r, lies[i].words);
	}
}
END_TEST

START_TEST(the_other_format_is_refused)
{
	struct virtq_config cfg;
	struct err e = ERR_INIT;
	struct virtq *q;
	struct rig r;

	rig_open(&r, true, 0);
	cfg = driver_config(&r.driver);
	cfg.packed = false;
	ck_assert_int_eq(
		virtq_start(&q, &cfg, r.device.mem, inflight_queue_get(r.device.inflight, 0), &e),
		-1);
	ck_assert_msg(strstr(e.msg, "other ring format"), "%s", e.msg);
	ck_assert_int_eq(virtq_start(&q, &cfg, r.device.mem, NULL, &e), -1);
	rig_close(&r);
}
END_TEST

START_TEST(a_part_can_be_made_fresh)
{
	for (int packed = 0; packed < 2; packed++) {
		struct device next;
		struct rig r;

		rig_open(&r, packed, 3);
		inflight_queue_reset(inflight_queue_get(r.device.inflight, 0));
		device_start(&next, &r.driver, r.fd, false);
		ck_assert_uint_eq(virtq_in_flight(next.q), 0);
		ck_assert(!virtq_publish(next.q));
		device_close(&next);
		rig_close(&r);
	}
}
END_TEST

static unsigned int count_lines(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned int n = 0;
	char line[512];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		n += !!strstr(line, "memfd:");
	fclose(f);
	return n;
}

static int lowest_free_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

START_TEST(a_thousand_starts_leave_nothing)
{
	unsigned int maps;
	struct rig r;
	int fd;

	rig_open(&r, false, 3);
	maps = count_lines("/proc/self/maps");
	fd = lowest_free_fd();
	for (int i = 0; i < 1000; i++) {
		struct virtq_config cfg = driver_config(&r.driver);
		struct err e = ERR_INIT;
		struct device next;

		cfg.takeover = true;
		if (i % 3 == 1)
			cfg.used_uva = 4; /* refused late */
		r.split->version = i % 3 == 2 ? 9 : 1;
		ck_assert_int_eq(
			device_open(&next, &r.driver, &cfg, r.fd, &e), i % 3 == 0 ? 0 : -1);
		device_close(&next);
	}
	ck_assert_uint_eq(count_lines("/proc/self/maps"), maps);
	ck_assert_int_eq(lowest_free_fd(), fd);
	rig_close(&r);
}
END_TEST

UNIT_MAIN(sizes_follow_the_layout, geometry_is_checked, bytes_are_as_specified,
	split_lies_are_refused, split_oddities_are_bounded, a_ring_smaller_than_its_region,
	packed_lies_are_refused, the_other_format_is_refused, a_part_can_be_made_fresh,
	a_thousand_starts_leave_nothing)
