/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker that is killed in front of every single store to ring and in-flight region, and its
 * successor in front of every store of its recovery. Built with IOVD_STORE_HOOK.
 *
 * One run is a guest and a device that take turns by a fixed pseudo-random schedule until TOTAL
 * requests are done. Everything that outlives a process (the guest's state included) lies in shared
 * memory; the device's state is in a child, which ends at a given store. What must hold:
 *
 *	no request is lost		the run ends, with nothing in flight
 *	none is completed twice		(driver_take() looks at every used element)
 *	none is done after its end	a request that is popped was not completed yet
 *	none is taken for new		one that was popped before comes back as a replay
 *	replays come first, in order	of their first fetching, which is the guest's order
 *
 * In order, requests are also given back, some become visible only together, and a successor may
 * take none for a replay.
 */
#include "config.h"

#ifndef IOVD_STORE_HOOK
#define IOVD_STORE_HOOK /* the Makefile says it for the code under test too */
#endif

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/backends/shared_mem.h"
#include "tests/unit/driver.h"
#include "tests/unit/unit.h"

#define TOTAL     10
#define MAX_PARTS 3
#define DATA      (GUEST_BASE + 0x10000)
#define SLOT_SIZE 0x1000ull
#define NEVER     UINT32_MAX

/* Seeds from here on. */
#define IN_ORDER 1000u
#define REFETCH  2000u

#ifdef IOVD_SANITIZERS
#define STEP 7 /* a fork costs so much more that a sample of the stores has to do */
#else
#define STEP 1
#endif

enum exit_code { DONE = 0, WRONG = 1, STOPPED = 42 };

struct request {
	uint16_t id;
	bool popped, completed;
	unsigned int joined; /* so many behind it are seen together with it */
};

struct run {
	struct driver driver;
	int inflight_fd;
	bool in_order, refetch;
	bool reconnect; /* successors are started by the VMM, not by takeover */
	uint32_t random;
	unsigned int generation;
	unsigned int submitted, completed;
	struct request requests[TOTAL];
	unsigned int by_id[VIRTQ_MAX_SIZE]; /* which request has this head or buffer id */
	uint32_t stores;                    /* of this generation */
	uint32_t start_stores;              /* the part of them that was in virtq_start() */
	uint32_t stop_at;
};

static struct run *run; /* shared with the children */

void shared_store_hook(void)
{
	if (run->stores++ == run->stop_at)
		_exit(STOPPED);
}

static unsigned int pick(unsigned int below)
{
	run->random = run->random * 1664525 + 1013904223;
	return (run->random >> 16) % below;
}

static uint64_t slot_of(unsigned int seq)
{
	return DATA + seq * SLOT_SIZE;
}

/* Request `seq` says its number in its first buffer and wants it back, complemented, in its last. */
static bool submit(unsigned int seq)
{
	unsigned int parts = pick(MAX_PARTS - 1) + 2;
	struct driver_buf bufs[MAX_PARTS];
	uint64_t table = run->driver.opt.indirect && pick(2) ? slot_of(seq) + 0x800 : 0;
	int id;

	for (unsigned int i = 0; i < parts; i++)
		bufs[i] = (struct driver_buf){slot_of(seq) + 4 * i, 4};
	memcpy(driver_host(&run->driver, slot_of(seq)), &seq, 4);
	id = driver_add(&run->driver, bufs, 1, parts - 1, table);
	if (id < 0)
		return false;
	run->requests[seq].id = (uint16_t)id;
	run->by_id[id] = seq;
	return true;
}

/* Which request is there next, or TOTAL. */
static unsigned int guest_take(void)
{
	unsigned int seq, answer;
	uint32_t len;
	uint16_t id;

	if (!driver_take(&run->driver, &id, &len))
		return TOTAL;
	seq = run->by_id[id];
	must(!run->requests[seq].completed);
	memcpy(&answer, driver_host(&run->driver, slot_of(seq) + len), 4);
	must(answer == ~seq);
	run->requests[seq].completed = true;
	run->completed++;
	return seq;
}

static void guest_turn(void)
{
	unsigned int seq;

	while (pick(3) && (seq = guest_take()) < TOTAL)
		for (unsigned int n = run->requests[seq].joined, i = 1; i <= n; i++)
			must(guest_take() == seq + i);
	while (run->submitted < TOTAL && pick(4) && submit(run->submitted))
		run->submitted++;
}

static unsigned int seq_of(const struct virtq_chain *chain)
{
	unsigned int seq;

	must(chain->out_len == 4);
	memcpy(&seq, chain->iov[0].iov_base, 4);
	must(seq < run->submitted);
	return seq;
}

struct device_state {
	struct device dev;
	struct virtq_chain *held[TOTAL];
	unsigned int count;
	unsigned int next_seq; /* nothing popped may be older than this */
	bool new_seen;
};

static void take(struct device_state *s, struct virtq_chain *chain)
{
	unsigned int seq = seq_of(chain);

	must(!run->requests[seq].completed);
	must(!run->requests[seq].popped || chain->replayed || run->refetch);
	must(!chain->replayed || !run->refetch);
	must(!chain->replayed || !s->new_seen);
	must(seq >= s->next_seq);
	must(chain->id == run->requests[seq].id);
	s->next_seq = seq + 1;
	s->new_seen |= !chain->replayed;
	run->requests[seq].popped = true;
	s->held[s->count++] = chain;
}

static void complete_one(struct device_state *s)
{
	unsigned int i = pick(s->count), answer;
	struct virtq_chain *chain = s->held[i];

	answer = ~seq_of(chain);
	memcpy(chain->iov[chain->out_count + chain->in_count - 1].iov_base, &answer, 4);
	virtq_push(s->dev.q, chain, (uint32_t)chain->in_len);
	s->held[i] = s->held[--s->count];
}

/* The oldest ones, seen together. */
static void complete_in_order(struct device_state *s)
{
	unsigned int count = 1 + pick(s->count);

	for (unsigned int i = 0; i < count; i++)
		run->requests[seq_of(s->held[i])].joined = count - 1 - i;
	for (unsigned int i = 0; i < count; i++) {
		struct virtq_chain *chain = s->held[i];
		unsigned int answer = ~seq_of(chain);

		memcpy(chain->iov[chain->out_count + chain->in_count - 1].iov_base, &answer, 4);
		chain->joined = i + 1 < count;
		virtq_push(s->dev.q, chain, (uint32_t)chain->in_len);
	}
	s->count -= count;
	memmove(&s->held[0], &s->held[count], s->count * sizeof(s->held[0]));
}

static void give_back_one(struct device_state *s)
{
	struct virtq_chain *chain = s->held[--s->count];

	s->next_seq = seq_of(chain);
	run->requests[s->next_seq].popped = false;
	virtq_give_back(s->dev.q, chain);
}

static void device_turn(struct device_state *s)
{
	struct virtq_chain *chain;

	while (pick(4) && (chain = virtq_pop(s->dev.q)))
		take(s, chain);
	must_msg(!virtq_broken(s->dev.q), "%s", virtq_broken(s->dev.q));
	while (run->in_order && s->count && !pick(3) && !s->held[s->count - 1]->replayed)
		give_back_one(s);
	while (s->count && pick(3)) {
		if (run->in_order)
			complete_in_order(s);
		else
			complete_one(s);
	}
	if (pick(3))
		virtq_publish(s->dev.q);
	if (pick(2))
		virtq_kicks_on(s->dev.q);
}

static void child(void)
{
	struct virtq_config cfg = driver_config(&run->driver);
	struct device_state s = {0};
	struct err e = ERR_INIT;

	if (run->generation)
		guest_turn(); /* it does not stop when we do */
	cfg.takeover = run->generation && !run->reconnect;
	cfg.in_order = run->in_order;
	cfg.refetch = run->refetch;
	if (run->generation && !run->driver.opt.packed)
		cfg.base = run->driver.used->idx; /* as QEMU has it then */
	run->generation++;
	run->stores = 0;
	run->start_stores = NEVER;
	must_msg(device_open(&s.dev, &run->driver, &cfg, run->inflight_fd, &e) == 0, "%s", e.msg);
	run->start_stores = run->stores;
	while (run->completed < TOTAL) {
		guest_turn();
		device_turn(&s);
	}
	virtq_publish(s.dev.q);
	must(virtq_in_flight(s.dev.q) == 0);
	must(!virtq_has_work(s.dev.q));
	_exit(DONE);
}

/* One generation, killed in front of store `stop_at`. */
static enum exit_code generation(uint32_t stop_at)
{
	int status;
	pid_t pid;

	run->stop_at = stop_at;
	pid = fork();
	if (pid == 0)
		child();
	must(waitpid(pid, &status, 0) == pid);
	must_msg(WIFEXITED(status) && WEXITSTATUS(status) != WRONG,
		"generation %u, stopped at store %u, ended with 0x%x", run->generation, stop_at,
		status);
	return WEXITSTATUS(status);
}

static void begin(struct driver_options opt, uint32_t seed)
{
	memset(run, 0, sizeof(*run));
	driver_open(&run->driver, opt);
	/* Near the end of what the indexes can count, or of the ring. */
	driver_begin_at(
		&run->driver, (uint16_t)(opt.packed ? seed % opt.size : 0x10000 - seed % 8));
	run->inflight_fd = inflight_memfd(&run->driver);
	run->random = seed;
	run->reconnect = seed % 2 == 0;
	run->in_order = seed >= IN_ORDER;
	run->refetch = seed >= REFETCH;
}

static void end(void)
{
	driver_close(&run->driver);
	close(run->inflight_fd);
}

static void setup(void)
{
	run = mmap(NULL, sizeof(*run), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(run != MAP_FAILED);
}

enum kill_result { NO_SUCH_STORE, ONE_KILL, TWO_KILLS };

/*
 * A run whose first process is killed at store n and its successor at store m. TWO_KILLS if m was
 * one of the recovery's own (those after it are stores like the first process's).
 */
static enum kill_result kill_at(struct driver_options opt, uint32_t seed, uint32_t n, uint32_t m)
{
	enum kill_result result = NO_SUCH_STORE;

	begin(opt, seed);
	if (generation(n) == STOPPED) {
		result = ONE_KILL;
		if (generation(m) == STOPPED) {
			result = run->stores <= run->start_stores ? TWO_KILLS : ONE_KILL;
			must(generation(NEVER) == DONE);
		}
	}
	must(run->completed == TOTAL);
	end();
	return result;
}

static void sweep(struct driver_options opt, uint32_t seed)
{
	enum kill_result result = ONE_KILL;
	uint32_t n, m;

	setup();
	for (n = seed % STEP; result != NO_SUCH_STORE; n += STEP) {
		m = 0;
		do
			result = kill_at(opt, seed, n, m++);
		while (result == TWO_KILLS);
	}
	must(n > TOTAL * 6);
}

START_TEST(split_survives_every_store)
{
	sweep((struct driver_options){.size = 8}, 1);
}
END_TEST

START_TEST(split_after_a_reconnect)
{
	sweep((struct driver_options){.size = 8}, 2);
}
END_TEST

START_TEST(split_with_indirect_and_event_index)
{
	sweep((struct driver_options){.size = 4, .indirect = true, .event_idx = true}, 3);
}
END_TEST

START_TEST(packed_survives_every_store)
{
	sweep((struct driver_options){.size = 7, .packed = true}, 1);
}
END_TEST

START_TEST(packed_after_a_reconnect)
{
	sweep((struct driver_options){.size = 7, .packed = true}, 2);
}
END_TEST

/* Rings that one request fills: an index comes back to itself with the wrap counter flipped. */
START_TEST(packed_with_requests_as_long_as_the_ring)
{
	sweep((struct driver_options){.size = 3, .packed = true, .event_idx = true}, 4);
}
END_TEST

START_TEST(packed_with_a_ring_of_one)
{
	sweep((struct driver_options){.size = 1, .packed = true, .indirect = true}, 5);
}
END_TEST

START_TEST(split_in_order)
{
	sweep((struct driver_options){.size = 8}, IN_ORDER + 1);
	sweep((struct driver_options){.size = 8, .event_idx = true}, REFETCH);
	sweep((struct driver_options){.size = 4, .indirect = true}, REFETCH + 1);
}
END_TEST

START_TEST(packed_in_order)
{
	sweep((struct driver_options){.size = 7, .packed = true}, IN_ORDER + 1);
}
END_TEST

START_TEST(packed_in_order_fetched_again)
{
	sweep((struct driver_options){.size = 5, .packed = true, .indirect = true}, REFETCH);
}
END_TEST

/* A long line of kills: every generation is stopped somewhere, for many seeds. */
static void chain_of_kills(struct driver_options opt, uint32_t seed)
{
	uint32_t stop = 1 + seed % 13;

	begin(opt, seed);
	for (int i = 0; i < 60 && generation(stop) == STOPPED; i++)
		stop = 1 + (stop * 7 + seed) % 29;
	if (run->completed < TOTAL)
		must(generation(NEVER) == DONE);
	must(run->completed == TOTAL);
	end();
}

START_TEST(many_kills_in_a_row)
{
	setup();
	for (uint32_t seed = 0; seed < 40; seed += STEP) {
		bool packed = seed & 1, event_idx = seed & 2;

		chain_of_kills((struct driver_options){.size = packed ? 5 : 8,
				       .packed = packed,
				       .event_idx = event_idx,
				       .indirect = true},
			seed + (seed % 3) * IN_ORDER);
	}
}
END_TEST

UNIT_MAIN(split_survives_every_store, split_after_a_reconnect, split_with_indirect_and_event_index,
	packed_survives_every_store, packed_after_a_reconnect,
	packed_with_requests_as_long_as_the_ring, packed_with_a_ring_of_one, split_in_order,
	packed_in_order, packed_in_order_fetched_again, many_kills_in_a_row)
