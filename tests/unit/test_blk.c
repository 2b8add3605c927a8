/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/backends/blk: requests as a guest cuts them, good and bad, against an engine that records what
 * it is asked and answers what the test says.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "lib/backends/blk.h"
#include "tests/unit/unit.h"

#define SECTOR  512u
#define SECTORS 2048u

/* An engine that keeps one operation until the test ends it. */
struct probe_engine {
	struct blk_engine engine; /* first */
	struct blk_io *io;        /* started and not ended */
	unsigned int started;
	uint64_t size;
};

static bool probe_has_room(struct blk_engine *g)
{
	return !((struct probe_engine *)g)->io;
}

static void probe_start(struct blk_engine *g, struct blk_io *io)
{
	((struct probe_engine *)g)->io = io;
	((struct probe_engine *)g)->started++;
}

static void probe_nothing(struct blk_engine *g)
{
	(void)g;
}

static uint64_t probe_size(struct blk_engine *g)
{
	return ((struct probe_engine *)g)->size;
}

static const struct blk_engine_ops probe_ops = {
	.has_room = probe_has_room,
	.start = probe_start,
	.flush = probe_nothing,
	.size = probe_size,
	.free = probe_nothing,
};

struct rig {
	struct backend_host host;
	struct probe_engine engine;
	struct backend *b;
	uint8_t saved[64];
	struct virtq_chain chain;
	struct virtio_blk_outhdr header;
	uint8_t data[4096], status;
	unsigned int done, failed;
	enum session_request_what begun;
	uint64_t begun_sector, begun_sectors;
};

static void rig_done(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, bool failed)
{
	struct rig *r = container_of(host, struct rig, host);

	ck_assert_uint_eq(ring, 0);
	ck_assert_ptr_eq(chain, &r->chain);
	r->done++;
	r->failed += failed;
}

static void rig_begun(struct backend_host *host, unsigned int ring, struct virtq_chain *chain,
	enum session_request_what what, uint64_t sector, uint64_t sectors)
{
	struct rig *r = container_of(host, struct rig, host);

	ck_assert_uint_eq(ring, 0);
	ck_assert_ptr_eq(chain, &r->chain);
	r->begun = what;
	r->begun_sector = sector;
	r->begun_sectors = sectors;
}

static uint64_t bit(unsigned int n)
{
	return 1ull << n;
}

static void rig_make(struct rig *r, bool read_only)
{
	const struct blk_options options = {
		.queues = 1,
		.read_only = read_only,
		.serial = "twenty bytes and more",
		.block_size = SECTOR,
		.physical_block_size = 4096,
	};
	struct err e = ERR_INIT;

	r->engine.io = NULL;
	r->engine.engine.ops = &probe_ops;
	r->b = blk_new(&options, &r->engine.engine, &e);
	ck_assert_ptr_nonnull(r->b);
	r->b->host = &r->host;
	r->host.done = rig_done;
	r->host.begun = rig_begun;
	ck_assert_int_eq(r->b->ops->restore(r->b, r->saved, &e), 0);
	r->b->ops->set_features(r->b, r->b->ops->features(r->b));
}

static void rig_open(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->engine.size = SECTORS * SECTOR + 100;
	rig_make(r, false);
}

static void rig_close(struct rig *r)
{
	r->b->ops->free(r->b);
}

static void add_buf(struct rig *r, void *base, size_t len, bool writable)
{
	struct virtq_chain *c = &r->chain;

	c->iov[c->out_count + c->in_count] = (struct iovec){base, len};
	if (writable) {
		c->in_count++;
		c->in_len += len;
	} else {
		c->out_count++;
		c->out_len += len;
	}
}

/* A request as Linux cuts it: header, data, status each in one buffer. */
static void build(struct rig *r, uint32_t type, uint64_t sector, size_t len, bool writable)
{
	r->header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	r->chain = (struct virtq_chain){0};
	r->status = 0xee;
	add_buf(r, &r->header, sizeof(r->header), false);
	if (len)
		add_buf(r, r->data, len, writable);
	add_buf(r, &r->status, 1, true);
}

static void submit(struct rig *r)
{
	unsigned int before = r->done;

	r->b->ops->submit(r->b, 0, &r->chain);
	ck_assert_uint_eq(r->done, before + !r->engine.io);
}

/* Refused or answered without the engine: its status. */
static uint8_t answer(struct rig *r)
{
	unsigned int started = r->engine.started;

	submit(r);
	ck_assert_uint_eq(r->engine.started, started);
	return r->status;
}

/* Carried out by the engine, which ends it with `error`: its status. */
static uint8_t carry_out(struct rig *r, int error)
{
	struct blk_io *io;

	if (!r->engine.io)
		submit(r);
	io = r->engine.io;
	ck_assert_ptr_nonnull(io);
	r->engine.io = NULL;
	r->engine.engine.done(r->engine.engine.arg, io, error);
	return r->status;
}

START_TEST(reads_and_writes)
{
	struct rig r;

	rig_open(&r);
	build(&r, VIRTIO_BLK_T_IN, 3, 1024, true);
	submit(&r);
	ck_assert_int_eq(r.engine.io->op, BLK_OP_READ);
	ck_assert_uint_eq(r.engine.io->offset, 3 * SECTOR);
	ck_assert_uint_eq(r.engine.io->len, 1024);
	ck_assert_uint_eq(r.engine.io->iov_count, 1);
	ck_assert_ptr_eq(r.engine.io->iov[0].iov_base, r.data);
	ck_assert_uint_eq(carry_out(&r, 0), VIRTIO_BLK_S_OK);
	build(&r, VIRTIO_BLK_T_OUT, SECTORS - 2, 1024, false);
	submit(&r);
	ck_assert_int_eq(r.engine.io->op, BLK_OP_WRITE);
	ck_assert_int_eq(r.begun, SESSION_WRITE);
	ck_assert_uint_eq(r.begun_sector, SECTORS - 2);
	ck_assert_uint_eq(r.begun_sectors, 2);
	ck_assert(!r.engine.io->durable);
	ck_assert_uint_eq(carry_out(&r, ENOSPC), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(r.done, 2);
	ck_assert_uint_eq(r.failed, 1);
	rig_close(&r);
}
END_TEST

/* How the driver cuts a request does not matter. */
START_TEST(any_cut_is_understood)
{
	uint8_t out[16 + 1024], in[1024 + 1];
	struct rig r;

	rig_open(&r);
	for (size_t cut = 1; cut < sizeof(out); cut++) {
		build(&r, VIRTIO_BLK_T_OUT, 1, 0, false);
		memcpy(out, &r.header, 16);
		memset(out + 16, 0x5a, 1024);
		r.chain = (struct virtq_chain){0};
		add_buf(&r, out, cut, false);
		add_buf(&r, out + cut, sizeof(out) - cut, false);
		add_buf(&r, &r.status, 1, true);
		submit(&r);
		ck_assert_uint_eq(r.engine.io->len, 1024);
		ck_assert_ptr_eq(r.engine.io->iov[0].iov_base, out + 16);
		ck_assert_uint_eq(carry_out(&r, 0), VIRTIO_BLK_S_OK);
	}
	for (size_t cut = 1; cut < sizeof(in); cut++) {
		uint64_t sum = 0;

		build(&r, VIRTIO_BLK_T_IN, 1, 0, true);
		r.chain = (struct virtq_chain){0};
		add_buf(&r, &r.header, 16, false);
		add_buf(&r, in, cut, true);
		add_buf(&r, in + cut, sizeof(in) - cut, true);
		in[1024] = 0xee;
		submit(&r);
		for (unsigned int i = 0; i < r.engine.io->iov_count; i++)
			sum += r.engine.io->iov[i].iov_len;
		ck_assert_uint_eq(sum, 1024);
		carry_out(&r, 0);
		ck_assert_uint_eq(in[1024], VIRTIO_BLK_S_OK);
		/* What the ring logs as written is whole again. */
		ck_assert_uint_eq(r.chain.iov[1].iov_len + r.chain.iov[2].iov_len, sizeof(in));
	}
	rig_close(&r);
}
END_TEST

START_TEST(bad_requests_are_answered)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		size_t len;
		bool writable;
		uint8_t status;
	} bad[] = {
		{VIRTIO_BLK_T_IN, SECTORS, SECTOR, true, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_IN, SECTORS - 1, 2 * SECTOR, true, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_IN, UINT64_MAX, SECTOR, true, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_IN, UINT64_MAX / SECTOR + 1, SECTOR, true, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_IN, 0, 511, true, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_IN, 0, 513, true, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_IN, 0, SECTOR, false, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_OUT, 0, SECTOR, true, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_OUT, SECTORS, SECTOR, false, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_OUT, 0, 100, false, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_DISCARD, 0, 15, false, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_DISCARD, 0, 32, false, VIRTIO_BLK_S_IOERR},
		{VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, false, VIRTIO_BLK_S_IOERR},
		{2, 0, SECTOR, false, VIRTIO_BLK_S_UNSUPP},
		{14, 0, 0, false, VIRTIO_BLK_S_UNSUPP},
		{0xffffffff, 0, 0, false, VIRTIO_BLK_S_UNSUPP},
	};
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		build(&r, bad[i].type, bad[i].sector, bad[i].len, bad[i].writable);
		ck_assert_msg(answer(&r) == bad[i].status, "case %zu: status %u", i, r.status);
	}
	rig_close(&r);
}
END_TEST

START_TEST(runts_are_handed_back)
{
	struct rig r;

	rig_open(&r);
	for (size_t len = 1; len < 16; len++) {
		build(&r, VIRTIO_BLK_T_IN, 0, 0, true);
		r.chain.iov[0].iov_len = r.chain.out_len = len;
		ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_IOERR);
	}
	build(&r, VIRTIO_BLK_T_OUT, 0, SECTOR, false);
	r.chain.in_count = 0;
	r.chain.in_len = 0; /* nowhere to say it */
	ck_assert_uint_eq(answer(&r), 0xee);
	rig_close(&r);
}
END_TEST

static void build_range(struct rig *r, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes range = {sector, n, flags};

	build(r, type, 0, sizeof(range), false);
	memcpy(r->data, &range, sizeof(range));
}

START_TEST(ranges)
{
	struct rig r;

	rig_open(&r);
	build_range(&r, VIRTIO_BLK_T_DISCARD, 8, 16, 0);
	submit(&r);
	ck_assert_int_eq(r.engine.io->op, BLK_OP_DISCARD);
	ck_assert_uint_eq(r.engine.io->offset, 8 * SECTOR);
	ck_assert_uint_eq(r.engine.io->len, 16 * SECTOR);
	ck_assert_uint_eq(carry_out(&r, 0), VIRTIO_BLK_S_OK);
	build_range(&r, VIRTIO_BLK_T_WRITE_ZEROES, 0, SECTORS, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	submit(&r);
	ck_assert_int_eq(r.engine.io->op, BLK_OP_ZERO);
	ck_assert(r.engine.io->may_unmap);
	ck_assert_uint_eq(carry_out(&r, 0), VIRTIO_BLK_S_OK);
	build_range(&r, VIRTIO_BLK_T_DISCARD, 0, 8, 1);
	ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_UNSUPP);
	build_range(&r, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2);
	ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_UNSUPP);
	build_range(&r, VIRTIO_BLK_T_DISCARD, 1, SECTORS, 0);
	ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_IOERR);
	build_range(&r, VIRTIO_BLK_T_DISCARD, UINT64_MAX - 3, 8, 0);
	ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_IOERR);
	r.b->ops->set_features(r.b, bit(VIRTIO_BLK_F_FLUSH));
	build_range(&r, VIRTIO_BLK_T_DISCARD, 0, 8, 0);
	ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_UNSUPP);
	rig_close(&r);
}
END_TEST

START_TEST(who_it_is)
{
	struct rig r;

	rig_open(&r);
	build(&r, VIRTIO_BLK_T_GET_ID, 0, 20, true);
	ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(r.data, "twenty bytes and more", 20);
	build(&r, VIRTIO_BLK_T_GET_ID, 0, 4, true);
	memset(r.data, 0, sizeof(r.data));
	ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(r.data, "twen\0\0", 6);
	rig_close(&r);
}
END_TEST

START_TEST(read_only_disks_are_not_written)
{
	struct rig r;

	rig_open(&r);
	rig_close(&r);
	rig_make(&r, true);
	ck_assert(r.b->ops->features(r.b) & bit(VIRTIO_BLK_F_RO));
	ck_assert(!(r.b->ops->features(r.b) & bit(VIRTIO_BLK_F_DISCARD)));
	build(&r, VIRTIO_BLK_T_OUT, 0, SECTOR, false);
	ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_IOERR);
	build(&r, VIRTIO_BLK_T_IN, 0, SECTOR, true);
	ck_assert_uint_eq(carry_out(&r, 0), VIRTIO_BLK_S_OK);
	rig_close(&r);
}
END_TEST

static bool is_durable(struct rig *r)
{
	bool durable;

	build(r, VIRTIO_BLK_T_OUT, 0, SECTOR, false);
	submit(r);
	durable = r->engine.io->durable;
	carry_out(r, 0);
	return durable;
}

/* virtio 1.2, 5.2.6.2, and that a successor keeps what the driver set. */
START_TEST(writethrough)
{
	const uint8_t off = 0, on = 1;
	struct err e = ERR_INIT;
	struct rig r;

	rig_open(&r);
	ck_assert(!is_durable(&r));
	ck_assert_int_eq(r.b->ops->config_write(r.b, 32, 1, &off, &e), 0);
	ck_assert(is_durable(&r));
	rig_close(&r);
	rig_make(&r, false);
	ck_assert(is_durable(&r));
	ck_assert_int_eq(r.b->ops->config_write(r.b, 32, 1, &on, &e), 0);
	ck_assert(!is_durable(&r));
	r.b->ops->set_features(r.b, 0);
	ck_assert(is_durable(&r));
	r.b->ops->set_features(r.b, bit(VIRTIO_BLK_F_FLUSH));
	ck_assert(!is_durable(&r));
	ck_assert_int_eq(r.b->ops->config_write(r.b, 0, 8, r.data, &e), -1);
	ck_assert_int_eq(r.b->ops->config_write(r.b, 32, 2, r.data, &e), -1);
	rig_close(&r);
}
END_TEST

/* A page cache that failed once may claim success the next time. */
START_TEST(a_failed_flush_is_final)
{
	struct rig r;

	rig_open(&r);
	build(&r, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	ck_assert_uint_eq(carry_out(&r, EIO), VIRTIO_BLK_S_IOERR);
	ck_assert_ptr_nonnull(r.b->ops->failure(r.b));
	for (int worker = 0; worker < 2; worker++) {
		build(&r, VIRTIO_BLK_T_FLUSH, 0, 0, false);
		ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_IOERR);
		build(&r, VIRTIO_BLK_T_OUT, 0, SECTOR, false);
		ck_assert_uint_eq(answer(&r), VIRTIO_BLK_S_IOERR);
		build(&r, VIRTIO_BLK_T_IN, 0, SECTOR, true);
		ck_assert_uint_eq(carry_out(&r, 0), VIRTIO_BLK_S_OK);
		rig_close(&r);
		rig_make(&r, false); /* the successor */
	}
	ck_assert_ptr_nonnull(r.b->ops->failure(r.b));
	rig_close(&r);
}
END_TEST

START_TEST(configuration)
{
	uint8_t config[256];
	uint64_t capacity;
	struct rig r;

	rig_open(&r);
	memset(config, 0xff, sizeof(config));
	r.b->ops->config_read(r.b, 0, 256, config);
	memcpy(&capacity, config, 8);
	ck_assert_uint_eq(capacity, SECTORS);
	for (unsigned int i = 60; i < 256; i++)
		ck_assert_uint_eq(config[i], 0);
	r.b->ops->config_read(r.b, 59, 10, config);
	r.b->ops->config_read(r.b, 255, 1, config);
	ck_assert_uint_eq(config[0], 0);
	ck_assert(!r.b->ops->refresh(r.b));
	r.engine.size *= 2;
	ck_assert(r.b->ops->refresh(r.b));
	build(&r, VIRTIO_BLK_T_IN, SECTORS, SECTOR, true);
	ck_assert_uint_eq(carry_out(&r, 0), VIRTIO_BLK_S_OK);
	rig_close(&r);
}
END_TEST

/* The buffers of an operation, worked through in pieces of every size, are as they were at the end. */
START_TEST(windows)
{
	char data[60];

	for (uint64_t piece = 1; piece <= 60; piece++) {
		struct iovec iov[] = {{data, 10}, {data + 10, 1}, {data + 11, 49}};
		struct blk_io io = {.iov = iov, .iov_count = 3, .len = 60};

		while (io.done < io.len) {
			unsigned int count;
			struct iovec *at = blk_io_window(&io, &count);

			ck_assert_ptr_eq(at->iov_base, data + io.done);
			blk_io_advance(&io, MIN(piece, io.len - io.done));
		}
		blk_io_restore(&io);
		ck_assert_ptr_eq(iov[2].iov_base, data + 11);
		ck_assert_uint_eq(iov[0].iov_len + iov[1].iov_len + iov[2].iov_len, 60);
	}
}
END_TEST

UNIT_MAIN(reads_and_writes, any_cut_is_understood, bad_requests_are_answered, runts_are_handed_back,
	ranges, who_it_is, read_only_disks_are_not_written, writethrough, a_failed_flush_is_final,
	configuration, windows)
