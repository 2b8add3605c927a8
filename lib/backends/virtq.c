/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both ring formats share. The formats' own theory of operation is at the top of
 * virtq_split.c and virtq_packed.c; what a crash leaves behind is in inflight.c.
 *
 * Everything that a guest can write is copied once: a descriptor by two loads of eight bytes, an
 * indirect table by one copy into q->table. Checks and use are of the copy. What a request needs
 * later is in its chain; the ring is not asked again.
 */
#include "lib/backends/virtq_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int virtq_break(struct virtq *q, const char *fmt, ...)
{
	va_list ap;

	if (q->broken[0])
		return -1;
	va_start(ap, fmt);
	vsnprintf(q->broken, sizeof(q->broken), fmt, ap);
	va_end(ap);
	return -1;
}

static int check_config(const struct virtq_config *cfg, struct err *e)
{
	if (!cfg->size || cfg->size > VIRTQ_MAX_SIZE)
		return err_set(e, ERR_FAILED, "VIRTQ-SIZE", "size %u: not within 1 to %u",
			cfg->size, VIRTQ_MAX_SIZE);
	if (!cfg->packed && (cfg->size & (cfg->size - 1)))
		return err_set(e, ERR_FAILED, "VIRTQ-SIZE", "size %u: no power of two", cfg->size);
	return 0;
}

static int check_region(
	const struct virtq_config *cfg, const struct inflight_queue *iq, struct err *e)
{
	if (!iq)
		return err_set(e, ERR_FAILED, "VIRTQ-INFLIGHT", "no part in the in-flight region");
	if (iq->entries < cfg->size)
		return err_set(e, ERR_FAILED, "VIRTQ-INFLIGHT",
			"size %u: the in-flight region has %u entries", cfg->size, iq->entries);
	if (iq->is_packed != cfg->packed)
		return err_set(e, ERR_FAILED, "VIRTQ-INFLIGHT",
			"the in-flight region is of the other ring format");
	return 0;
}

static int allocate(struct virtq *q, struct err *e)
{
	size_t size = q->cfg.size;

	q->chains = calloc(size, sizeof(q->chains[0]));
	q->free_slots = calloc(size, sizeof(q->free_slots[0]));
	q->busy = calloc(size, sizeof(q->busy[0]));
	q->replay.replays = calloc(size, sizeof(q->replay.replays[0]));
	q->table = calloc(VIRTQ_CHAIN_IOV, sizeof(q->table[0]));
	if (!q->chains || !q->free_slots || !q->busy || !q->replay.replays || !q->table)
		return err_sys(e, ENOMEM, "cannot allocate");
	for (q->free_count = 0; q->free_count < size; q->free_count++)
		q->free_slots[q->free_count] = (uint16_t)(size - 1 - q->free_count);
	return 0;
}

static int wrap_ring(struct err *e, const struct virtq *q)
{
	return err_wrap(e, "ring %u", q->cfg.index);
}

static int start(struct virtq *q, struct err *e)
{
	if (allocate(q, e) < 0 || q->ops->locate(q, e) < 0 || q->ops->recover(q, e) < 0)
		return wrap_ring(e, q);
	q->in_flight = q->replay.count;
	q->call_due = !q->replay.fresh;
	return 0;
}

int virtq_start(struct virtq **q, const struct virtq_config *cfg, struct guest_mem *mem,
	struct inflight_queue *iq, struct err *e)
{
	struct virtq *vq;

	if (check_config(cfg, e) < 0 || check_region(cfg, iq, e) < 0)
		return err_wrap(e, "ring %u", cfg->index);
	vq = calloc(1, sizeof(*vq));
	if (!vq)
		return err_sys(e, ENOMEM, "ring %u", cfg->index);
	vq->ops = cfg->packed ? &virtq_packed_ops : &virtq_split_ops;
	vq->cfg = *cfg;
	vq->mem = mem;
	vq->iq = iq;
	if (start(vq, e) < 0) {
		virtq_free(vq);
		return -1;
	}
	*q = vq;
	return 0;
}

void virtq_free(struct virtq *q)
{
	if (!q)
		return;
	q->ops->release(q);
	free(q->chains);
	free(q->free_slots);
	free(q->busy);
	free(q->replay.replays);
	free(q->table);
	free(q);
}

int virtq_remap(struct virtq *q, struct err *e)
{
	return q->ops->locate(q, e) < 0 ? wrap_ring(e, q) : 0;
}

void virtq_set_log(struct virtq *q, struct dirty_log *log, bool log_used, uint64_t log_gpa)
{
	q->log = log;
	q->cfg.log_used = log_used;
	q->cfg.log_gpa = log_gpa;
	/* A predecessor may have died between a write to the ring and its mark. */
	q->ops->log_ring(q);
}

void virtq_log_host(struct virtq *q, const void *host, uint64_t len)
{
	if (q->log && len)
		dirty_log_mark(q->log, guest_mem_gpa_of(q->mem, host), len);
}

struct virtq_chain *virtq_chain_take(struct virtq *q)
{
	struct virtq_chain *chain;
	uint16_t slot;

	assert(q->free_count);
	slot = q->free_slots[--q->free_count];
	chain = &q->chains[slot];
	memset(chain, 0, offsetof(struct virtq_chain, iov)); /* the iovs are written before use */
	chain->slot = slot;
	return chain;
}

void virtq_chain_put(struct virtq *q, const struct virtq_chain *chain)
{
	q->free_slots[q->free_count++] = chain->slot;
}

/* Buffers that cross a region's end take several entries. */
static int add_iov(struct virtq *q, struct virtq_chain *chain, uint64_t addr, uint32_t len)
{
	unsigned int had = chain->out_count + chain->in_count, count = had;

	if (guest_mem_iov(q->mem, addr, len, chain->iov, &count, VIRTQ_CHAIN_IOV) == 0)
		return (int)(count - had);
	if (count == VIRTQ_CHAIN_IOV)
		return virtq_break(q, "a request of more than %u buffers", VIRTQ_CHAIN_IOV);
	return virtq_break(q, "buffer 0x%" PRIx64 "+0x%x is outside guest memory", addr, len);
}

int virtq_chain_add(
	struct virtq *q, struct virtq_chain *chain, uint64_t addr, uint32_t len, uint16_t flags)
{
	bool writable = flags & DESC_F_WRITE;
	int added;

	if (!len)
		return virtq_break(q, "buffer 0x%" PRIx64 " has no length", addr);
	if (!writable && chain->in_count)
		return virtq_break(q, "a readable buffer after a writable one");
	if (chain->out_len + chain->in_len + len > UINT32_MAX)
		return virtq_break(q, "a request of more than 4 GiB");
	added = add_iov(q, chain, addr, len);
	if (added < 0)
		return -1;
	if (writable) {
		chain->in_count += (uint16_t)added;
		chain->in_len += len;
	} else {
		chain->out_count += (uint16_t)added;
		chain->out_len += len;
	}
	return 0;
}

int virtq_copy_table(struct virtq *q, uint64_t addr, uint32_t len)
{
	uint8_t *to = (uint8_t *)q->table;
	unsigned int pieces = 0;
	struct iovec iov[4];

	if (!q->cfg.indirect)
		return virtq_break(q, "an indirect table that was not negotiated");
	if (!len || len % sizeof(struct virtq_desc))
		return virtq_break(q, "an indirect table of %u bytes", len);
	if (len > VIRTQ_CHAIN_IOV * sizeof(struct virtq_desc))
		return virtq_break(q, "an indirect table of %zu entries: at most %u",
			len / sizeof(struct virtq_desc), VIRTQ_CHAIN_IOV);
	if (guest_mem_iov(q->mem, addr, len, iov, &pieces, ARRAY_SIZE(iov)) < 0)
		return virtq_break(
			q, "indirect table 0x%" PRIx64 "+0x%x is outside guest memory", addr, len);
	for (unsigned int i = 0; i < pieces; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	shared_copied();
	return (int)(len / sizeof(struct virtq_desc));
}

struct virtq_chain *virtq_pop(struct virtq *q)
{
	return q->broken[0] ? NULL : q->ops->pop(q);
}

static void log_written(struct virtq *q, const struct virtq_chain *chain, uint64_t written)
{
	const struct iovec *iov = &chain->iov[chain->out_count];

	for (unsigned int i = 0; i < chain->in_count && written; i++) {
		uint64_t part = MIN(written, iov[i].iov_len);

		virtq_log_host(q, iov[i].iov_base, part);
		written -= part;
	}
}

void virtq_push(struct virtq *q, struct virtq_chain *chain, uint32_t written)
{
	assert(written <= chain->in_len);
	if (q->log)
		log_written(q, chain, written);
	q->ops->push(q, chain, written);
	virtq_chain_put(q, chain);
}

void virtq_give_back(struct virtq *q, struct virtq_chain *chain)
{
	assert(q->cfg.in_order && q->in_flight);
	q->ops->give_back(q, chain);
	q->busy[chain->id] = false;
	q->in_flight--;
	virtq_chain_put(q, chain);
}

bool virtq_publish(struct virtq *q)
{
	bool call = q->call_due;
	uint16_t count;

	q->call_due = false;
	if (q->staged_count) {
		count = q->ops->publish(q);
		shared_fence();
		call |= q->ops->wants_call(q, count);
		q->unheard = (uint16_t)MIN(q->unheard + count, q->cfg.size);
	}
	if (call)
		q->unheard = 0;
	return call;
}

bool virtq_wants_call_after_all(struct virtq *q)
{
	if (!q->unheard || q->broken[0] || !q->ops->wants_call(q, q->unheard))
		return false;
	q->unheard = 0;
	return true;
}

void virtq_kicks_off(struct virtq *q)
{
	q->ops->kicks_off(q);
}

bool virtq_kicks_on(struct virtq *q)
{
	q->ops->kicks_on(q);
	/* A guest that made something available before it could see this did not kick. */
	shared_fence();
	return virtq_has_work(q);
}

bool virtq_has_work(const struct virtq *q)
{
	return !q->broken[0] && (virtq_replays_wait(q) || q->ops->has_new(q));
}

uint16_t virtq_in_flight(const struct virtq *q)
{
	return q->in_flight;
}

uint32_t virtq_base(const struct virtq *q)
{
	return q->ops->base(q);
}

const char *virtq_broken(const struct virtq *q)
{
	return q->broken[0] ? q->broken : NULL;
}
