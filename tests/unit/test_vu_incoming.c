/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session that goes on where another host's stopped: requests in flight there are done here, each
 * once and before anything new, whatever is killed; and nothing but that VM gets in.
 */
#include <stdio.h>
#include <string.h>

#include "lib/backends/session_facts.h"
#include "tests/unit/unit.h"
#include "tests/unit/vmm.h"

#define IN_FLIGHT 3u

struct config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint8_t geometry[4];
	uint32_t blk_size;
	uint8_t topology[8], wce, unused;
	uint16_t num_queues;
} __attribute__((packed));

/* What the other host wrote down, changed by the test before it is used. */
static struct session_facts facts;
static struct taken list;
static struct taken_request requests[IN_FLIGHT];
static struct taken_desc no_desc;

static void record(void)
{
	const struct config config = {
		.capacity = RIG_DISK_BYTES / VMM_SECTOR, .blk_size = 512, .num_queues = 1};

	facts = (struct session_facts){.acknowledged = VMM_FEATURES};
	memcpy(facts.config, &config, sizeof(config));
	facts.rings[0] = (struct session_ring){.size = VMM_RING_SIZE, .base = IN_FLIGHT};
	for (uint16_t i = 0; i < IN_FLIGHT; i++)
		requests[i] = (struct taken_request){.counter = 70u + i};
	list = (struct taken){requests, &no_desc, IN_FLIGHT, 0};
}

static void set_config(size_t at, const void *value, size_t len)
{
	memcpy(facts.config + at, value, len);
}

static void prepare(struct rig *r)
{
	struct err e = ERR_INIT;

	ck_assert_msg(
		session_facts_set_incoming(r->vault[VAULT_PAGE], &facts, &e) == 0, "%s", e.msg);
	r->vault[VAULT_INCOMING] = taken_to_fd(&list, &e);
	ck_assert_msg(r->vault[VAULT_INCOMING] >= 0, "%s", e.msg);
}

static void open_moved(struct vmm *v, struct rig_options opt)
{
	opt.prepare = prepare;
	vmm_open(v, opt);
}

/* As on the other host: the driver takes the same descriptors as there. */
static void ask_there(struct vmm *v)
{
	for (unsigned int n = 0; n < IN_FLIGHT; n++) {
		memset(driver_host(&v->driver, VMM_DATA_AT + n * VMM_SECTOR), 0x50 + (int)n,
			VMM_SECTOR);
		vmm_ask(v, 1, false, n);
		ck_assert_uint_eq(requests[n].head, v->driver.avail->ring[n]);
	}
}

/* Which heads such a driver uses. */
static void learn_heads(void)
{
	struct driver d;
	const struct driver_buf bufs[] = {
		{VMM_HEADER_AT, 16}, {VMM_DATA_AT, 512}, {VMM_STATUS_AT, 1}};

	driver_open(&d, (struct driver_options){.size = VMM_RING_SIZE, .event_idx = true});
	for (unsigned int n = 0; n < IN_FLIGHT; n++)
		requests[n].head = (uint16_t)driver_add(&d, bufs, 2, 1, 0);
	driver_close(&d);
}

static void connect_ring(struct vmm *v, bool keeps_region, uint32_t base)
{
	vmm_greet(v);
	if (keeps_region) {
		vmm_get_inflight(v);
		vmm_set_inflight(v);
	}
	vmm_share_memory(v, VU_ADD_MEM_REG);
	vmm_start_ring(v, base);
}

static void go_on(struct vmm *v, bool keeps_region)
{
	ask_there(v);
	connect_ring(v, keeps_region, IN_FLIGHT);
	vmm_await(v, IN_FLIGHT);
	vmm_check_status(v, 0, IN_FLIGHT);
	ck_assert_uint_eq(v->rig.page->incoming.valid, 0);
	rig_until_quiet(&v->rig);
	ck_assert_int_eq(v->rig.vault[VAULT_INCOMING], -1);
	for (unsigned int n = 0; n < IN_FLIGHT; n++)
		vmm_ask(v, 0, true, n);
	vmm_kick(v);
	vmm_await(v, IN_FLIGHT);
	for (unsigned int n = 0; n < IN_FLIGHT; n++)
		ck_assert_uint_eq(*(uint8_t *)driver_host(&v->driver, VMM_DATA_AT + n * VMM_SECTOR),
			0x50 + n);
	vmm_use_disk(v, 0x30);
	rig_until_quiet(&v->rig);
}

START_TEST(requests_in_flight_are_done_once)
{
	for (int keeps_region = 0; keeps_region < 2; keeps_region++) {
		struct vmm v;

		record();
		learn_heads();
		open_moved(&v, (struct rig_options){0});
		go_on(&v, keeps_region);
		ck_assert_uint_eq(v.rig.page->replayed, IN_FLIGHT);
		ck_assert_uint_eq(v.rig.page->requests_completed, 2 * IN_FLIGHT + 8);
		vmm_close(&v);
	}
}
END_TEST

/* A disk without bytes answers at once, so the order of answers is that of submission. */
START_TEST(in_the_order_in_which_they_were_taken)
{
	struct vmm v;
	uint16_t id, order[IN_FLIGHT];
	uint32_t len;

	record();
	learn_heads();
	for (unsigned int n = 0; n < IN_FLIGHT; n++) {
		requests[n].counter = 90 - n;
		order[IN_FLIGHT - 1 - n] = requests[n].head;
	}
	open_moved(&v, (struct rig_options){.null = true});
	ask_there(&v);
	vmm_ask(&v, 1, false, IN_FLIGHT); /* new: the other host had not seen it */
	connect_ring(&v, true, IN_FLIGHT);
	for (unsigned int n = 0; n < IN_FLIGHT; n++) {
		uint64_t deadline = now_ms() + 20000;

		while (!driver_take(&v.driver, &id, &len)) {
			ck_assert(now_ms() < deadline);
			rig_until(&v.rig, NULL, NULL);
		}
		ck_assert_uint_eq(id, order[n]);
	}
	vmm_await(&v, 1);
	ck_assert_uint_eq(v.rig.page->replayed, IN_FLIGHT);
	vmm_close(&v);
}
END_TEST

START_TEST(killed_at_every_point)
{
	struct rig_options opt = {.kill_at = 1};
	unsigned int deaths;

	record();
	learn_heads();
	do {
		struct vmm v;

		open_moved(&v, opt);
		go_on(&v, opt.kill_at & 1);
		deaths = v.rig.deaths;
		vmm_close(&v);
		opt.kill_at++;
	} while (deaths);
	ck_assert_uint_gt(opt.kill_at, 100);
	printf("killed at %u points\n", opt.kill_at - 2);
}
END_TEST

/* --- a VMM that is early ---------------------------------------------------------------------- */

/* How far it has got behind a shut gate when what is in flight becomes known. */
enum early { EARLY_REGION, EARLY_REGION_BACK, EARLY_STARTED, EARLY_STEPS };

static void come(struct vmm *v, enum early from, enum early to)
{
	if (from <= EARLY_REGION && EARLY_REGION < to) {
		vmm_greet(v);
		vmm_get_inflight(v);
	}
	if (from <= EARLY_REGION_BACK && EARLY_REGION_BACK < to)
		vmm_set_inflight(v);
	if (from <= EARLY_STARTED && EARLY_STARTED < to) {
		vmm_share_memory(v, VU_ADD_MEM_REG);
		vmm_start_ring(v, IN_FLIGHT);
	}
}

static void prepare_other_list(struct rig *r)
{
	list.request_count = 1;
	prepare(r);
	record();
	learn_heads();
}

static void prepare_nothing(struct rig *r)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(session_facts_clear_incoming(r->vault[VAULT_PAGE], &e), 0);
}

static void prepare_open(struct rig *r)
{
	if (r->vault[VAULT_INCOMING] >= 0)
		close(r->vault[VAULT_INCOMING]);
	prepare(r);
	r->gate = session_gate_word(2, 0);
}

static void come_early(struct vmm *v, enum early at)
{
	come(v, EARLY_REGION, at);
	ask_there(v);
	rig_turn(&v->rig, prepare_open);
	come(v, at, EARLY_STEPS);
	vmm_await(v, IN_FLIGHT);
	vmm_check_status(v, 0, IN_FLIGHT);
	ck_assert_uint_eq(v->rig.page->incoming.valid, 0);
	vmm_use_disk(v, 0x30);
	rig_until_quiet(&v->rig);
}

static void open_shut(struct vmm *v, struct rig_options opt)
{
	record();
	learn_heads();
	vmm_open(v, opt);
	rig_tell_gate(&v->rig, session_gate_word(1, SESSION_GATE_SHUT));
	rig_until_heard(&v->rig);
}

START_TEST(a_vmm_may_be_early)
{
	for (enum early at = EARLY_REGION; at <= EARLY_STEPS; at++) {
		struct vmm v;

		open_shut(&v, (struct rig_options){0});
		come_early(&v, at);
		ck_assert_uint_eq(v.rig.page->replayed, IN_FLIGHT);
		vmm_close(&v);
	}
}
END_TEST

/* The second worker, whose the machine is, dies at its n-th point. False: it has not so many. */
static bool killed_early(enum early at, unsigned int n)
{
	unsigned int deaths;
	struct vmm v;

	open_shut(&v, (struct rig_options){.kill_again_at = n});
	come_early(&v, at);
	deaths = v.rig.deaths;
	vmm_close(&v);
	return deaths > 1;
}

START_TEST(early_and_killed_at_every_point)
{
	unsigned int points = 0;

	for (enum early at = EARLY_REGION_BACK; at <= EARLY_STEPS; at++)
		for (unsigned int n = 1; killed_early(at, n); n++)
			points++;
	ck_assert_uint_gt(points, 100);
	printf("early: killed at %u points\n", points);
}
END_TEST

/* What was said of the machine before it came back is void when it leaves again. */
START_TEST(what_was_given_back_is_forgotten)
{
	for (enum early at = EARLY_REGION; at < EARLY_STEPS; at++) {
		struct vmm v;

		open_shut(&v, (struct rig_options){0});
		rig_turn(&v.rig, prepare_other_list);
		come(&v, EARLY_REGION, at);
		rig_turn(&v.rig, prepare_nothing);
		ask_there(&v);
		rig_turn(&v.rig, prepare_open);
		come(&v, at, EARLY_STEPS);
		vmm_await(&v, IN_FLIGHT);
		vmm_check_status(&v, 0, IN_FLIGHT);
		ck_assert_uint_eq(v.rig.page->replayed, IN_FLIGHT);
		vmm_close(&v);
	}
}
END_TEST

/* --- what is not the VM that was saved -------------------------------------------------------- */

static void expect_closed(struct vmm *v)
{
	rig_until_closed(&v->rig);
	ck_assert_uint_eq(v->rig.page->incoming.valid, 1);
	ck_assert_uint_eq(v->rig.page->requests_completed, 0);
	ck_assert_uint_eq(*(uint8_t *)driver_host(&v->driver, VMM_STATUS_AT), 0xee);
}

/* As vmm_start_ring(), up to where the worker closes the connection. */
static void try_ring(struct vmm *v, uint64_t features, uint32_t base)
{
	vmm_greet(v);
	vmm_get_inflight(v);
	vmm_set_inflight(v);
	vmm_share_memory(v, VU_ADD_MEM_REG);
	vmm_tell_u64(v, VU_SET_FEATURES, false, features);
	vmm_tell_state(v, VU_SET_VRING_NUM, false, 0, VMM_RING_SIZE);
	vmm_tell_state(v, VU_SET_VRING_BASE, false, 0, base);
	vmm_tell_addresses(v, false, 0);
	vmm_tell_ring_fd(v, VU_SET_VRING_KICK, v->kick);
}

START_TEST(memory_of_another_moment_is_refused)
{
	struct vmm v;

	record();
	learn_heads();
	open_moved(&v, (struct rig_options){0});
	ask_there(&v);
	try_ring(&v, VMM_FEATURES, IN_FLIGHT + 1);
	expect_closed(&v);
	rig_connect(&v.rig);
	try_ring(&v, VMM_FEATURES & ~VIRTIO_F_EVENT_IDX, IN_FLIGHT);
	expect_closed(&v);
	/* The right one is still waited for. */
	rig_connect(&v.rig);
	connect_ring(&v, true, IN_FLIGHT);
	vmm_await(&v, IN_FLIGHT);
	vmm_check_status(&v, 0, IN_FLIGHT);
	ck_assert_uint_eq(v.rig.page->replayed, IN_FLIGHT);
	vmm_close(&v);
}
END_TEST

/* The VMM logs dirty pages from the start on: not the driver's affair. */
START_TEST(the_vmms_own_features_may_differ)
{
	struct vmm v;

	record();
	learn_heads();
	facts.acknowledged |= VHOST_F_LOG_ALL;
	facts.acknowledged &= ~VU_F_PROTOCOL_FEATURES;
	open_moved(&v, (struct rig_options){0});
	go_on(&v, true);
	vmm_close(&v);
}
END_TEST

START_TEST(what_the_guest_has_set_stays)
{
	for (uint8_t wce = 0; wce < 2; wce++) {
		struct vmm v;

		record();
		learn_heads();
		set_config(offsetof(struct config, wce), &wce, 1);
		open_moved(&v, (struct rig_options){0});
		go_on(&v, true);
		ck_assert_uint_eq(v.rig.page->config[offsetof(struct config, wce)], wce);
		vmm_close(&v);
	}
}
END_TEST

static bool has_failed(void *arg)
{
	return ((struct rig *)arg)->failure[0] && !((struct rig *)arg)->worker;
}

static void expect_no_worker(const char *why)
{
	struct rig r;

	rig_open(&r, (struct rig_options){.prepare = prepare, .may_fail = true});
	rig_until(&r, has_failed, &r);
	ck_assert_msg(strstr(r.failure, why), "'%s' does not say '%s'", r.failure, why);
	ck_assert_uint_eq(r.page->incoming.valid, 1);
	rig_close(&r);
}

START_TEST(a_disk_that_differs_is_refused)
{
	const uint64_t capacity = RIG_DISK_BYTES / VMM_SECTOR - 1;
	const uint32_t blk_size = 4096;
	const uint16_t queues = 2;

	record();
	set_config(offsetof(struct config, capacity), &capacity, sizeof(capacity));
	expect_no_worker("sectors");
	record();
	set_config(offsetof(struct config, blk_size), &blk_size, sizeof(blk_size));
	expect_no_worker("blocks of 512");
	record();
	set_config(offsetof(struct config, num_queues), &queues, sizeof(queues));
	expect_no_worker("queues");
}
END_TEST

START_TEST(features_that_are_not_offered_are_refused)
{
	record();
	facts.acknowledged |= 1ull << 60;
	expect_no_worker("0x1000000000000000");
}
END_TEST

UNIT_MAIN(requests_in_flight_are_done_once, in_the_order_in_which_they_were_taken,
	killed_at_every_point, a_vmm_may_be_early, early_and_killed_at_every_point,
	what_was_given_back_is_forgotten, memory_of_another_moment_is_refused,
	the_vmms_own_features_may_differ, what_the_guest_has_set_stays,
	a_disk_that_differs_is_refused, features_that_are_not_offered_are_refused)
