/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/backends/virtq with a hostile guest and a hostile VMM: guest memory, ring addresses and the
 * in-flight region are the input's bytes, and so are the turns of device and guest.
 *
 *	struct setup	the ring as a VMM describes it
 *	turns[16]	what happens: pop, push, publish, ..., a store by the guest, a new process
 *	region		REGION_BYTES of the in-flight region
 *	the rest	guest memory from its first byte on
 *
 * Whatever is popped must lie within guest memory and be readable to its last byte, and there are
 * never more requests in flight than the ring has entries.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/backends/virtq.h"
#include "tests/fuzz/fuzz.h"

#define HALF         0x2000u /* bytes in each of two regions that meet */
#define GPA          0x1000ull
#define MAX_ENTRIES  32u
#define REGION_BYTES 512u /* the rest of it is zero: fresh */
#define TURNS        16

struct setup {
	uint8_t size;  /* of the ring, and ... */
	uint8_t extra; /* ... entries that the region has more */
	uint8_t flags;
	uint8_t base[4];
	uint8_t desc, avail, used; /* in units of 16 bytes from the first */
	uint8_t log_size;
	uint8_t guest_stride; /* where the guest stores during its turns */
} __attribute__((packed));

enum {
	F_PACKED = 1,
	F_EVENT_IDX = 2,
	F_INDIRECT = 4,
	F_TAKEOVER = 8,
	F_LOG = 16,
	F_UNALIGNED = 32
};

struct world {
	struct setup setup;
	struct guest_mem *mem;
	struct inflight *inflight;
	struct dirty_log *log;
	struct virtq *q;
	struct virtq_chain *held[MAX_ENTRIES];
	unsigned int count;
};

static int guest_fd = -1, inflight_fd = -1, log_fd = -1;
static uint8_t *guest_file, *inflight_file;

static void require(bool good)
{
	if (!good)
		abort();
}

static int make_file(size_t len, uint8_t **map)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	require(fd >= 0 && ftruncate(fd, (off_t)len) == 0);
	*map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(*map != MAP_FAILED);
	return fd;
}

static void make_files(void)
{
	uint8_t *log;

	if (guest_fd >= 0)
		return;
	guest_fd = make_file(2 * HALF, &guest_file);
	inflight_fd = make_file(inflight_region_size(1, MAX_ENTRIES, true), &inflight_file);
	log_fd = make_file(4096, &log);
}

/* The first region lies second in the file. */
static uint8_t *guest_byte(unsigned int at)
{
	return &guest_file[(at + HALF) % (2 * HALF)];
}

static void fill_guest(const uint8_t *data, size_t size)
{
	memset(guest_file, 0, 2 * HALF);
	for (size_t i = 0; i < size && i < 2 * HALF; i++)
		*guest_byte((unsigned int)i) = data[i];
}

static bool start(struct world *w, bool takeover)
{
	const struct setup *s = &w->setup;
	uint64_t skew = s->flags & F_UNALIGNED ? 1 : 0;
	struct virtq_config cfg = {
		.size = s->size,
		.packed = s->flags & F_PACKED,
		.event_idx = s->flags & F_EVENT_IDX,
		.indirect = s->flags & F_INDIRECT,
		.desc_uva = GPA + 16u * s->desc,
		.avail_uva = GPA + 16u * s->avail + skew,
		.used_uva = GPA + 16u * s->used,
		.log_used = s->flags & F_LOG,
		.log_gpa = GPA + 16u * s->used,
		.takeover = takeover,
	};
	struct err e = ERR_INIT;

	memcpy(&cfg.base, s->base, sizeof(cfg.base));
	if (virtq_start(&w->q, &cfg, w->mem, inflight_queue_get(w->inflight, 0), &e) < 0) {
		require(e.msg[0]);
		return false;
	}
	virtq_set_log(w->q, w->log, s->flags & F_LOG, cfg.log_gpa);
	require(virtq_in_flight(w->q) <= s->size);
	return true;
}

static bool open_world(struct world *w)
{
	const struct guest_region_desc low = {GPA, HALF, GPA, HALF};
	const struct guest_region_desc high = {GPA + HALF, HALF, GPA + HALF, 0};
	uint16_t entries = (uint16_t)(w->setup.size + w->setup.extra % 4);

	w->mem = guest_mem_new();
	require(guest_mem_add(w->mem, &low, guest_fd, NULL) == 0);
	require(guest_mem_add(w->mem, &high, guest_fd, NULL) == 1);
	if (dirty_log_open(&w->log, log_fd, w->setup.log_size, 7, 0, NULL) < 0)
		w->log = NULL;
	if (entries > MAX_ENTRIES)
		return false;
	return inflight_open(&w->inflight, inflight_fd, inflight_region_size(1, MAX_ENTRIES, true),
		       0, 1, entries, 1, w->setup.flags & F_PACKED, NULL) == 0 &&
	       start(w, w->setup.flags & F_TAKEOVER);
}

static void close_world(struct world *w)
{
	virtq_free(w->q);
	inflight_close(w->inflight);
	dirty_log_close(w->log);
	guest_mem_free(w->mem);
}

static void check_chain(const struct world *w, const struct virtq_chain *chain)
{
	uint64_t total = 0;

	require(chain->slot < w->setup.size && chain->id < w->setup.size);
	require(chain->desc_count && chain->desc_count <= w->setup.size);
	require(chain->out_count + chain->in_count <= VIRTQ_CHAIN_IOV);
	for (unsigned int i = 0; i < chain->out_count + chain->in_count; i++) {
		const struct iovec *iov = &chain->iov[i];
		uint64_t gpa = guest_mem_gpa_of(w->mem, iov->iov_base);

		require(iov->iov_len && gpa >= GPA && gpa + iov->iov_len <= GPA + 2 * HALF);
		total += iov->iov_len;
	}
	require(total == chain->out_len + chain->in_len && total <= UINT32_MAX);
}

static void pop(struct world *w)
{
	struct virtq_chain *chain = virtq_pop(w->q);

	if (!chain) {
		require(virtq_broken(w->q) || !virtq_has_work(w->q));
		return;
	}
	check_chain(w, chain);
	require(w->count < MAX_ENTRIES);
	w->held[w->count++] = chain;
}

static void push(struct world *w, unsigned int which)
{
	struct virtq_chain *chain;

	if (!w->count)
		return;
	which %= w->count;
	chain = w->held[which];
	w->held[which] = w->held[--w->count];
	for (unsigned int i = 0; i < chain->in_count; i++) /* the device's data: rings, perhaps */
		memset(chain->iov[chain->out_count + i].iov_base, 0x55,
			MIN(chain->iov[chain->out_count + i].iov_len, 8));
	virtq_push(w->q, chain, (uint32_t)(chain->in_len - (which & 1 && chain->in_len)));
}

/* The process is replaced. False: what it finds is refused. */
static bool replace(struct world *w)
{
	virtq_free(w->q);
	w->q = NULL;
	w->count = 0;
	return start(w, true);
}

static bool turn(struct world *w, uint8_t what)
{
	unsigned int arg = what >> 3;

	switch (what & 7) {
	case 0:
	case 1:
		for (unsigned int i = 0; i <= arg; i++)
			pop(w);
		break;
	case 2:
		for (unsigned int i = 0; i <= arg; i++)
			push(w, arg + i);
		break;
	case 3:
		virtq_publish(w->q);
		break;
	case 4:
		virtq_kicks_off(w->q);
		virtq_kicks_on(w->q);
		break;
	case 5:
		*guest_byte((arg * w->setup.guest_stride + w->setup.avail * 16u) % (2 * HALF)) += 1;
		break;
	case 6:
		*guest_byte((arg * w->setup.guest_stride) % (2 * HALF)) ^=
			(uint8_t)(1u << (arg & 7));
		break;
	case 7:
		return replace(w);
	}
	require(virtq_in_flight(w->q) <= w->setup.size);
	virtq_base(w->q);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t turns[TURNS];
	struct world w = {0};

	if (size < sizeof(w.setup) + TURNS + REGION_BYTES)
		return 0;
	make_files();
	memcpy(&w.setup, data, sizeof(w.setup));
	data += sizeof(w.setup);
	memcpy(turns, data, TURNS);
	data += TURNS;
	memset(inflight_file, 0, inflight_region_size(1, MAX_ENTRIES, true));
	memcpy(inflight_file, data, REGION_BYTES);
	data += REGION_BYTES;
	fill_guest(data, size - sizeof(w.setup) - TURNS - REGION_BYTES);
	if (open_world(&w))
		for (unsigned int i = 0; i < TURNS && turn(&w, turns[i]); i++)
			continue;
	close_world(&w);
	return 0;
}
