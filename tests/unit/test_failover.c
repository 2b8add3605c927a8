/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual function and standby: each reason, the standby that is not there, hysteresis, and a walk. */
#include <string.h>

#include "daemon/failover.h"
#include "tests/unit/unit.h"

static struct failover f;
static uint64_t clock_ms;

static void begin(void)
{
	clock_ms = 1000;
	failover_init(&f, clock_ms);
}

static enum failover_action tell(enum failover_event event)
{
	return failover_step(&f, event, clock_ms);
}

/* Until something is to be done, or for so long; how long it took. */
static uint64_t wait_for(enum failover_action wanted, uint64_t most_ms)
{
	const uint64_t from = clock_ms;

	while (clock_ms - from <= most_ms) {
		if (f.wakes_ms == UINT64_MAX || f.wakes_ms - from > most_ms)
			break;
		ck_assert_uint_gt(f.wakes_ms, clock_ms); /* no loop without end */
		clock_ms = f.wakes_ms;
		if (tell(FAILOVER_TIME) == wanted)
			return clock_ms - from;
	}
	return UINT64_MAX;
}

static void leave_and_join(uint64_t wait_ms)
{
	ck_assert_int_eq(tell(FAILOVER_GONE), FAILOVER_LEAVE);
	ck_assert_int_eq(tell(FAILOVER_DONE), FAILOVER_NOTHING);
	ck_assert_int_eq(tell(FAILOVER_HEALTHY), FAILOVER_NOTHING);
	ck_assert_uint_eq(wait_for(FAILOVER_JOIN, 1000000), wait_ms);
	ck_assert_int_eq(tell(FAILOVER_DONE), FAILOVER_NOTHING);
	ck_assert_int_eq(f.state, FAILOVER_REDUNDANT);
}

START_TEST(link_that_is_touched_stays_and_one_that_is_cut_goes)
{
	begin();
	ck_assert_int_eq(tell(FAILOVER_LINK_DOWN), FAILOVER_NOTHING);
	clock_ms += 200;
	ck_assert_int_eq(tell(FAILOVER_LINK_UP), FAILOVER_NOTHING);
	ck_assert_uint_eq(wait_for(FAILOVER_LEAVE, 100000), UINT64_MAX);
	ck_assert_int_eq(tell(FAILOVER_LINK_DOWN), FAILOVER_NOTHING);
	ck_assert_uint_le(wait_for(FAILOVER_LEAVE, 1000), 250);
	ck_assert(!f.quarantine);
	ck_assert_str_eq(f.reason, "its link is down");
	ck_assert_int_eq(tell(FAILOVER_LINK_UP), FAILOVER_NOTHING); /* too late */
	ck_assert_int_eq(tell(FAILOVER_DONE), FAILOVER_NOTHING);
	ck_assert_int_eq(f.state, FAILOVER_SINGLE);
}
END_TEST

START_TEST(storm_is_quarantined_and_a_few_faults_are_not)
{
	begin();
	for (int i = 0; i < 70; i++) {
		ck_assert_int_eq(tell(FAILOVER_FAULT), FAILOVER_NOTHING);
		clock_ms += 2500; /* 2 in 5 s */
	}
	clock_ms += 5000;
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(tell(FAILOVER_FAULT), FAILOVER_NOTHING);
	ck_assert_int_eq(tell(FAILOVER_FAULT), FAILOVER_LEAVE);
	ck_assert(f.quarantine);
}
END_TEST

START_TEST(what_is_broken_goes_at_once)
{
	static const struct {
		enum failover_event event;
		bool quarantine;
	} rows[] = {{FAILOVER_ERROR, true}, {FAILOVER_GONE, false}, {FAILOVER_PF_RESET, false}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin();
		ck_assert_int_eq(tell(rows[i].event), FAILOVER_LEAVE);
		ck_assert_int_eq(f.quarantine, rows[i].quarantine);
		ck_assert_ptr_nonnull(f.reason);
	}
}
END_TEST

START_TEST(nothing_leaves_while_the_standby_is_down)
{
	begin();
	ck_assert_int_eq(tell(FAILOVER_STANDBY_DOWN), FAILOVER_NOTHING);
	ck_assert_int_eq(tell(FAILOVER_LINK_DOWN), FAILOVER_NOTHING);
	ck_assert_uint_eq(wait_for(FAILOVER_LEAVE, 100000), UINT64_MAX);
	ck_assert_int_eq(tell(FAILOVER_LINK_UP), FAILOVER_NOTHING);
	ck_assert_int_eq(tell(FAILOVER_STANDBY_UP), FAILOVER_NOTHING); /* the link was back first */
	ck_assert_int_eq(tell(FAILOVER_STANDBY_DOWN), FAILOVER_NOTHING);
	ck_assert_int_eq(tell(FAILOVER_ERROR), FAILOVER_NOTHING);
	ck_assert_int_eq(tell(FAILOVER_STANDBY_UP), FAILOVER_LEAVE); /* an error is not */
}
END_TEST

START_TEST(what_fails_is_tried_again)
{
	begin();
	ck_assert_int_eq(tell(FAILOVER_ERROR), FAILOVER_LEAVE);
	ck_assert_int_eq(tell(FAILOVER_FAILED), FAILOVER_NOTHING);
	ck_assert_uint_eq(wait_for(FAILOVER_LEAVE, 10000), 1000);
	ck_assert_int_eq(tell(FAILOVER_DONE), FAILOVER_NOTHING);
	ck_assert_int_eq(tell(FAILOVER_ERROR), FAILOVER_NOTHING);        /* of one that has left */
	ck_assert_uint_eq(wait_for(FAILOVER_JOIN, 1000000), UINT64_MAX); /* none is there */
	ck_assert_int_eq(tell(FAILOVER_HEALTHY), FAILOVER_NOTHING);
	ck_assert_uint_eq(wait_for(FAILOVER_JOIN, 10000), 5000);
	ck_assert_int_eq(tell(FAILOVER_FAILED), FAILOVER_NOTHING);
	ck_assert_uint_eq(wait_for(FAILOVER_JOIN, 10000), 5000);
	ck_assert_int_eq(tell(FAILOVER_LINK_DOWN), FAILOVER_NOTHING); /* of the new one */
	ck_assert_int_eq(tell(FAILOVER_DONE), FAILOVER_NOTHING);
	ck_assert_uint_le(wait_for(FAILOVER_LEAVE, 1000), 250);
}
END_TEST

START_TEST(each_that_does_not_last_makes_the_next_one_wait_longer)
{
	begin();
	leave_and_join(5000);
	for (uint64_t wait_ms = 10000; wait_ms < 320000; wait_ms *= 2)
		leave_and_join(wait_ms);
	leave_and_join(320000);
	leave_and_join(320000); /* and not longer */
	clock_ms += 600000;
	leave_and_join(5000);
}
END_TEST

START_TEST(health_counts_without_a_break)
{
	begin();
	ck_assert_int_eq(tell(FAILOVER_GONE), FAILOVER_LEAVE);
	tell(FAILOVER_DONE);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(tell(FAILOVER_HEALTHY), FAILOVER_NOTHING);
		clock_ms += 4000;
		ck_assert_int_eq(tell(FAILOVER_NONE_HEALTHY), FAILOVER_NOTHING);
	}
	ck_assert_int_eq(tell(FAILOVER_HEALTHY), FAILOVER_NOTHING);
	ck_assert_uint_eq(wait_for(FAILOVER_JOIN, 10000), 5000);
}
END_TEST

/* A port that flaps twice a second for an hour: how often the guest is troubled. */
START_TEST(flapping_port_costs_few_changes)
{
	unsigned int leaves = 0;

	begin();
	tell(FAILOVER_HEALTHY);
	for (int i = 0; i < 2 * 3600; i++) {
		enum failover_action a = tell(i % 2 ? FAILOVER_LINK_UP : FAILOVER_LINK_DOWN);
		const uint64_t next_ms = clock_ms + 500;

		while (a != FAILOVER_NOTHING || f.wakes_ms <= next_ms) {
			leaves += a == FAILOVER_LEAVE;
			if (a == FAILOVER_NOTHING) {
				clock_ms = MAX(f.wakes_ms, clock_ms);
				a = tell(FAILOVER_TIME);
			} else {
				a = tell(FAILOVER_DONE);
			}
		}
		clock_ms = next_ms;
	}
	ck_assert_uint_ge(leaves, 2);
	ck_assert_uint_le(leaves, 20);
}
END_TEST

/* Whatever happens in whatever order, what is promised holds; and in peace it is whole again. */
START_TEST(walk_ends_redundant)
{
	enum failover_action under_way = FAILOVER_NOTHING;

	begin();
	srandom(1);
	for (int i = 0; i < 200000; i++) {
		enum failover_event event = (enum failover_event)(random() % FAILOVER_EVENTS);
		bool ends = event == FAILOVER_DONE || event == FAILOVER_FAILED;
		enum failover_action a;

		if (ends && under_way == FAILOVER_NOTHING)
			continue;
		clock_ms += (uint64_t)(random() % 400);
		if (ends)
			under_way = FAILOVER_NOTHING;
		a = tell(event);
		if (a == FAILOVER_NOTHING)
			continue;
		ck_assert_int_eq(under_way, FAILOVER_NOTHING); /* one thing at a time */
		ck_assert(a != FAILOVER_LEAVE || !f.standby_down);
		ck_assert(a != FAILOVER_JOIN || !f.none_healthy);
		under_way = a;
	}
	tell(FAILOVER_LINK_UP);
	tell(FAILOVER_STANDBY_UP);
	tell(FAILOVER_HEALTHY);
	for (int i = 0; i < 8 && !(f.state == FAILOVER_REDUNDANT && f.wakes_ms == UINT64_MAX);
		i++) {
		if (f.state == FAILOVER_LEAVING || f.state == FAILOVER_JOINING)
			tell(FAILOVER_DONE);
		clock_ms += 320000;
		tell(FAILOVER_TIME);
	}
	ck_assert_str_eq(failover_state_names[f.state], "redundant");
	ck_assert(!f.broken && !f.link_down);
}
END_TEST

UNIT_MAIN(link_that_is_touched_stays_and_one_that_is_cut_goes,
	storm_is_quarantined_and_a_few_faults_are_not, what_is_broken_goes_at_once,
	nothing_leaves_while_the_standby_is_down, what_fails_is_tried_again,
	each_that_does_not_last_makes_the_next_one_wait_longer, health_counts_without_a_break,
	flapping_port_costs_few_changes, walk_ends_redundant)
