/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random operations on a ring against a slow, obvious model of it, in both formats; and rings that
 * change while they are read. Whatever happens: every request that was made available is popped
 * once, in order, with the very buffers it was given, and used once.
 */
#include "config.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/driver.h"
#include "tests/unit/unit.h"

#define DATA      (GUEST_BASE + 0x10000)
#define MAX_BUFS  6
#define MAX_KNOWN 64

#ifdef IOVD_SANITIZERS
#define STEPS 30000
#else
#define STEPS 200000
#endif

struct request {
	enum { FREE, AVAILABLE, POPPED, PUSHED } state;
	struct driver_buf bufs[MAX_BUFS];
	unsigned int out, in;
	uint64_t number;
	uint32_t written;
	struct virtq_chain *chain;
	uint64_t table; /* 0: none */
};

struct model {
	struct driver driver;
	struct device device;
	int inflight_fd;
	uint32_t random;
	struct request requests[MAX_KNOWN]; /* by head or buffer id */
	uint64_t submitted, popped, used;
	unsigned int in_flight; /* popped and not published */
};

static unsigned int pick(struct model *m, unsigned int below)
{
	m->random = m->random * 1664525 + 1013904223;
	return (m->random >> 12) % below;
}

static void model_open(struct model *m, struct driver_options opt, uint32_t seed)
{
	memset(m, 0, sizeof(*m));
	m->random = seed;
	driver_open(&m->driver, opt);
	driver_begin_at(&m->driver, opt.packed ? (uint16_t)(seed % opt.size) : 0xff00);
	m->inflight_fd = inflight_memfd(&m->driver);
	device_start(&m->device, &m->driver, m->inflight_fd, false);
}

static void model_close(struct model *m)
{
	device_close(&m->device);
	driver_close(&m->driver);
	close(m->inflight_fd);
}

/* A buffer anywhere in the second half of either region, now and then across the seam. */
static struct driver_buf random_buf(struct model *m)
{
	uint32_t len = pick(m, 4) ? pick(m, 4096) + 1 : 1;
	uint64_t gpa = GUEST_BASE + GUEST_HALF / 2 + pick(m, GUEST_HALF);

	return (struct driver_buf){pick(m, 8) ? gpa : GUEST_SEAM - pick(m, len), len};
}

/* A place for a table that no request uses: a replay reads it again. */
static uint64_t free_table(const struct model *m)
{
	uint64_t table = DATA;

	for (unsigned int i = 0; i < MAX_KNOWN; i++)
		if (m->requests[i].state != FREE && m->requests[i].table == table) {
			table += MAX_BUFS * sizeof(struct raw_desc);
			i = UINT_MAX; /* from the beginning */
		}
	return table;
}

static void submit(struct model *m)
{
	struct request r = {.state = AVAILABLE, .number = m->submitted};
	unsigned int total = pick(m, MAX_BUFS) + 1;
	int id;

	r.out = pick(m, total + 1);
	r.in = total - r.out;
	for (unsigned int i = 0; i < total; i++)
		r.bufs[i] = random_buf(m);
	if (m->driver.opt.indirect && pick(m, 2))
		r.table = free_table(m);
	id = driver_add(&m->driver, r.bufs, r.out, r.in, r.table);
	if (id < 0)
		return;
	must(m->requests[id].state == FREE);
	m->requests[id] = r;
	m->submitted++;
}

/* The same bytes of the host, whether one entry or two. */
static void check_bufs(struct model *m, const struct virtq_chain *chain, const struct request *r)
{
	unsigned int entry = 0;

	for (unsigned int i = 0; i < r->out + r->in; i++) {
		uint64_t gpa = r->bufs[i].gpa, end = gpa + r->bufs[i].len;

		if (i == r->out)
			must(entry == chain->out_count);
		for (; gpa < end; entry++) {
			const struct iovec *iov = &chain->iov[entry];

			must(entry < chain->out_count + chain->in_count);
			must(guest_mem_gpa_of(m->device.mem, iov->iov_base) == gpa);
			gpa += iov->iov_len;
		}
		must(gpa == end);
	}
	must(entry == chain->out_count + chain->in_count);
}

static void pop(struct model *m)
{
	struct virtq_chain *chain = virtq_pop(m->device.q);
	struct request *r;

	if (!chain) {
		must_msg(!virtq_broken(m->device.q), "%s", virtq_broken(m->device.q));
		must(m->popped == m->submitted);
		return;
	}
	r = &m->requests[chain->id];
	must(r->state == AVAILABLE || (r->state == POPPED && chain->replayed));
	must(chain->slot < m->driver.opt.size);
	if (r->state == AVAILABLE) {
		must(r->number == m->popped);
		m->popped++;
		m->in_flight++;
	}
	check_bufs(m, chain, r);
	r->state = POPPED;
	r->chain = chain;
}

static void push(struct model *m)
{
	struct request *r = &m->requests[pick(m, m->driver.opt.size)];

	if (r->state != POPPED || !r->chain)
		return;
	r->written = r->chain->in_len ? pick(m, (unsigned int)r->chain->in_len + 1) : 0;
	virtq_push(m->device.q, r->chain, r->written);
	r->chain = NULL;
	r->state = PUSHED;
}

static void publish(struct model *m)
{
	virtq_publish(m->device.q);
	for (unsigned int i = 0; i < m->driver.opt.size; i++)
		m->in_flight -=
			m->requests[i].state == PUSHED && m->requests[i].number != UINT64_MAX;
	for (unsigned int i = 0; i < m->driver.opt.size; i++)
		if (m->requests[i].state == PUSHED)
			m->requests[i].number = UINT64_MAX; /* the guest may see it */
	must(virtq_in_flight(m->device.q) == m->in_flight);
}

static void take(struct model *m)
{
	struct request *r;
	uint32_t len;
	uint16_t id;

	if (!driver_take(&m->driver, &id, &len))
		return;
	r = &m->requests[id];
	must(r->state == PUSHED);
	must(r->number == UINT64_MAX);
	must(len == r->written);
	r->state = FREE;
	m->used++;
}

/* The process is replaced between two operations. What was staged is not published: popped again. */
static void replace(struct model *m)
{
	device_close(&m->device);
	device_start(&m->device, &m->driver, m->inflight_fd, true);
	must(virtq_in_flight(m->device.q) == m->in_flight);
	for (unsigned int i = 0; i < m->driver.opt.size; i++) {
		struct request *r = &m->requests[i];

		if (r->state == PUSHED && r->number != UINT64_MAX)
			r->state = POPPED;
		r->chain = NULL;
	}
}

static void run_model(struct driver_options opt, uint32_t seed)
{
	static void (*const operations[])(struct model *) = {
		submit, submit, submit, pop, pop, pop, push, push, push, push, publish, take, take};
	static struct model m;

	model_open(&m, opt, seed);
	for (unsigned int i = 0; i < STEPS; i++) {
		operations[pick(&m, ARRAY_SIZE(operations))](&m);
		if (pick(&m, 500) == 0)
			replace(&m);
	}
	must(m.used > STEPS / 50);
	must(m.submitted - m.used <= opt.size);
	model_close(&m);
}

START_TEST(split_agrees_with_the_model)
{
	run_model((struct driver_options){.size = 16}, 1);
	run_model((struct driver_options){.size = 64, .indirect = true, .event_idx = true}, 2);
}
END_TEST

START_TEST(packed_agrees_with_the_model)
{
	run_model((struct driver_options){.size = 13, .packed = true}, 3);
	run_model(
		(struct driver_options){
			.size = 64, .packed = true, .indirect = true, .event_idx = true},
		4);
}
END_TEST

/* A guest with two threads: one flips whatever the device may be reading right now. */
struct flipper {
	struct driver *driver;
	bool stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	uint32_t random = 7;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		struct raw_desc *table = driver_host(f->driver, DATA);
		struct raw_desc *d;

		random = random * 1664525 + 1013904223;
		d = (random >> 28 & 1) ? &table[random >> 20 & 7]
				       : &f->driver->desc[random >> 20 & 7];
		switch (random >> 24 & 7) {
		case 0:
			__atomic_fetch_xor(&d->len, 1u << 31, __ATOMIC_RELAXED);
			break;
		case 1:
			__atomic_fetch_xor(&d->len, 16u, __ATOMIC_RELAXED);
			break;
		case 2:
			__atomic_fetch_xor(&d->addr, 1ull << 63, __ATOMIC_RELAXED);
			break;
		case 3:
			__atomic_fetch_xor(&d->w0, 1u << (random >> 16 & 15), __ATOMIC_RELAXED);
			break;
		case 4:
			__atomic_fetch_xor(&d->w1, 1u << (random >> 16 & 15), __ATOMIC_RELAXED);
			break;
		default:
			__atomic_store_n(&d->len, 64, __ATOMIC_RELAXED);
			__atomic_store_n(&d->addr, DATA, __ATOMIC_RELAXED);
			break;
		}
	}
	return NULL;
}

/* What comes out of virtq_pop() stays within guest memory, and stays what it was. */
static void check_bounds(struct device *dev, const struct virtq_chain *chain)
{
	uint64_t total = 0;

	must(chain->out_count + chain->in_count <= VIRTQ_CHAIN_IOV);
	for (unsigned int i = 0; i < chain->out_count + chain->in_count; i++) {
		const volatile uint8_t *first = chain->iov[i].iov_base;
		uint64_t gpa = guest_mem_gpa_of(dev->mem, chain->iov[i].iov_base);

		must(gpa >= GUEST_BASE);
		must(gpa + chain->iov[i].iov_len <= GUEST_END);
		(void)first[0];
		(void)first[chain->iov[i].iov_len - 1];
		total += chain->iov[i].iov_len;
	}
	must(total == chain->out_len + chain->in_len);
}

static unsigned int race_once(struct driver_options opt, uint32_t seed)
{
	struct driver_buf bufs[] = {{DATA, 64}, {DATA, 64}, {DATA, 64}};
	unsigned int served = 0;
	struct device dev;
	struct driver d;
	struct flipper f = {.driver = &d};
	pthread_t thread;
	int fd;

	driver_open(&d, opt);
	fd = inflight_memfd(&d);
	device_start(&dev, &d, fd, false);
	must(pthread_create(&thread, NULL, flip, &f) == 0);
	for (unsigned int i = 0; i < 300 && !virtq_broken(dev.q); i++) {
		struct virtq_chain *chain;

		/* The guest's own memory of the ring may be at odds with it by now: it is bad. */
		driver_add(&d, bufs, 1, (seed + i) % 3, opt.indirect ? DATA : 0);
		while ((chain = virtq_pop(dev.q))) {
			check_bounds(&dev, chain);
			virtq_push(dev.q, chain, (uint32_t)chain->in_len);
			served++;
		}
		virtq_publish(dev.q);
		d.free_count = d.room = opt.size;
	}
	__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	device_close(&dev);
	driver_close(&d);
	close(fd);
	return served;
}

START_TEST(rings_that_change_while_read)
{
	unsigned int served = 0;

	for (uint32_t seed = 0; seed < 200; seed++)
		served += race_once((struct driver_options){.size = 8,
					    .packed = seed & 1,
					    .indirect = seed & 2,
					    .event_idx = seed & 4},
			seed);
	must(served > 200);
}
END_TEST

UNIT_MAIN(split_agrees_with_the_model, packed_agrees_with_the_model, rings_that_change_while_read)
