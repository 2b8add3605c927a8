/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hold: a disk fails, and the guest never hears of it; what it asked for is done, once, when the
 * disk is back and the daemon says so. With the worker killed at every point of the way.
 *
 * The disk fails by being cut off: reads find its end. It does not come back by itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "tests/unit/vmm.h"

static void fail_disk(struct vmm *v)
{
	ck_assert_int_eq(ftruncate(v->rig.disk, 0), 0);
}

static void mend_disk(struct vmm *v)
{
	ck_assert_int_eq(ftruncate(v->rig.disk, RIG_DISK_BYTES), 0);
}

static void share_and_start(struct vmm *v)
{
	vmm_share_memory(v, VU_ADD_MEM_REG);
	vmm_start_ring(v, 0);
}

static void connect_ring(struct vmm *v)
{
	vmm_greet(v);
	vmm_get_inflight(v);
	vmm_set_inflight(v);
	share_and_start(v);
}

static void read_some(struct vmm *v, unsigned int first, unsigned int count)
{
	for (unsigned int n = first; n < first + count; n++)
		vmm_ask(v, 0, true, n);
	vmm_kick(v);
}

/* Two answers: the worker has looked at its rings since whatever we did before. */
static void look_nothing_comes(struct vmm *v)
{
	uint16_t id;
	uint32_t len;

	vmm_u64_of(v, VU_GET_STATUS);
	vmm_u64_of(v, VU_GET_STATUS);
	ck_assert(!driver_take(&v->driver, &id, &len));
}

static void fail_and_recover(struct vmm *v)
{
	connect_ring(v);
	vmm_use_disk(v, 0x20);
	fail_disk(v);
	read_some(v, 0, 2);
	rig_until_held(&v->rig);
	read_some(v, 2, 3); /* the ring is full */
	look_nothing_comes(v);
	mend_disk(v);
	look_nothing_comes(v);
	rig_recover(&v->rig);
	vmm_await(v, 5);
	vmm_check_status(v, 0, 5);
	vmm_use_disk(v, 0x40);
	rig_until_quiet(&v->rig);
	ck_assert_uint_eq(v->rig.page->errors, 0);
}

START_TEST(the_guest_does_not_hear_of_it)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){.hold = true});
	fail_and_recover(&v);
	ck_assert_uint_eq(v.rig.deaths, 1);
	ck_assert_uint_eq(v.rig.page->hold.number, 1);
	ck_assert_uint_ge(v.rig.page->replayed, 1);
	ck_assert_uint_eq(v.rig.page->requests_completed, 8 + 5 + 8);
	vmm_close(&v);
}
END_TEST

START_TEST(killed_at_every_point)
{
	struct rig_options opt = {.hold = true, .kill_at = 1};
	unsigned int deaths;

	do {
		struct vmm v;

		vmm_open(&v, opt);
		fail_and_recover(&v);
		deaths = v.rig.deaths;
		vmm_close(&v);
		opt.kill_at += 2;
	} while (deaths > 1);
	ck_assert_uint_gt(opt.kill_at, 100);
	printf("killed at %u points\n", opt.kill_at / 2 - 1);
}
END_TEST

START_TEST(without_the_policy_it_is_told)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){0});
	connect_ring(&v);
	fail_disk(&v);
	read_some(&v, 0, 1);
	vmm_await(&v, 1);
	ck_assert_uint_eq(*(uint8_t *)driver_host(&v.driver, VMM_STATUS_AT), 1);
	ck_assert_uint_eq(v.rig.page->hold.number, 0);
	vmm_close(&v);
}
END_TEST

START_TEST(it_fails_again)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){.hold = true});
	connect_ring(&v);
	fail_disk(&v);
	read_some(&v, 0, 2);
	for (uint32_t n = 1; n <= 3; n++) {
		rig_until_held(&v.rig);
		ck_assert_uint_eq(v.rig.page->hold.number, n);
		ck_assert_ptr_nonnull(strstr(v.rig.page->hold.reason, "read at sector "));
		if (n > 1)
			rig_tell_release(&v.rig, n - 1); /* late: of the one before */
		look_nothing_comes(&v);
		if (n == 3)
			mend_disk(&v);
		rig_recover(&v.rig);
	}
	vmm_await(&v, 2);
	vmm_check_status(&v, 0, 2);
	vmm_close(&v);
}
END_TEST

START_TEST(a_successor_holds_as_well)
{
	struct session_status status;
	struct vmm v;
	struct err e;

	vmm_open(&v, (struct rig_options){.hold = true});
	connect_ring(&v);
	fail_disk(&v);
	read_some(&v, 0, 2);
	rig_until_held(&v.rig);
	mend_disk(&v);
	for (unsigned int n = 0; n < 3; n++) {
		kill(v.rig.worker, SIGKILL);
		look_nothing_comes(&v);
		ck_assert_int_eq(session_page_status(v.rig.vault[VAULT_PAGE], &status, &e), 0);
		ck_assert_uint_eq(status.hold, 1);
		ck_assert_uint_ge(status.in_flight, 1);
	}
	rig_tell_release(&v.rig, 1);
	vmm_await(&v, 2);
	vmm_close(&v);
}
END_TEST

/* Nothing of them is with the host: the VMM may stop its ring, and finds them again in its region. */
START_TEST(the_ring_stops_with_parked_requests)
{
	struct vmm v;
	uint32_t base;

	vmm_open(&v, (struct rig_options){.hold = true, .drain_timeout_ms = 600000});
	connect_ring(&v);
	fail_disk(&v);
	read_some(&v, 0, 2);
	rig_until_held(&v.rig);
	for (unsigned int n = 0; n < 2; n++) {
		base = vmm_get_base(&v);
		vmm_tell_u64(&v, VU_SET_STATUS, false, 0);
		vmm_set_inflight(&v);
		vmm_start_ring(&v, base);
		look_nothing_comes(&v);
		kill(v.rig.worker, SIGKILL); /* the second time it is a successor that stops */
	}
	mend_disk(&v);
	rig_recover(&v.rig);
	vmm_await(&v, 2);
	vmm_check_status(&v, 0, 2);
	vmm_close(&v);
}
END_TEST

/* A guest that was reset does not want them any more: its VMM brings a new region. */
START_TEST(a_reset_drops_them)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){.hold = true, .drain_timeout_ms = 600000});
	connect_ring(&v);
	fail_disk(&v);
	read_some(&v, 0, 2);
	rig_until_held(&v.rig);
	vmm_get_base(&v);
	close(v.inflight);
	driver_restart(&v.driver);
	v.requests = 0;
	vmm_get_inflight(&v);
	vmm_set_inflight(&v);
	vmm_start_ring(&v, 0);
	read_some(&v, 4, 1);
	look_nothing_comes(&v);
	mend_disk(&v);
	rig_recover(&v.rig);
	vmm_await(&v, 1);
	ck_assert_uint_eq(v.rig.page->replayed, 0);
	vmm_close(&v);
}
END_TEST

/* There is no region to leave them in: the drain's deadline ends the connection, and loses nothing. */
START_TEST(without_a_region_it_waits)
{
	struct vmm v;
	struct vu_vring_state state = {0};

	vmm_open(&v, (struct rig_options){.hold = true, .drain_timeout_ms = 100});
	vmm_greet(&v);
	share_and_start(&v);
	fail_disk(&v);
	read_some(&v, 0, 2);
	rig_until_held(&v.rig);
	rig_send(&v.rig, VU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	rig_until_closed(&v.rig);
	vmm_close(&v);
}
END_TEST

/* The other side of the migration would know nothing of them. */
START_TEST(nor_does_it_stop_while_memory_is_logged)
{
	struct vmm v;
	struct vu_vring_state state = {0};

	vmm_open(&v, (struct rig_options){.hold = true, .drain_timeout_ms = 100});
	connect_ring(&v);
	fail_disk(&v);
	read_some(&v, 0, 2);
	rig_until_held(&v.rig);
	vmm_tell_u64(&v, VU_SET_FEATURES, true, VMM_FEATURES | VHOST_F_LOG_ALL);
	rig_send(&v.rig, VU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	rig_until_closed(&v.rig);
	rig_connect(&v.rig); /* and the requests come back in the region */
	vmm_greet(&v);
	vmm_set_inflight(&v);
	share_and_start(&v);
	look_nothing_comes(&v);
	mend_disk(&v);
	rig_recover(&v.rig);
	vmm_await(&v, 2);
	vmm_check_status(&v, 0, 2);
	vmm_close(&v);
}
END_TEST

/* What is held is in flight: the gate cannot settle on that. */
START_TEST(a_gate_does_not_settle_on_it)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){.hold = true});
	connect_ring(&v);
	fail_disk(&v);
	read_some(&v, 0, 2);
	rig_until_held(&v.rig);
	rig_tell_gate(&v.rig, session_gate_word(1, SESSION_GATE_SHUT));
	for (unsigned int n = 0; n < 2; n++) {
		rig_until_heard(&v.rig);
		look_nothing_comes(&v);
		ck_assert_uint_eq(v.rig.page->gate.settled, 0);
		kill(v.rig.worker, SIGKILL);
	}
	mend_disk(&v);
	rig_recover(&v.rig);
	rig_until_settled(&v.rig); /* replays drain */
	rig_tell_gate(&v.rig, session_gate_word(2, 0));
	vmm_await(&v, 2);
	vmm_close(&v);
}
END_TEST

UNIT_MAIN(the_guest_does_not_hear_of_it, killed_at_every_point, without_the_policy_it_is_told,
	it_fails_again, a_successor_holds_as_well, the_ring_stops_with_parked_requests,
	a_reset_drops_them, without_a_region_it_waits, nor_does_it_stop_while_memory_is_logged,
	a_gate_does_not_settle_on_it)
