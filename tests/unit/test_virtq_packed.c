/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/backends/virtq_packed: what a good driver gets, and what a bad one does not. */
#include <string.h>
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
	opt.packed = true;
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

START_TEST(a_request_goes_through)
{
	struct driver_buf bufs[] = {{DATA, 16}, {DATA + 0x1000, 4096}, {GUEST_SEAM - 1, 2}};
	struct virtq_chain *chain;
	uint32_t len;
	uint16_t id;
	struct rig r;
	int buffer;

	rig_open(&r, (struct driver_options){.size = 8});
	ck_assert_ptr_null(virtq_pop(r.device.q));
	ck_assert(!virtq_has_work(r.device.q));
	buffer = driver_add(&r.driver, bufs, 1, 2, 0);
	ck_assert(virtq_has_work(r.device.q));
	chain = virtq_pop(r.device.q);
	ck_assert_ptr_nonnull(chain);
	ck_assert_int_eq(chain->id, buffer);
	ck_assert_uint_eq(chain->desc_count, 3);
	ck_assert_uint_eq(chain->out_count, 1);
	ck_assert_uint_eq(chain->in_count, 3); /* the last one crosses the seam */
	ck_assert_uint_eq(chain->out_len, 16);
	ck_assert_uint_eq(chain->in_len, 4098);
	ck_assert_uint_eq(virtq_in_flight(r.device.q), 1);
	virtq_push(r.device.q, chain, 4098);
	ck_assert(!driver_take(&r.driver, &id, &len));
	ck_assert(virtq_publish(r.device.q));
	ck_assert(driver_take(&r.driver, &id, &len));
	ck_assert_int_eq(id, buffer);
	ck_assert_uint_eq(len, 4098);
	ck_assert_uint_eq(virtq_in_flight(r.device.q), 0);
	ck_assert_uint_eq(virtq_base(r.device.q), 0x80038003);
	rig_close(&r);
}
END_TEST

START_TEST(the_base_carries_both_positions)
{
	struct driver_buf bufs[] = {{DATA, 1}, {DATA, 1}, {DATA, 1}};
	struct virtq_config cfg;
	struct err e = ERR_INIT;
	struct device dev;
	uint32_t base;
	struct rig r;

	/* Stop and start on a region that was made anew, as after a migration, around the ring. */
	rig_open(&r, (struct driver_options){.size = 7});
	for (int i = 0; i < 50; i++) {
		uint32_t len;
		uint16_t id;
		int fd;

		driver_add(&r.driver, bufs, 1, (unsigned int)i % 3, 0);
		ck_assert_uint_eq(device_serve(&r.device), 1);
		ck_assert(driver_take(&r.driver, &id, &len));
		base = virtq_base(r.device.q);
		cfg = driver_config(&r.driver);
		ck_assert_uint_eq(base, cfg.base);
		device_close(&r.device);
		fd = inflight_memfd(&r.driver);
		ck_assert_int_eq(device_open(&r.device, &r.driver, &cfg, fd, &e), 0);
		close(r.inflight_fd);
		r.inflight_fd = fd;
	}
	rig_close(&r);

	/* A position beyond the ring. */
	rig_open(&r, (struct driver_options){.size = 7});
	for (int i = 0; i < 2; i++) {
		cfg.base = i ? 0x80078000 : 0x80008007;
		ck_assert_int_eq(device_open(&dev, &r.driver, &cfg, r.inflight_fd, &e), -1);
		ck_assert_msg(strstr(e.msg, "beyond the ring"), "%s", e.msg);
		device_close(&dev);
	}
	rig_close(&r);
}
END_TEST

/* One buffer of one descriptor goes through a ring that starts at `base`. */
static void serve_from(struct rig *r, uint32_t base)
{
	struct driver_buf buf = {DATA, 1};
	struct virtq_config cfg = driver_config(&r->driver);
	struct err e = ERR_INIT;
	uint32_t len;
	uint16_t id;

	cfg.base = base;
	device_close(&r->device);
	close(r->inflight_fd);
	r->inflight_fd = inflight_memfd(&r->driver);
	ck_assert_int_eq(device_open(&r->device, &r->driver, &cfg, r->inflight_fd, &e), 0);
	driver_add(&r->driver, &buf, 1, 0, 0);
	ck_assert_uint_eq(device_serve(&r->device), 1);
	ck_assert(driver_take(&r->driver, &id, &len));
}

START_TEST(a_base_without_wrap_counters_is_understood)
{
	struct rig r;

	rig_open(&r, (struct driver_options){.size = 4});
	serve_from(&r, 0);
	ck_assert_uint_eq(virtq_base(r.device.q), 0x80018001);
	for (uint32_t idx = 1; idx < 4; idx++)
		serve_from(&r, 0x80008000 | idx << 16 | idx);
	/* Now 0 is what it says: the second lap begins. */
	ck_assert_uint_eq(virtq_base(r.device.q), 0);
	serve_from(&r, 0);
	ck_assert_uint_eq(virtq_base(r.device.q), 0x00010001);
	rig_close(&r);

	/* Half of it is left out. */
	rig_open(&r, (struct driver_options){.size = 4});
	serve_from(&r, 0x8000);
	ck_assert_uint_eq(virtq_base(r.device.q), 0x80018001);
	rig_close(&r);
}
END_TEST

#define AV DESC_AVAIL /* available in the first lap */

/* Descriptors from 0 on, or a table at DATA, that break one rule; {addr, len, id, flags}. */
struct bad_ring {
	const char *words;
	struct raw_desc desc[8];
	struct raw_desc table[4];
	bool no_indirect;
};

static const struct bad_ring bad_rings[] = {
	{"buffer id 8 is beyond", {{DATA, 1, 8, AV}}, {{0}}, false},
	{"buffer id 65535", {{DATA, 1, 65535, AV}}, {{0}}, false},
	{"has no length", {{DATA, 0, 0, AV}}, {{0}}, false},
	{"outside guest memory", {{GUEST_BASE - 1, 1, 0, AV}}, {{0}}, false},
	{"outside guest memory", {{GUEST_END - 1, 2, 0, AV}}, {{0}}, false},
	{"readable buffer after", {{DATA, 1, 0, AV | DESC_NEXT | DESC_WRITE}, {DATA, 1, 0, AV}},
		{{0}}, false},
	{"than the ring of 8 has",
		{{DATA, 1, 0, AV | DESC_NEXT}, {DATA, 1, 0, AV | DESC_NEXT},
			{DATA, 1, 0, AV | DESC_NEXT}, {DATA, 1, 0, AV | DESC_NEXT},
			{DATA, 1, 0, AV | DESC_NEXT}, {DATA, 1, 0, AV | DESC_NEXT},
			{DATA, 1, 0, AV | DESC_NEXT}, {DATA, 1, 0, AV | DESC_NEXT}},
		{{0}}, false},
	{"not negotiated", {{DATA, 16, 0, AV | DESC_INDIRECT}}, {{DATA, 1, 0, 0}}, true},
	{"indirect and has a next",
		{{DATA, 16, 0, AV | DESC_INDIRECT | DESC_NEXT}, {DATA, 1, 0, AV}},
		{{DATA, 1, 0, 0}}, false},
	{"table of 0 bytes", {{DATA, 0, 0, AV | DESC_INDIRECT}}, {{0}}, false},
	{"table of 24 bytes", {{DATA, 24, 0, AV | DESC_INDIRECT}}, {{0}}, false},
	{"table of 133 entries", {{DATA, 133 * 16, 0, AV | DESC_INDIRECT}}, {{0}}, false},
	{"outside guest memory", {{GUEST_END - 16, 32, 0, AV | DESC_INDIRECT}}, {{0}}, false},
	{"within an indirect table", {{DATA, 16, 0, AV | DESC_INDIRECT}},
		{{DATA, 16, 0, DESC_INDIRECT}}, false},
	{"has no length", {{DATA, 32, 0, AV | DESC_INDIRECT}}, {{DATA, 1, 0, 0}, {DATA, 0, 0, 0}},
		false},
};

START_TEST(bad_rings_are_broken)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(bad_rings); i++) {
		const struct bad_ring *bad = &bad_rings[i];
		struct rig r;

		rig_open(&r, (struct driver_options){.size = 8, .indirect = !bad->no_indirect});
		memcpy(r.driver.desc, bad->desc, sizeof(bad->desc));
		memcpy(driver_host(&r.driver, DATA), bad->table, sizeof(bad->table));
		expect_broken(&r, bad->words);
	}
}
END_TEST

START_TEST(an_id_in_flight_is_not_taken_again)
{
	struct driver_buf buf = {DATA, 1};
	struct virtq_chain *chain;
	uint32_t len;
	uint16_t id;
	struct rig r;

	rig_open(&r, (struct driver_options){.size = 8});
	driver_add(&r.driver, &buf, 1, 0, 0);
	driver_add(&r.driver, &buf, 1, 0, 0);
	r.driver.desc[1].w0 = r.driver.desc[0].w0;
	chain = virtq_pop(r.device.q);
	ck_assert_ptr_nonnull(chain);
	ck_assert_ptr_null(virtq_pop(r.device.q));
	ck_assert_ptr_nonnull(strstr(virtq_broken(r.device.q), "again while in flight"));
	virtq_push(r.device.q, chain, 0);
	virtq_publish(r.device.q);
	ck_assert(driver_take(&r.driver, &id, &len));
	ck_assert_uint_eq(virtq_in_flight(r.device.q), 0);
	rig_close(&r);
}
END_TEST

START_TEST(a_full_ring_is_full)
{
	struct driver_buf bufs[] = {{DATA, 1}, {DATA, 1}, {DATA, 1}};
	struct rig r;

	/* Every shape of "all descriptors are in flight", and then a lap flipped by a bad guest. */
	for (unsigned int parts = 1; parts <= 3; parts++) {
		uint16_t flags = DESC_USED; /* available in the second lap */

		rig_open(&r, (struct driver_options){.size = 6});
		for (unsigned int i = 0; i < 6 / parts; i++) {
			ck_assert_int_ge(driver_add(&r.driver, bufs, parts, 0, 0), 0);
			ck_assert_ptr_nonnull(virtq_pop(r.device.q));
		}
		ck_assert_int_eq(driver_add(&r.driver, bufs, 1, 0, 0), -1);
		ck_assert_ptr_null(virtq_pop(r.device.q));
		ck_assert_ptr_null(virtq_broken(r.device.q));
		r.driver.desc[0].w1 = flags;
		expect_broken(&r, "than the ring of 6 has");
	}
}
END_TEST

START_TEST(calls_come_at_the_event)
{
	struct driver_buf bufs[] = {{DATA, 1}, {DATA, 1}};
	uint16_t left = 0;
	struct rig r;

	/* Places ahead in this lap and the next, batches that end before, at and behind them. */
	rig_open(&r, (struct driver_options){.size = 23, .event_idx = true});
	for (unsigned int round = 0; round < 20000; round++) {
		uint16_t batch = round % 5 + 1, parts = round % 2 + 1, id;
		uint32_t len;

		if (!left) {
			left = round % 11 + 1;
			driver_call_at(&r.driver, left - 1);
		}
		for (uint16_t i = 0; i < batch; i++) {
			must(driver_add(&r.driver, bufs, parts, 0, 0) >= 0);
			virtq_push(r.device.q, virtq_pop(r.device.q), 0);
		}
		must(virtq_publish(r.device.q) == (left <= batch * parts));
		left = left <= batch * parts ? 0 : left - batch * parts;
		while (driver_take(&r.driver, &id, &len))
			continue;
	}
	driver_call_never(&r.driver);
	driver_add(&r.driver, bufs, 1, 0, 0);
	virtq_push(r.device.q, virtq_pop(r.device.q), 0);
	must(!virtq_publish(r.device.q));
	driver_call_always(&r.driver);
	driver_add(&r.driver, bufs, 1, 0, 0);
	virtq_push(r.device.q, virtq_pop(r.device.q), 0);
	must(virtq_publish(r.device.q));
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

	rig_open(&r, (struct driver_options){.size = 23, .event_idx = true});
	for (unsigned int round = 0; round < 3000; round++) {
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

START_TEST(an_event_that_was_not_negotiated_means_always)
{
	struct driver_buf buf = {DATA, 1};
	struct rig r;

	rig_open(&r, (struct driver_options){.size = 8});
	driver_call_at(&r.driver, 7);
	driver_add(&r.driver, &buf, 1, 0, 0);
	virtq_push(r.device.q, virtq_pop(r.device.q), 0);
	ck_assert(virtq_publish(r.device.q));
	rig_close(&r);
}
END_TEST

static void kicks(bool event_idx)
{
	struct driver_buf buf = {DATA, 1};
	struct rig r;

	rig_open(&r, (struct driver_options){.size = 7, .event_idx = event_idx});
	for (unsigned int i = 0; i < 1000; i++) {
		uint16_t from = r.driver.pos, id;
		uint32_t len;

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

START_TEST(replays_do_not_need_the_ring)
{
	struct driver_buf a[] = {{DATA, 1}, {DATA + 0x100, 2}}, b[] = {{DATA + 0x200, 3}};
	struct virtq_chain *chain;
	struct device next;
	uint16_t id;
	uint32_t len;
	struct rig r;
	int first;

	/* The second request's used descriptor overwrites the first one's head. */
	rig_open(&r, (struct driver_options){.size = 4});
	first = driver_add(&r.driver, a, 1, 1, 0);
	driver_add(&r.driver, b, 0, 1, 0);
	virtq_pop(r.device.q);
	virtq_push(r.device.q, virtq_pop(r.device.q), 3);
	virtq_publish(r.device.q);
	ck_assert(driver_take(&r.driver, &id, &len));
	ck_assert_int_ne(r.driver.desc[0].w0, first);
	memset(&r.driver.desc[1], 0xff, sizeof(r.driver.desc[1]));

	device_start(&next, &r.driver, r.inflight_fd, true);
	ck_assert_uint_eq(virtq_in_flight(next.q), 1);
	ck_assert(virtq_publish(next.q)); /* the call may have died with the predecessor */
	chain = virtq_pop(next.q);
	ck_assert_ptr_nonnull(chain);
	ck_assert(chain->replayed);
	ck_assert_int_eq(chain->id, first);
	ck_assert_uint_eq(chain->desc_count, 2);
	ck_assert_uint_eq(chain->out_len, 1);
	ck_assert_uint_eq(chain->in_len, 2);
	virtq_push(next.q, chain, 2);
	virtq_publish(next.q);
	ck_assert(driver_take(&r.driver, &id, &len));
	ck_assert_int_eq(id, first);
	device_close(&next);
	rig_close(&r);
}
END_TEST

START_TEST(misaligned_or_foreign_rings_are_refused)
{
	struct driver d;
	int fd;

	driver_open(&d, (struct driver_options){.size = 8, .packed = true});
	fd = inflight_memfd(&d);
	for (int i = 0; i < 6; i++) {
		struct virtq_config cfg = driver_config(&d);
		struct err e = ERR_INIT;
		uint64_t *uva = i % 3 == 0   ? &cfg.desc_uva
				: i % 3 == 1 ? &cfg.avail_uva
					     : &cfg.used_uva;
		struct device dev;

		*uva = i < 3 ? *uva + 2 : GUEST_UVA + 2 * GUEST_HALF;
		ck_assert_int_eq(device_open(&dev, &d, &cfg, fd, &e), -1);
		ck_assert_msg(strstr(e.msg, i < 3 ? "aligned" : "outside"), "%s", e.msg);
		device_close(&dev);
	}
	close(fd);
	driver_close(&d);
}
END_TEST

UNIT_MAIN(a_request_goes_through, the_base_carries_both_positions,
	a_base_without_wrap_counters_is_understood, bad_rings_are_broken,
	an_id_in_flight_is_not_taken_again, a_full_ring_is_full, calls_come_at_the_event,
	a_late_wish_for_a_call_is_found, an_event_that_was_not_negotiated_means_always,
	no_kick_is_lost, replays_do_not_need_the_ring, misaligned_or_foreign_rings_are_refused)
