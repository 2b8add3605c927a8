/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/driver.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where the ring's parts lie in the first region; the rest is for buffers. */
#define DESC_AT   0x0000u /* 16 KiB at most */
#define AVAIL_AT  0x4000u
#define USED_AT   0x6000u
#define RINGS_END 0x9000u

void *driver_host(const struct driver *d, uint64_t gpa)
{
	return gpa < GUEST_SEAM ? d->host + (gpa - GUEST_BASE)
				: d->host - GUEST_HALF + (gpa - GUEST_SEAM);
}

uint64_t driver_ring_gpa(const struct driver *d)
{
	return GUEST_BASE + (d->opt.packed ? DESC_AT : USED_AT);
}

static void open_split(struct driver *d)
{
	uint16_t size = d->opt.size;

	d->avail = (struct raw_avail *)(d->host + AVAIL_AT);
	d->used = (struct raw_used *)(d->host + USED_AT);
	d->used_event = &d->avail->ring[size];
	d->avail_event = (uint16_t *)&d->used->ring[size];
}

static void open_packed(struct driver *d)
{
	d->driver_event = (struct raw_event *)(d->host + AVAIL_AT);
	d->device_event = (struct raw_event *)(d->host + USED_AT);
	d->pos_wrap = d->used_wrap = true;
}

void driver_restart(struct driver *d)
{
	struct driver fresh = {.opt = d->opt, .fd = d->fd, .host = d->host};

	*d = fresh;
	memset(d->host, 0, RINGS_END);
	d->desc = (struct raw_desc *)(d->host + DESC_AT);
	if (d->opt.packed)
		open_packed(d);
	else
		open_split(d);
	d->room = d->opt.size;
	for (d->free_count = 0; d->free_count < d->opt.size; d->free_count++)
		d->free[d->free_count] = (uint16_t)(d->opt.size - 1 - d->free_count);
}

void driver_open(struct driver *d, struct driver_options opt)
{
	uint8_t *base;

	memset(d, 0, sizeof(*d));
	d->opt = opt;
	d->fd = memfd_create("guest", MFD_CLOEXEC);
	must(d->fd >= 0);
	must(ftruncate(d->fd, 2 * GUEST_HALF) == 0);
	base = mmap(NULL, 2 * GUEST_HALF, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
	must(base != MAP_FAILED);
	d->host = base + GUEST_HALF;
	driver_restart(d);
}

void driver_begin_at(struct driver *d, uint16_t pos)
{
	if (!d->opt.packed)
		d->avail->idx = d->used->idx = pos;
	for (uint16_t i = 0; d->opt.packed && i < pos; i++)
		d->desc[i].w1 = DESC_AVAIL | DESC_USED; /* used in this lap */
	d->pos = d->used_pos = pos;
}

void driver_close(struct driver *d)
{
	munmap(d->host - GUEST_HALF, 2 * GUEST_HALF);
	close(d->fd);
}

/* As SET_VRING_BASE would say with nothing in flight. */
static uint32_t base_of(const struct driver *d)
{
	uint32_t packed = d->used_pos | (d->used_wrap ? 0x8000 : 0);

	return d->opt.packed ? packed | packed << 16 : d->used_pos;
}

struct virtq_config driver_config(const struct driver *d)
{
	return (struct virtq_config){
		.size = d->opt.size,
		.packed = d->opt.packed,
		.event_idx = d->opt.event_idx,
		.indirect = d->opt.indirect,
		.desc_uva = GUEST_UVA + DESC_AT,
		.avail_uva = GUEST_UVA + AVAIL_AT,
		.used_uva = GUEST_UVA + USED_AT,
		.log_gpa = GUEST_BASE + USED_AT,
		.base = base_of(d),
	};
}

void driver_share(const struct driver *d, struct guest_mem *mem)
{
	struct err e = ERR_INIT;
	struct guest_region_desc low = {GUEST_BASE, GUEST_HALF, GUEST_UVA, GUEST_HALF};
	struct guest_region_desc high = {GUEST_SEAM, GUEST_HALF, GUEST_UVA + GUEST_HALF, 0};

	must_msg(guest_mem_add(mem, &low, d->fd, &e) >= 0, "%s", e.msg);
	must_msg(guest_mem_add(mem, &high, d->fd, &e) >= 0, "%s", e.msg);
}

static void fill_table(struct driver *d, const struct driver_buf *bufs, unsigned int out,
	unsigned int in, uint64_t table)
{
	struct raw_desc *t = driver_host(d, table);

	for (unsigned int i = 0; i < out + in; i++) {
		uint16_t flags = i >= out ? DESC_WRITE : 0;

		t[i] = (struct raw_desc){bufs[i].gpa, bufs[i].len, 0, 0};
		if (d->opt.packed) {
			t[i].w1 = flags;
		} else {
			t[i].w0 = flags | (i + 1 < out + in ? DESC_NEXT : 0);
			t[i].w1 = (uint16_t)(i + 1);
		}
	}
}

static int add_split(struct driver *d, const struct raw_desc *descs, unsigned int n)
{
	uint16_t first, at;

	if (d->free_count < n)
		return -1;
	at = first = d->free[d->free_count - 1];
	for (unsigned int i = 0; i < n; i++) {
		uint16_t next = i + 1 < n ? d->free[d->free_count - 2] : 0;

		d->free_count--;
		d->desc[at] = descs[i];
		d->desc[at].w1 = next;
		d->links[at] = next;
		at = next;
	}
	d->taken[first] = (uint16_t)n;
	d->avail->ring[d->pos % d->opt.size] = first;
	d->pos++;
	__atomic_store_n(&d->avail->idx, d->pos, __ATOMIC_SEQ_CST);
	return first;
}

static int add_packed(struct driver *d, const struct raw_desc *descs, unsigned int n)
{
	uint16_t head = d->pos, head_flags = 0, id;

	if (!d->free_count || d->room < n)
		return -1;
	id = d->free[--d->free_count];
	for (unsigned int i = 0; i < n; i++) {
		uint16_t flags = descs[i].w0 | (d->pos_wrap ? DESC_AVAIL : DESC_USED);
		struct raw_desc *to = &d->desc[d->pos];

		to->addr = descs[i].addr;
		to->len = descs[i].len;
		to->w0 = id;
		if (i == 0)
			head_flags = flags;
		else
			to->w1 = flags;
		if (++d->pos == d->opt.size) {
			d->pos = 0;
			d->pos_wrap = !d->pos_wrap;
		}
	}
	d->room -= (uint16_t)n;
	d->taken[id] = (uint16_t)n;
	__atomic_store_n(&d->desc[head].w1, head_flags, __ATOMIC_SEQ_CST);
	return id;
}

int driver_add(struct driver *d, const struct driver_buf *bufs, unsigned int out, unsigned int in,
	uint64_t table)
{
	struct raw_desc descs[VIRTQ_MAX_SIZE + 1];
	unsigned int n = out + in;

	must(n >= 1);
	must(n <= ARRAY_SIZE(descs));
	for (unsigned int i = 0; i < n; i++)
		descs[i] = (struct raw_desc){
			.addr = bufs[i].gpa,
			.len = bufs[i].len,
			.w0 = (i >= out ? DESC_WRITE : 0) | (i + 1 < n ? DESC_NEXT : 0),
		};
	if (table) {
		fill_table(d, bufs, out, in, table);
		descs[0] = (struct raw_desc){
			table, (uint32_t)(n * sizeof(struct raw_desc)), DESC_INDIRECT, 0};
		n = 1;
	}
	return d->opt.packed ? add_packed(d, descs, n) : add_split(d, descs, n);
}

static bool take_split(struct driver *d, uint16_t *id, uint32_t *len)
{
	const struct raw_used_elem *elem;
	uint16_t at;

	if (__atomic_load_n(&d->used->idx, __ATOMIC_SEQ_CST) == d->used_pos)
		return false;
	elem = &d->used->ring[d->used_pos++ % d->opt.size];
	must(elem->id < d->opt.size);
	*id = at = (uint16_t)elem->id;
	*len = elem->len;
	must_msg(d->taken[at], "head %u was not in flight", at);
	for (uint16_t n = d->taken[*id]; n; n--) {
		d->free[d->free_count++] = at;
		at = d->links[at];
	}
	d->taken[*id] = 0;
	return true;
}

static bool take_packed(struct driver *d, uint16_t *id, uint32_t *len)
{
	const struct raw_desc *desc = &d->desc[d->used_pos];
	uint16_t flags = __atomic_load_n(&desc->w1, __ATOMIC_SEQ_CST);

	if (!!(flags & DESC_AVAIL) != d->used_wrap || !!(flags & DESC_USED) != d->used_wrap)
		return false;
	*id = desc->w0;
	*len = desc->len;
	must(*id < d->opt.size);
	must_msg(d->taken[*id], "buffer %u was not in flight", *id);
	d->used_pos += d->taken[*id];
	if (d->used_pos >= d->opt.size) {
		d->used_pos -= d->opt.size;
		d->used_wrap = !d->used_wrap;
	}
	d->room += d->taken[*id];
	d->taken[*id] = 0;
	d->free[d->free_count++] = *id;
	return true;
}

bool driver_take(struct driver *d, uint16_t *id, uint32_t *len)
{
	return d->opt.packed ? take_packed(d, id, len) : take_split(d, id, len);
}

void driver_call_at(struct driver *d, uint16_t ahead)
{
	uint16_t pos = (uint16_t)(d->used_pos + ahead);
	bool wrap = d->used_wrap;

	if (!d->opt.packed) {
		*d->used_event = pos;
		return;
	}
	if (pos >= d->opt.size) {
		pos -= d->opt.size;
		wrap = !wrap;
	}
	d->driver_event->off_wrap = pos | (wrap ? 0x8000 : 0);
	d->driver_event->flags = 2;
}

void driver_call_never(struct driver *d)
{
	if (d->opt.packed)
		d->driver_event->flags = 1;
	else
		d->avail->flags = 1;
}

void driver_call_always(struct driver *d)
{
	if (d->opt.packed)
		d->driver_event->flags = 0;
	else
		d->avail->flags = 0;
}

static bool packed_would_kick(const struct driver *d, uint16_t from)
{
	uint16_t event = d->device_event->off_wrap & 0x7fff;
	bool wrap = d->device_event->off_wrap & 0x8000;
	unsigned int start, passed;

	if (d->device_event->flags != 2)
		return d->device_event->flags == 0;
	/* Both on one line, counted from the beginning of the lap before this one. */
	start = from + (from < d->pos ? d->opt.size : 0);
	passed = event + (wrap == d->pos_wrap ? d->opt.size : 0);
	return passed >= start && passed < d->pos + (unsigned int)d->opt.size;
}

bool driver_would_kick(const struct driver *d, uint16_t from)
{
	if (d->opt.packed)
		return packed_would_kick(d, from);
	if (d->opt.event_idx)
		return (uint16_t)(*d->avail_event - from) < (uint16_t)(d->pos - from);
	return !(d->used->flags & 1);
}

int inflight_memfd(const struct driver *d)
{
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	must(fd >= 0);
	must(ftruncate(fd, (off_t)inflight_region_size(1, d->opt.size, d->opt.packed)) == 0);
	return fd;
}

int device_open(struct device *dev, const struct driver *d, const struct virtq_config *cfg,
	int inflight_fd, struct err *e)
{
	uint64_t len = inflight_region_size(1, d->opt.size, d->opt.packed);

	memset(dev, 0, sizeof(*dev));
	dev->mem = guest_mem_new();
	must(dev->mem);
	driver_share(d, dev->mem);
	if (inflight_open(
		    &dev->inflight, inflight_fd, len, 0, 1, d->opt.size, 1, d->opt.packed, e) < 0)
		return -1;
	return virtq_start(&dev->q, cfg, dev->mem, inflight_queue_get(dev->inflight, 0), e);
}

void device_start(struct device *dev, const struct driver *d, int inflight_fd, bool takeover)
{
	struct virtq_config cfg = driver_config(d);
	struct err e = ERR_INIT;

	cfg.takeover = takeover;
	must_msg(device_open(dev, d, &cfg, inflight_fd, &e) == 0, "%s", e.msg);
}

void device_close(struct device *dev)
{
	virtq_free(dev->q);
	inflight_close(dev->inflight);
	guest_mem_free(dev->mem);
}

unsigned int device_serve(struct device *dev)
{
	struct virtq_chain *chain;
	unsigned int n = 0;

	for (; (chain = virtq_pop(dev->q)); n++)
		virtq_push(dev->q, chain, (uint32_t)chain->in_len);
	virtq_publish(dev->q);
	return n;
}
