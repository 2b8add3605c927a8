/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other side of lib/backends/virtq.h for tests: guest memory in a memfd, and a driver that
 * builds rings in it as a guest would, split and packed, with event indexes and indirect tables.
 * The parts of the rings are public, so that tests can break them.
 *
 * Guest memory is two regions that meet at GUEST_SEAM and lie in the file in reverse order: a
 * buffer that crosses the seam is in two places of the host.
 */
#pragma once

#include <check.h>

#include "lib/backends/virtq.h"

#define GUEST_BASE 0x100000ull /* guest physical address of the first byte */
#define GUEST_HALF 0x200000ull /* bytes in each region */
#define GUEST_SEAM (GUEST_BASE + GUEST_HALF)
#define GUEST_END  (GUEST_SEAM + GUEST_HALF)
#define GUEST_UVA  0x7f1200000000ull /* of GUEST_BASE */

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u
#define DESC_AVAIL    0x80u
#define DESC_USED     0x8000u

/*
 * ck_assert() for what is checked a million times: libcheck's own writes to a pipe each time that
 * it holds.
 */
#define must_msg(condition, ...)                                                                   \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg(__VA_ARGS__);                                                 \
	} while (0)
#define must(condition) must_msg(condition, "%s does not hold", #condition)

struct raw_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t w0; /* split: flags; packed: id */
	uint16_t w1; /* split: next; packed: flags */
};

struct raw_avail {
	uint16_t flags, idx, ring[];
};

struct raw_used_elem {
	uint32_t id, len;
};

struct raw_used {
	uint16_t flags, idx;
	struct raw_used_elem ring[];
};

struct raw_event {
	uint16_t off_wrap, flags;
};

struct driver_buf {
	uint64_t gpa;
	uint32_t len;
};

struct driver_options {
	uint16_t size;
	bool packed, event_idx, indirect;
};

struct driver {
	struct driver_options opt;
	int fd;
	uint8_t *host; /* of GUEST_BASE's region; the other one is in front of it in the file */
	struct raw_desc *desc;
	/* split */
	struct raw_avail *avail;
	struct raw_used *used;
	uint16_t *used_event, *avail_event;
	/* packed */
	struct raw_event *driver_event, *device_event;
	/* the driver's own state */
	uint16_t pos;      /* next to make available (packed: below size) */
	uint16_t used_pos; /* next used to look at */
	bool pos_wrap, used_wrap;
	uint16_t free[VIRTQ_MAX_SIZE]; /* split: descriptors; packed: buffer ids */
	uint16_t free_count;           /* of them */
	uint16_t room;                 /* packed: free ring slots */
	uint16_t
		taken[VIRTQ_MAX_SIZE]; /* by head or id: ring descriptors of the request, 0: none */
	uint16_t links[VIRTQ_MAX_SIZE]; /* split: the driver's own memory of `next` */
};

/* Memory and an empty ring. */
void driver_open(struct driver *d, struct driver_options opt);
void driver_close(struct driver *d);

/* The guest takes the device anew, as after a reboot: an empty ring in the same memory. */
void driver_restart(struct driver *d);

/* Before the first request: the ring's indexes are not 0 (packed: below its size). */
void driver_begin_at(struct driver *d, uint16_t pos);

/* What the VMM would say about it. */
struct virtq_config driver_config(const struct driver *d);
/* Adds both regions. */
void driver_share(const struct driver *d, struct guest_mem *mem);

/* Where what the device writes back begins: the used ring, or the packed ring's descriptors. */
uint64_t driver_ring_gpa(const struct driver *d);

void *driver_host(const struct driver *d, uint64_t gpa);

/*
 * Makes a request of `out` readable and then `in` writable buffers available. Its head or id, or -1
 * when the ring is full. `table` != 0: an indirect table is built there.
 */
int driver_add(struct driver *d, const struct driver_buf *bufs, unsigned int out, unsigned int in,
	uint64_t table);

/* The next used element; false when there is none. Checks that it is one of ours (ck_assert). */
bool driver_take(struct driver *d, uint16_t *id, uint32_t *len);

/* Asks for a call at the used element that is `ahead` further on than the next one. */
void driver_call_at(struct driver *d, uint16_t ahead);
void driver_call_never(struct driver *d);
void driver_call_always(struct driver *d);

/* Would the guest kick, after it made available what was at `from` and later? (position then) */
bool driver_would_kick(const struct driver *d, uint16_t from);

/* A device process's side: memory, region and ring. */
struct device {
	struct guest_mem *mem;
	struct inflight *inflight;
	struct virtq *q;
};

/* A memfd with a fresh region for one ring of this driver. */
int inflight_memfd(const struct driver *d);

/* Opens all and starts the ring; the virtq_start() result (e filled) when that fails. */
int device_open(struct device *dev, const struct driver *d, const struct virtq_config *cfg,
	int inflight_fd, struct err *e);
/* The same with the driver's own config; must succeed. */
void device_start(struct device *dev, const struct driver *d, int inflight_fd, bool takeover);
void device_close(struct device *dev);

/* Pops all, pushes all (everything written), publishes. How many. */
unsigned int device_serve(struct device *dev);
