/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation.
 *
 * A request is a chain: 16 bytes of header first among the readable bytes, one status byte last
 * among the writable ones, data between. How the driver cut that into descriptors does not matter.
 * blk_judge.c answers it with a status, or makes it, when it is good, a struct blk_io for the engine,
 * which calls blk_io_done().
 *
 * Status: OK; UNSUPP for what this device does not do; IOERR for all else, host errors included.
 *
 * After a failed flush the page cache may have dropped what it could not write and forgotten it: a
 * second fsync would claim success. So one such error is final: from then on writes and flushes
 * fail, in this worker and its successors (struct blk_saved), and reads go on.
 *
 * Under options.hold no host error is answered: the request is parked (vu_hold.c). A failed flush is
 * then parked like the rest, to be done again, elsewhere perhaps; so no write may be lost with the
 * page cache by then. Whoever sets `hold` sees to that: direct I/O, or options.write_through.
 */
#include "lib/backends/blk_geometry.h"
#include "lib/backends/blk_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEG_MAX    126u
#define CONFIG_LEN 60u

static_assert(sizeof(struct virtio_blk_config) >= CONFIG_LEN, "virtio 1.2's fields are known");

static struct blk *blk_of(struct backend *b)
{
	return (struct blk *)b;
}

/* --- features and configuration -------------------------------------------------------------- */

static uint64_t blk_features(struct backend *b)
{
	return blk_features_of(blk_of(b)->options.read_only);
}

static uint16_t blk_rings(struct backend *b)
{
	return blk_of(b)->options.queues;
}

static uint8_t log2_of(uint32_t n)
{
	return (uint8_t)(31 - __builtin_clz(n));
}

static void fill_config(struct blk *blk, struct virtio_blk_config *c)
{
	const struct blk_options *o = &blk->options;
	uint64_t cylinders = blk->saved->capacity / (UINT64_C(16) * 63);

	*c = (struct virtio_blk_config){
		.capacity = blk->saved->capacity,
		.seg_max = SEG_MAX,
		.geometry.cylinders = (uint16_t)MIN(cylinders, 16383u),
		.geometry.heads = 16,
		.geometry.sectors = 63,
		.blk_size = o->block_size,
		.physical_block_exp = log2_of(o->physical_block_size / o->block_size),
		.min_io_size = 1,
		.wce = blk->saved->write_cache,
		.num_queues = o->queues,
		.max_discard_sectors = MAX_DISCARD,
		.max_discard_seg = 1,
		.discard_sector_alignment = o->physical_block_size / SECTOR,
		.max_write_zeroes_sectors = MAX_WRITE_ZEROES,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = 1,
	};
	if (o->read_only) {
		c->max_discard_sectors = c->max_discard_seg = 0;
		c->max_write_zeroes_sectors = c->max_write_zeroes_seg = 0;
		c->write_zeroes_may_unmap = 0;
	}
}

static void blk_config_read(struct backend *b, uint32_t offset, uint32_t size, uint8_t *data)
{
	struct virtio_blk_config config;

	fill_config(blk_of(b), &config);
	memset(data, 0, size);
	if (offset < CONFIG_LEN)
		memcpy(data, (uint8_t *)&config + offset, MIN(size, CONFIG_LEN - offset));
}

static int blk_config_write(
	struct backend *b, uint32_t offset, uint32_t size, const uint8_t *data, struct err *e)
{
	if (offset != offsetof(struct virtio_blk_config, wce) || size != 1)
		return err_set(e, ERR_REFUSED, "CONFIG-RO",
			"configuration bytes %u to %u are not the driver's to write", offset,
			offset + size);
	blk_of(b)->saved->write_cache = data[0] != 0;
	return 0;
}

static void blk_set_features(struct backend *b, uint64_t features)
{
	blk_of(b)->features = features;
}

bool blk_is_writethrough(const struct blk *blk)
{
	if (blk->options.write_through)
		return true;
	if (blk->features & blk_bit(VIRTIO_BLK_F_CONFIG_WCE))
		return !blk->saved->write_cache;
	return !(blk->features & blk_bit(VIRTIO_BLK_F_FLUSH));
}

static void say_failure(struct blk *blk)
{
	snprintf(blk->failure, sizeof(blk->failure), "flushing the disk failed: %s",
		strerror(blk->saved->flush_error));
}

static int blk_restore(struct backend *b, uint8_t saved[64], struct err *e)
{
	struct blk *blk = blk_of(b);

	static_assert(sizeof(struct blk_saved) <= 64, "it fits into the session page");
	(void)e;
	blk->saved = (struct blk_saved *)saved;
	if (!blk->saved->known) {
		blk->saved->write_cache = blk->unsaved.write_cache;
		blk->saved->capacity = blk->unsaved.capacity;
		__atomic_store_n(&blk->saved->known, 1, __ATOMIC_RELEASE); /* last */
	}
	if (blk->saved->flush_error)
		say_failure(blk);
	return 0;
}

/* What a driver reads once and goes by from then on must not differ. */
static int blk_adopt(struct backend *b, const uint8_t config[256], struct err *e)
{
	struct blk *blk = blk_of(b);
	const struct blk_geometry was = blk_geometry_of_config(config);

	if (was.sectors != blk->saved->capacity)
		return err_set(e, ERR_REFUSED, "DISK-DIFFERS",
			"the disk has %llu sectors, and the one before had %llu",
			(unsigned long long)blk->saved->capacity, (unsigned long long)was.sectors);
	if (was.block_size != blk->options.block_size)
		return err_set(e, ERR_REFUSED, "DISK-DIFFERS",
			"the disk has blocks of %u bytes, and the one before of %u",
			blk->options.block_size, was.block_size);
	if (was.queues > blk->options.queues)
		return err_set(e, ERR_REFUSED, "DISK-DIFFERS",
			"the disk has %u queues, and the one before had %u", blk->options.queues,
			was.queues);
	blk->saved->write_cache = was.write_cache;
	return 0;
}

static bool blk_refresh(struct backend *b)
{
	struct blk *blk = blk_of(b);
	uint64_t before = blk->saved->capacity;
	uint64_t bytes = blk->engine->ops->size(blk->engine);

	if (!bytes && blk->options.hold)
		return false; /* it has vanished, and may come back */
	blk->saved->capacity = bytes / SECTOR;
	return blk->saved->capacity != before;
}

static const char *blk_failure(struct backend *b)
{
	return blk_of(b)->failure[0] ? blk_of(b)->failure : NULL;
}

/* --- the end of a request -------------------------------------------------------------------- */

static void answer(struct blk *blk, struct blk_req *req, uint8_t status)
{
	struct virtq_chain *chain = req->chain;
	struct backend_host *host = blk->backend.host;

	blk_judge_end(req, status);
	req->chain = NULL;
	host->done(host, req->ring, chain, status != VIRTIO_BLK_S_OK);
}

/* What another disk, or this one tomorrow, would not do better is not worth waiting for. */
static bool is_worth_holding(int error)
{
	switch (error) {
	case EFAULT:     /* the guest's memory */
	case EOPNOTSUPP: /* what this kind of disk does not have */
		return false;
	default:
		return error != 0;
	}
}

/* By a path that is ended, nothing that failed will be done: no more than what was cancelled. */
static bool is_carried(const struct blk *blk, int error)
{
	if (!blk->engine->carrying)
		return false;
	return error == ECANCELED || (blk->is_fenced && is_worth_holding(error));
}

static void blk_io_done(void *arg, struct blk_io *io, int error)
{
	struct blk *blk = arg;
	struct blk_req *req = container_of(io, struct blk_req, io);
	struct backend_host *host = blk->backend.host;

	if (is_carried(blk, error)) {
		struct virtq_chain *chain = req->chain;

		req->chain = NULL;
		host->carry(host, req->ring, chain);
		return;
	}
	if (blk->options.hold && is_worth_holding(error)) {
		host->park(host, req->ring, req->chain, error);
		req->chain = NULL;
		return;
	}
	if (error && io->op == BLK_OP_FLUSH && !blk->saved->flush_error) {
		blk->saved->flush_error = error;
		say_failure(blk);
	}
	answer(blk, req, error ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}

static struct blk_io *blk_io_of(void *arg, uint32_t tag)
{
	struct blk *blk = arg;

	assert(tag < blk->options.queues * VIRTQ_MAX_SIZE);
	return &blk->reqs[tag].io;
}

/* --- to the host ----------------------------------------------------------------------------- */

/* To the host with it. */
static void start(struct blk *blk, struct blk_req *req)
{
	static const enum session_request_what what[] = {
		[BLK_OP_READ] = SESSION_READ,
		[BLK_OP_WRITE] = SESSION_WRITE,
		[BLK_OP_FLUSH] = SESSION_FLUSH,
		[BLK_OP_DISCARD] = SESSION_DISCARD,
		[BLK_OP_ZERO] = SESSION_ZERO,
	};
	struct backend_host *host = blk->backend.host;

	host->begun(host, req->ring, req->chain, what[req->io.op], req->io.offset / SECTOR,
		req->io.len / SECTOR);
	blk->engine->ops->start(blk->engine, &req->io);
}

static void blk_submit(struct backend *b, unsigned int ring, struct virtq_chain *chain)
{
	struct blk *blk = blk_of(b);
	uint32_t tag = ring * VIRTQ_MAX_SIZE + chain->slot;
	struct blk_req *req = &blk->reqs[tag];
	uint8_t status;

	req->io = (struct blk_io){.tag = tag};
	req->chain = chain;
	req->ring = (uint16_t)ring;
	status = blk_judge(blk, req);
	if (status == STATUS_PENDING)
		start(blk, req);
	else
		answer(blk, req, status);
}

static void blk_carry(struct backend *b, bool on, bool fenced)
{
	struct blk *blk = blk_of(b);
	const struct blk_engine_ops *ops = blk->engine->ops;

	blk->engine->carrying = on;
	blk->is_fenced = on && fenced;
	for (unsigned int tag = 0; on && ops->cancel && tag < blk->options.queues * VIRTQ_MAX_SIZE;
		tag++)
		if (blk->reqs[tag].chain)
			ops->cancel(blk->engine, &blk->reqs[tag].io);
}

/* All of it: what was done of it before does no harm done twice. */
static void blk_again(struct backend *b, unsigned int ring, struct virtq_chain *chain)
{
	struct blk *blk = blk_of(b);
	struct blk_req *req = &blk->reqs[ring * VIRTQ_MAX_SIZE + chain->slot];

	req->chain = chain;
	req->io.done = 0;
	req->io.iov_at = 0;
	req->io.step = 0;
	start(blk, req);
}

/* --- what only passes through ---------------------------------------------------------------- */

static bool blk_has_room(struct backend *b)
{
	return blk_of(b)->engine->ops->has_room(blk_of(b)->engine);
}

static void blk_flush(struct backend *b)
{
	blk_of(b)->engine->ops->flush(blk_of(b)->engine);
}

static void blk_complete(struct backend *b, uint64_t user_data, int32_t res)
{
	blk_of(b)->engine->ops->complete(blk_of(b)->engine, user_data, res);
}

static unsigned int blk_in_kernel(struct backend *b)
{
	return blk_of(b)->engine->ops->in_kernel(blk_of(b)->engine);
}

static void blk_free(struct backend *b)
{
	struct blk *blk = blk_of(b);

	blk->engine->ops->free(blk->engine);
	free(blk->reqs);
	free(blk);
}

static const struct backend_ops blk_ops = {
	.name = "blk",
	.rings_per_queue = 1,
	.tells_config = true,
	.features = blk_features,
	.rings = blk_rings,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.set_features = blk_set_features,
	.restore = blk_restore,
	.adopt = blk_adopt,
	.refresh = blk_refresh,
	.has_room = blk_has_room,
	.submit = blk_submit,
	.flush = blk_flush,
	.complete = blk_complete,
	.carry = blk_carry,
	.again = blk_again,
	.in_kernel = blk_in_kernel,
	.failure = blk_failure,
	.free = blk_free,
};

struct backend *blk_new(const struct blk_options *options, struct blk_engine *engine, struct err *e)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	/* Large and zeroed: pages of rings and slots that are never used are never there. */
	struct blk_req *reqs =
		calloc((size_t)options->queues * VIRTQ_MAX_SIZE, sizeof(struct blk_req));

	if (!blk || !reqs) {
		engine->ops->free(engine);
		free(blk);
		free(reqs);
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a disk");
		return NULL;
	}
	assert(options->queues >= 1);
	assert(options->physical_block_size >= options->block_size);
	blk->backend.ops = &blk_ops;
	blk->options = *options;
	blk->engine = engine;
	blk->reqs = reqs;
	blk->unsaved = (struct blk_saved){.known = 1, .write_cache = 1};
	blk->saved = &blk->unsaved;
	if (options->serial) /* padded with zeroes, not terminated when it is full */
		memcpy(blk->serial, options->serial, strnlen(options->serial, sizeof(blk->serial)));
	engine->done = blk_io_done;
	engine->io_of = blk_io_of;
	engine->arg = blk;
	blk_refresh(&blk->backend);
	return &blk->backend;
}
