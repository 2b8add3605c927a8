/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate of a session: what is in flight drains, nothing follows, nothing that the guest asks for
 * meanwhile is lost; and all of that with the worker killed at every point of the way.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

#include "lib/backends/inflight_priv.h"
#include "lib/cleanup.h"
#include "tests/unit/unit.h"
#include "tests/unit/vmm.h"

#define SHUT(n)   session_gate_word(n, SESSION_GATE_SHUT)
#define OPEN(n)   session_gate_word(n, 0)
#define ARM(n)    session_gate_word(n, SESSION_GATE_ARM)
#define CARRY(n)  session_gate_word(n, SESSION_GATE_SHUT | SESSION_GATE_CARRY)
#define STORED(n) session_gate_word(n, SESSION_GATE_SHUT | SESSION_GATE_CARRY | SESSION_GATE_STORED)

static void connect_ring(struct vmm *v)
{
	vmm_greet(v);
	vmm_get_inflight(v);
	vmm_set_inflight(v);
	vmm_share_memory(v, VU_ADD_MEM_REG);
	vmm_start_ring(v, 0);
}

/* Two answers: the worker has looked at its rings since whatever we did before. */
static void worker_looks(struct vmm *v)
{
	vmm_u64_of(v, VU_GET_STATUS);
	vmm_u64_of(v, VU_GET_STATUS);
}

static void ask_some(struct vmm *v, unsigned int first, unsigned int count)
{
	for (unsigned int n = first; n < first + count; n++)
		vmm_ask(v, 1, false, n);
	vmm_kick(v);
}

static unsigned int take_what_is_done(struct vmm *v)
{
	unsigned int count = 0;
	uint16_t id;
	uint32_t len;

	while (driver_take(&v->driver, &id, &len))
		count++;
	return count;
}

static void look_nothing_comes(struct vmm *v)
{
	worker_looks(v);
	ck_assert_uint_eq(take_what_is_done(v), 0);
}

/* Requests are made just before, and while, the gate is shut; all are done, each once. */
static void shut_and_open(struct vmm *v)
{
	unsigned int done;

	connect_ring(v);
	ask_some(v, 0, 2);
	rig_tell_gate(&v->rig, SHUT(1));
	rig_until_settled(&v->rig);
	done = take_what_is_done(v);
	ask_some(v, 2, 3); /* the ring is full */
	look_nothing_comes(v);
	ck_assert_uint_eq(v->rig.page->in_flight, 0);
	rig_tell_gate(&v->rig, OPEN(2));
	vmm_await(v, 5 - done);
	vmm_check_status(v, 0, 5);
	vmm_use_disk(v, 0x30);
	rig_until_quiet(&v->rig);
}

START_TEST(nothing_passes_a_shut_gate)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){0});
	shut_and_open(&v);
	ck_assert_uint_eq(v.rig.deaths, 0);
	ck_assert_uint_eq(v.rig.page->requests_completed, 5 + 8);
	ck_assert_uint_eq(v.rig.page->timed_requests, 5 + 8);
	vmm_close(&v);
}
END_TEST

START_TEST(killed_at_every_point)
{
	struct rig_options opt = {.kill_at = 1};
	unsigned int deaths;

	do {
		struct vmm v;

		vmm_open(&v, opt);
		shut_and_open(&v);
		deaths = v.rig.deaths;
		vmm_close(&v);
		opt.kill_at++;
	} while (deaths);
	ck_assert_uint_gt(opt.kill_at, 100);
	printf("killed at %u points\n", opt.kill_at - 2);
}
END_TEST

START_TEST(a_successor_is_as_shut)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){0});
	connect_ring(&v);
	rig_tell_gate(&v.rig, SHUT(7));
	rig_until_settled(&v.rig);
	ask_some(&v, 0, 4);
	for (unsigned int n = 0; n < 3; n++) {
		kill(v.rig.worker, SIGKILL);
		look_nothing_comes(&v);
	}
	rig_tell_gate(&v.rig, OPEN(8));
	vmm_await(&v, 4);
	ck_assert_uint_eq(v.rig.deaths, 3);
	vmm_close(&v);
}
END_TEST

/* What was overtaken by a newer word means nothing any more. */
START_TEST(an_old_word_is_not_obeyed)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){0});
	connect_ring(&v);
	rig_tell_gate(&v.rig, SHUT(5));
	rig_until_settled(&v.rig);
	rig_tell_gate(&v.rig, OPEN(4));
	ask_some(&v, 0, 1);
	look_nothing_comes(&v);
	rig_tell_gate(&v.rig, OPEN(5));
	look_nothing_comes(&v);
	rig_tell_gate(&v.rig, OPEN(6));
	vmm_await(&v, 1);
	vmm_close(&v);
}
END_TEST

/* The VMM may stop and start its rings, and leave, as if there were no gate. */
START_TEST(the_vmm_is_served_behind_it)
{
	struct vmm v;
	uint32_t base;

	vmm_open(&v, (struct rig_options){0});
	rig_tell_gate(&v.rig, SHUT(1));
	rig_until_settled(&v.rig);
	connect_ring(&v);
	ask_some(&v, 0, 2);
	base = vmm_get_base(&v);
	ck_assert_uint_eq(base, 0);
	vmm_set_inflight(&v);
	vmm_start_ring(&v, base);
	look_nothing_comes(&v);
	rig_connect(&v.rig);
	vmm_greet(&v);
	vmm_set_inflight(&v);
	vmm_share_memory(&v, VU_ADD_MEM_REG);
	vmm_start_ring(&v, base);
	look_nothing_comes(&v);
	rig_tell_gate(&v.rig, OPEN(2));
	vmm_await(&v, 2);
	vmm_check_status(&v, 0, 2);
	vmm_close(&v);
}
END_TEST

static void log_writes(struct vmm *v, bool on)
{
	vmm_tell_u64(v, VU_SET_FEATURES, true, VMM_FEATURES | (on ? VHOST_F_LOG_ALL : 0));
}

/* Stops the ring, and starts it again. */
static void stop_and_start(struct vmm *v)
{
	uint32_t base = vmm_get_base(v);

	vmm_set_inflight(v);
	vmm_start_ring(v, base);
}

static void connect_armed(struct vmm *v)
{
	connect_ring(v);
	rig_tell_gate(&v->rig, ARM(1));
	rig_until_heard(&v->rig);
}

/* The machine goes away, comes back, and asks for more. */
static void go_and_come_back(struct vmm *v)
{
	log_writes(v, true);
	stop_and_start(v);
	log_writes(v, false);
	ck_assert(page_gate_has_tripped(v->rig.page));
	ask_some(v, 0, 3);
	look_nothing_comes(v);
	rig_until_settled(&v->rig);
}

START_TEST(armed_it_shuts_as_the_machine_leaves)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){0});
	connect_armed(&v);
	vmm_use_disk(&v, 0x20);
	stop_and_start(&v); /* nobody moves */
	vmm_use_disk(&v, 0x28);
	go_and_come_back(&v);
	rig_tell_gate(&v.rig, ARM(2));
	vmm_await(&v, 3);
	vmm_check_status(&v, 0, 3);
	vmm_use_disk(&v, 0x38);
	vmm_close(&v);
}
END_TEST

START_TEST(armed_and_killed_at_every_point)
{
	struct rig_options opt = {.kill_at = 1};
	unsigned int deaths;

	do {
		struct vmm v;

		vmm_open(&v, opt);
		connect_armed(&v);
		go_and_come_back(&v);
		rig_tell_gate(&v.rig, OPEN(2));
		vmm_await(&v, 3);
		deaths = v.rig.deaths;
		vmm_close(&v);
		opt.kill_at++;
	} while (deaths);
	ck_assert_uint_gt(opt.kill_at, 100);
	printf("armed: killed at %u points\n", opt.kill_at - 2);
}
END_TEST

/* The machine leaves, and it is armed only when all has stopped; killed here or there. */
static void armed_too_late(struct vmm *v)
{
	uint32_t base;

	connect_ring(v);
	log_writes(v, true);
	base = vmm_get_base(v);
	rig_tell_gate(&v->rig, ARM(1));
	rig_until_heard(&v->rig);
	ck_assert(page_gate_has_tripped(v->rig.page));
	log_writes(v, false);
	vmm_set_inflight(v);
	vmm_start_ring(v, base);
	ck_assert_uint_eq(v->rig.page->trip.back, v->rig.page->trip.word);
	ask_some(v, 0, 3);
	look_nothing_comes(v);
	rig_tell_gate(&v->rig, ARM(2)); /* it runs: nothing trips */
	vmm_await(v, 3);
}

START_TEST(armed_too_late_it_shuts_at_once)
{
	struct rig_options opt = {0};
	unsigned int deaths;

	do {
		struct vmm v;

		vmm_open(&v, opt);
		armed_too_late(&v);
		deaths = v.rig.deaths;
		vmm_close(&v);
		opt.kill_at++;
	} while (deaths || opt.kill_at == 1);
	ck_assert_uint_gt(opt.kill_at, 50);
}
END_TEST

static bool is_left(void *arg)
{
	return !((struct rig *)arg)->page->connected;
}

static bool is_sent_off(void *arg)
{
	char c;

	return recv(((struct rig *)arg)->vmm, &c, 1, MSG_DONTWAIT) == 0;
}

static void knock_in_vain(struct rig *r)
{
	close_fd(&r->vmm);
	rig_until(r, is_left, r);
	r->vmm = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(r->vmm, (struct sockaddr *)&r->door, r->door_len), 0);
	rig_until(r, is_sent_off, r);
	ck_assert(!r->page->connected);
}

/* Whoever connects while the machine is away is sent off, whatever dies meanwhile. */
START_TEST(nobody_is_let_in_while_it_is_away)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){0});
	connect_armed(&v);
	go_and_come_back(&v);
	rig_tell_gate(&v.rig, session_gate_word(2, SESSION_GATE_SHUT | SESSION_GATE_AWAY));
	rig_until_settled(&v.rig);
	for (unsigned int n = 0; n < 2; n++) {
		knock_in_vain(&v.rig);
		kill(v.rig.worker, SIGKILL);
	}
	rig_tell_gate(&v.rig, OPEN(3));
	rig_until_heard(&v.rig);
	rig_connect(&v.rig);
	vmm_close(&v);
}
END_TEST

/* As a worker that died would have left it. */
static void mark_first_in_flight(struct vmm *v)
{
	struct inflight_split *region = mmap(NULL, v->inflight_desc.mmap_size,
		PROT_READ | PROT_WRITE, MAP_SHARED, v->inflight, 0);

	ck_assert_ptr_ne(region, MAP_FAILED);
	ck_assert_uint_eq(region->version, 1);
	region->entries[v->driver.avail->ring[0]].inflight = 1;
	munmap(region, v->inflight_desc.mmap_size);
}

/* A VMM that comes with requests in flight of its own: they wait as well, and hold up nothing. */
START_TEST(replays_wait_behind_a_settled_gate)
{
	struct vmm v;
	uint32_t base;

	vmm_open(&v, (struct rig_options){0});
	connect_ring(&v);
	base = vmm_get_base(&v);
	vmm_ask(&v, 1, false, 0);
	mark_first_in_flight(&v);
	rig_tell_gate(&v.rig, SHUT(1));
	rig_until_settled(&v.rig);
	vmm_set_inflight(&v);
	vmm_start_ring(&v, base);
	look_nothing_comes(&v);
	base = vmm_get_base(&v);
	ck_assert_uint_eq(base, 1);
	vmm_set_inflight(&v);
	vmm_start_ring(&v, base);
	look_nothing_comes(&v);
	rig_tell_gate(&v.rig, OPEN(2));
	vmm_await(&v, 1);
	ck_assert_uint_eq(v.rig.page->replayed, 1);
	vmm_close(&v);
}
END_TEST

static bool is_at_work(void *arg)
{
	const struct rig *r = arg;

	return (__atomic_load_n(&r->page->message.word, __ATOMIC_ACQUIRE) & 0xffff) == MSG_ACTING;
}

static void expect_no_answer(struct vmm *v)
{
	char c;

	rig_until(&v->rig, NULL, NULL);
	ck_assert_int_lt(recv(v->rig.vmm, &c, 1, MSG_DONTWAIT | MSG_PEEK), 0);
}

/* With a request that was in flight when the gate was shut, and is carried. */
static void connect_carried(struct vmm *v)
{
	uint32_t base;

	connect_ring(v);
	base = vmm_get_base(v);
	vmm_ask(v, 1, false, 0);
	mark_first_in_flight(v);
	rig_tell_gate(&v->rig, CARRY(1));
	rig_until_settled(&v->rig);
	vmm_set_inflight(v);
	vmm_start_ring(v, base);
	look_nothing_comes(v);
}

/* The machine stops before the list of what is carried is kept anywhere: it is not told where it stands. */
START_TEST(nobody_stops_with_what_is_not_stored)
{
	const struct vu_vring_state ring = {0, 0};
	struct vu_vring_state state;
	struct vmm v;
	int fd;

	vmm_open(&v, (struct rig_options){.drain_timeout_ms = 600000});
	connect_carried(&v);
	rig_send(&v.rig, VU_GET_VRING_BASE, 0, &ring, sizeof(ring), NULL, 0);
	rig_until(&v.rig, is_at_work, &v.rig);
	for (unsigned int n = 0; n < 2; n++) {
		expect_no_answer(&v);
		kill(v.rig.worker, SIGKILL);
		rig_tell_gate(&v.rig, CARRY(2 + n));
		rig_until_settled(&v.rig);
	}
	expect_no_answer(&v);
	rig_tell_gate(&v.rig, STORED(4));
	rig_reply(&v.rig, VU_GET_VRING_BASE, &state, sizeof(state), &fd);
	ck_assert_uint_eq(state.num, 1);
	vmm_set_inflight(&v);
	vmm_start_ring(&v, state.num);
	ck_assert_uint_eq(vmm_get_base(&v), 1); /* as often as it likes */
	vmm_set_inflight(&v);
	vmm_start_ring(&v, 1);
	look_nothing_comes(&v);
	rig_tell_gate(&v.rig, OPEN(5));
	vmm_await(&v, 1);
	ck_assert_uint_eq(v.rig.page->replayed, 1);
	vmm_close(&v);
}
END_TEST

#define ARM_AND(n, flags) session_gate_word(n, SESSION_GATE_ARM | (flags))

static bool has_tripped(void *arg)
{
	return page_gate_has_tripped(((struct rig *)arg)->page);
}

/*
 * The machine moves, and what is in flight does not end: it is carried, and the machine leaves when
 * that is stored. The words for that come one after the other, and the gate is shut all the time.
 */
static void leave_carried(struct vmm *v)
{
	const struct vu_vring_state ring = {0, 0};
	struct vu_vring_state state;
	uint32_t base;
	int fd;

	connect_ring(v);
	base = vmm_get_base(v);
	vmm_ask(v, 1, false, 0);
	mark_first_in_flight(v);
	/* It does not end, as with a disk that does nothing, since it is carried before. */
	rig_tell_gate(&v->rig, CARRY(1));
	rig_until_settled(&v->rig);
	vmm_set_inflight(v);
	vmm_start_ring(v, base);
	log_writes(v, true);
	rig_send(&v->rig, VU_GET_VRING_BASE, 0, &ring, sizeof(ring), NULL, 0);
	rig_until(&v->rig, is_at_work, &v->rig);
	rig_tell_gate(&v->rig, ARM_AND(2, SESSION_GATE_CARRY));
	rig_until(&v->rig, has_tripped, &v->rig);
	rig_until_settled(&v->rig);
	rig_tell_gate(&v->rig, ARM_AND(3, SESSION_GATE_CARRY | SESSION_GATE_FENCE));
	rig_until_settled(&v->rig);
	expect_no_answer(v);
	rig_tell_gate(&v->rig, ARM_AND(4, SESSION_GATE_CARRY | SESSION_GATE_STORED));
	rig_reply(&v->rig, VU_GET_VRING_BASE, &state, sizeof(state), &fd);
	ck_assert_uint_eq(state.num, 1);
	ck_assert(page_gate_has_tripped(v->rig.page));
}

static unsigned int carried_away_and_back(unsigned int kill_at)
{
	unsigned int deaths;
	struct vmm v;

	vmm_open(&v, (struct rig_options){.kill_at = kill_at, .drain_timeout_ms = 600000});
	leave_carried(&v);
	rig_until_settled(&v.rig);
	ck_assert(!page_gate_came_back(v.rig.page));
	vmm_set_inflight(&v);
	vmm_start_ring(&v, 1);
	ck_assert(page_gate_came_back(v.rig.page));
	look_nothing_comes(&v);
	rig_tell_gate(&v.rig, ARM(5));
	vmm_await(&v, 1);
	ck_assert(!page_gate_has_tripped(v.rig.page));
	ck_assert_uint_eq(v.rig.page->requests_completed, 1);
	deaths = v.rig.deaths;
	vmm_close(&v);
	return deaths;
}

START_TEST(it_leaves_with_what_is_stored)
{
	ck_assert_uint_eq(carried_away_and_back(0), 0);
}
END_TEST

START_TEST(carried_and_killed_at_every_point)
{
	unsigned int n = 1;

	while (carried_away_and_back(n))
		n++;
	ck_assert_uint_gt(n, 100);
	printf("carried: killed at %u points\n", n - 1);
}
END_TEST

/* Nobody stores it: the VMM does not wait for ever, and has its requests done when it comes again. */
START_TEST(not_stored_it_is_sent_off)
{
	const struct vu_vring_state ring = {0, 0};
	struct vmm v;

	vmm_open(&v, (struct rig_options){.drain_timeout_ms = 100});
	connect_carried(&v);
	rig_send(&v.rig, VU_GET_VRING_BASE, 0, &ring, sizeof(ring), NULL, 0);
	rig_until_closed(&v.rig);
	rig_connect(&v.rig);
	vmm_greet(&v);
	vmm_set_inflight(&v);
	vmm_share_memory(&v, VU_ADD_MEM_REG);
	vmm_start_ring(&v, 0);
	look_nothing_comes(&v);
	rig_tell_gate(&v.rig, OPEN(2));
	vmm_await(&v, 1);
	ck_assert_uint_eq(v.rig.page->replayed, 1);
	vmm_close(&v);
}
END_TEST

UNIT_MAIN(nothing_passes_a_shut_gate, killed_at_every_point, a_successor_is_as_shut,
	an_old_word_is_not_obeyed, the_vmm_is_served_behind_it,
	armed_it_shuts_as_the_machine_leaves, armed_and_killed_at_every_point,
	armed_too_late_it_shuts_at_once, nobody_is_let_in_while_it_is_away,
	replays_wait_behind_a_settled_gate, nobody_stops_with_what_is_not_stored,
	it_leaves_with_what_is_stored, carried_and_killed_at_every_point, not_stored_it_is_sent_off)
