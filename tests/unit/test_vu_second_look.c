/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest without barriers: its wish to be called, or its request, becomes visible only after the
 * worker has looked, and nobody notifies anybody. The worker finds it by itself (vu_second_look.c).
 *
 * The worker's second look comes soon after what it did last, and this process may be late for it; so
 * a few tries are given to each.
 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "tests/unit/vmm.h"

#define TRIES     50u
#define WAIT_MS   100u
#define SETTLE_US 300u

static void open_and_start(struct vmm *v)
{
	vmm_open(v, (struct rig_options){0});
	vmm_greet(v);
	vmm_share_memory(v, VU_ADD_MEM_REG);
	vmm_start_ring(v, 0);
	vmm_use_disk(v, 0x10);
}

static uint16_t visible16(const uint16_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static bool becomes(const uint16_t *word, uint16_t value, unsigned int ms)
{
	uint64_t until = now_ms() + ms;

	while (visible16(word) != value)
		if (now_ms() > until)
			return false;
	return true;
}

static bool was_called(const struct vmm *v)
{
	eventfd_t count;

	return eventfd_read(v->call, &count) == 0;
}

static bool is_called(const struct vmm *v)
{
	uint64_t until = now_ms() + WAIT_MS;

	while (!was_called(v))
		if (now_ms() > until)
			return false;
	return true;
}

/* One request of which the driver says too late that it wants to hear; was it called? */
static bool late_wish(struct vmm *v)
{
	bool called;

	driver_call_at(&v->driver, 5);
	vmm_ask(v, 0, true, 0);
	vmm_kick(v);
	ck_assert(becomes(&v->driver.used->idx, (uint16_t)v->requests, 10000));
	was_called(v);
	driver_call_at(&v->driver, 0);
	called = is_called(v);
	vmm_await(v, 1);
	return called;
}

START_TEST(a_late_wish_is_heard)
{
	unsigned int called = 0;
	struct vmm v;

	open_and_start(&v);
	for (unsigned int i = 0; i < TRIES && !called; i++)
		called += late_wish(&v);
	ck_assert_msg(called, "never called");
	vmm_close(&v);
}
END_TEST

/* One request that is done with a kick, one without when the worker is about to sleep: was it done? */
static bool lost_kick(struct vmm *v)
{
	bool done;

	vmm_ask(v, 0, true, 0);
	vmm_kick(v);
	vmm_await(v, 1);
	ck_assert(becomes(v->driver.avail_event, (uint16_t)v->requests, 10000));
	usleep(SETTLE_US); /* it has looked whether there is more */
	vmm_ask(v, 0, true, 0);
	done = becomes(&v->driver.used->idx, (uint16_t)v->requests, WAIT_MS);
	if (!done)
		vmm_kick(v);
	vmm_await(v, 1);
	return done;
}

START_TEST(a_lost_kick_is_made_up_for)
{
	unsigned int done = 0, tries = 0;
	struct vmm v;

	open_and_start(&v);
	while (done < 3 && tries++ < TRIES)
		done += lost_kick(&v);
	ck_assert_msg(done >= 3, "found %u of %u", done, tries);
	vmm_close(&v);
}
END_TEST

UNIT_MAIN(a_late_wish_is_heard, a_lost_kick_is_made_up_for)
