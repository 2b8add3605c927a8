/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation.
 *
 * One operation has at most one submission in the ring at a time. start() fills an SQE; flush()
 * hands the whole batch over with one system call; complete() looks at the result and either ends
 * the operation or submits what is left of it:
 *
 *	READ, WRITE  as many bytes as the kernel took, then the rest. Where direct I/O cannot use the
 *	             guest's buffers (alignment) the bytes go through a bounce buffer, 64 KiB at a
 *	             time: still direct, because page cache and direct I/O of neighbouring sectors do
 *	             not see each other in time.
 *	FLUSH        fdatasync. That every write it covers was completed before is the guest's order.
 *	DISCARD      a hole, where the file system can; else nothing.
 *	ZERO         step 0: by the file system; step 1, where it cannot: writes; step 2, if it must be
 *	             durable: fdatasync.
 *
 * Where a file is served, by a process or another host, the kernel would ask the server for the file's
 * attributes in our own thread before it does the rest elsewhere: there everything is done elsewhere
 * (IOSQE_ASYNC), so that we still hear, and can be asked to cancel, when it never answers. And only
 * SERVED_MOST are there at a time, whatever the guest asks for: of the others it is certain that they
 * were never sent. (A volume of a network needs them all under way to be fast, and ends its server's
 * path by --fence.)
 *
 * Cancelling is asked for one by one. The kernel cancels what waits for a worker of its own (buffered
 * I/O that would block), and nothing that a driver or a file server has got; it says which by the
 * completion: -ECANCELED means that it was never sent (tests/kernel/test_cancel.c). What comes back
 * unfinished while we carry is left so.
 *
 * The buffers (iovec arrays) are the chain's own and stay where they are until the operation is
 * done. The engine never has more in the kernel than the ring has entries, less the few that the
 * session needs for its messages: then every completion has its place, and what a dead worker
 * leaves behind is bounded.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/backends/backend.h"
#include "lib/backends/blk_engine.h"
#include "lib/backends/uring.h"

#define SERVED_MOST  8u
#define BOUNCE_LEN   65536u
#define BOUNCE_ALIGN 4096u

struct blk_uring {
	struct blk_engine engine; /* first */
	struct blk_disk disk;
	struct io_uring *ring;
	unsigned int in_kernel, most;
	struct list_node turns; /* of a served file: those that wait, in order */
	unsigned int waiting;
};

static bool engine_has_room(struct blk_engine *engine)
{
	struct blk_uring *g = (struct blk_uring *)engine;

	return g->in_kernel + g->waiting < g->most;
}

static void finish(struct blk_uring *g, struct blk_io *io, int error)
{
	blk_io_restore(io);
	free(io->bounce);
	io->bounce = NULL;
	g->engine.done(g->engine.arg, io, error);
}

/* Never fails: the ring has an entry for all that has_room() let in. */
static struct io_uring_sqe *take_sqe(struct blk_uring *g)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(g->ring);

	while (!sqe) {
		io_uring_submit(g->ring);
		sqe = io_uring_get_sqe(g->ring);
	}
	return sqe;
}

static void put_sqe(struct blk_uring *g, struct io_uring_sqe *sqe, const struct blk_io *io)
{
	sqe->flags |= IOSQE_FIXED_FILE | (g->disk.is_served ? IOSQE_ASYNC : 0);
	sqe->user_data = uring_tag(URING_KIND_DEVICE, io->tag);
	g->in_kernel++;
}

static bool is_aligned(const struct blk_uring *g, const struct iovec *iov, unsigned int count)
{
	uintptr_t seen = 0;

	for (unsigned int i = 0; i < count; i++)
		seen |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return (seen & (g->disk.mem_align - 1)) == 0;
}

/* Copies `len` bytes between the bounce buffer and the window, which stays where it is. */
static void copy_window(struct blk_io *io, char *bounce, size_t len, bool to_bounce)
{
	unsigned int count;
	const struct iovec *iov = blk_io_window(io, &count);

	for (; len; iov++) {
		size_t part = MIN(len, iov->iov_len);

		if (to_bounce)
			memcpy(bounce, iov->iov_base, part);
		else
			memcpy(iov->iov_base, bounce, part);
		bounce += part;
		len -= part;
	}
}

static int submit_bounced(struct blk_uring *g, struct blk_io *io)
{
	uint32_t len = (uint32_t)MIN(io->len - io->done, BOUNCE_LEN);
	uint64_t at = io->offset + io->done;
	struct io_uring_sqe *sqe;

	if (!io->bounce && posix_memalign(&io->bounce, BOUNCE_ALIGN, BOUNCE_LEN) != 0) {
		io->bounce = NULL;
		return ENOMEM;
	}
	sqe = take_sqe(g);
	if (io->op == BLK_OP_READ) {
		io_uring_prep_read(sqe, URING_FILE_DIRECT, io->bounce, len, at);
	} else {
		copy_window(io, io->bounce, len, true);
		io_uring_prep_write(sqe, URING_FILE_DIRECT, io->bounce, len, at);
		sqe->rw_flags = io->durable ? RWF_DSYNC : 0;
	}
	put_sqe(g, sqe, io);
	return 0;
}

static void submit_plain(
	struct blk_uring *g, struct blk_io *io, const struct iovec *iov, unsigned int count)
{
	int file = g->disk.direct ? URING_FILE_DIRECT : URING_FILE_BUFFERED;
	uint64_t at = io->offset + io->done;
	struct io_uring_sqe *sqe = take_sqe(g);
	bool single = count == 1 && iov->iov_len <= INT32_MAX;

	if (io->op == BLK_OP_READ && single)
		io_uring_prep_read(sqe, file, iov->iov_base, (unsigned int)iov->iov_len, at);
	else if (io->op == BLK_OP_READ)
		io_uring_prep_readv(sqe, file, iov, count, at);
	else if (single)
		io_uring_prep_write(sqe, file, iov->iov_base, (unsigned int)iov->iov_len, at);
	else
		io_uring_prep_writev(sqe, file, iov, count, at);
	if (io->op == BLK_OP_WRITE && io->durable)
		sqe->rw_flags = RWF_DSYNC;
	put_sqe(g, sqe, io);
}

static int submit_move(struct blk_uring *g, struct blk_io *io)
{
	unsigned int count;
	struct iovec *iov = blk_io_window(io, &count);

	if (io->bounce || (g->disk.direct && !is_aligned(g, iov, count)))
		return submit_bounced(g, io);
	submit_plain(g, io, iov, count);
	return 0;
}

static void submit_sync(struct blk_uring *g, struct blk_io *io)
{
	struct io_uring_sqe *sqe = take_sqe(g);

	io_uring_prep_fsync(sqe, URING_FILE_BUFFERED, IORING_FSYNC_DATASYNC);
	put_sqe(g, sqe, io);
}

static void submit_fallocate(struct blk_uring *g, struct blk_io *io, int mode)
{
	struct io_uring_sqe *sqe = take_sqe(g);

	io_uring_prep_fallocate(sqe, URING_FILE_BUFFERED, mode, (off_t)io->offset, (off_t)io->len);
	put_sqe(g, sqe, io);
}

enum zero_step { ZERO_BY_FS, ZERO_BY_WRITES, ZERO_SYNC };

/* A hole in a volume is a discard, which need not read as zeroes (volume.h). */
static int zero_mode(const struct blk_uring *g, const struct blk_io *io)
{
	if (g->disk.is_volume && io->may_unmap)
		return FALLOC_FL_ZERO_RANGE;
	return FALLOC_FL_KEEP_SIZE | (io->may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static void submit_zero(struct blk_uring *g, struct blk_io *io)
{
	struct io_uring_sqe *sqe;

	switch ((enum zero_step)io->step) {
	case ZERO_BY_FS:
		submit_fallocate(g, io, zero_mode(g, io));
		return;
	case ZERO_BY_WRITES:
		sqe = take_sqe(g);
		io_uring_prep_write(sqe, g->disk.direct ? URING_FILE_DIRECT : URING_FILE_BUFFERED,
			blk_zeroes, (unsigned int)MIN(io->len - io->done, BLK_ZEROES_LEN),
			io->offset + io->done);
		put_sqe(g, sqe, io);
		return;
	case ZERO_SYNC:
		submit_sync(g, io);
		return;
	}
}

/* Submits what comes next of the operation; 0, or an errno. */
static int submit_next(struct blk_uring *g, struct blk_io *io)
{
	switch (io->op) {
	case BLK_OP_READ:
	case BLK_OP_WRITE:
		return submit_move(g, io);
	case BLK_OP_FLUSH:
		submit_sync(g, io);
		return 0;
	case BLK_OP_DISCARD:
		submit_fallocate(g, io, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
		return 0;
	case BLK_OP_ZERO:
		submit_zero(g, io);
		return 0;
	}
	return EIO;
}

static void start_now(struct blk_uring *g, struct blk_io *io)
{
	int error = submit_next(g, io);

	if (error)
		finish(g, io, error);
}

static bool is_full(const struct blk_uring *g)
{
	return g->disk.is_served && !g->disk.is_volume && g->in_kernel >= SERVED_MOST;
}

static void stop_waiting(struct blk_uring *g, struct blk_io *io)
{
	list_remove(&io->turn);
	io->waits = false;
	g->waiting--;
}

/* Something has ended: those whose turn it is begin. */
static void start_waiting(struct blk_uring *g)
{
	while (g->waiting && !is_full(g)) {
		struct blk_io *io = list_entry(g->turns.next, struct blk_io, turn);

		stop_waiting(g, io);
		start_now(g, io);
	}
}

static void engine_start(struct blk_engine *engine, struct blk_io *io)
{
	struct blk_uring *g = (struct blk_uring *)engine;

	if (!is_full(g)) {
		start_now(g, io);
		return;
	}
	list_append(&g->turns, &io->turn);
	io->waits = true;
	g->waiting++;
}

static void engine_cancel(struct blk_engine *engine, struct blk_io *io)
{
	struct blk_uring *g = (struct blk_uring *)engine;
	struct io_uring_sqe *sqe;

	if (io->waits) {
		stop_waiting(g, io);
		finish(g, io, ECANCELED);
		return;
	}
	sqe = take_sqe(g);

	io_uring_prep_cancel64(sqe, uring_tag(URING_KIND_DEVICE, io->tag), 0);
	sqe->flags |= IOSQE_FIXED_FILE; /* the ring's rules want it of all */
	sqe->user_data = uring_tag(URING_KIND_CANCEL, 0);
}

static void engine_flush(struct blk_engine *engine)
{
	struct blk_uring *g = (struct blk_uring *)engine;

	/* What the kernel does not take now (EAGAIN, EBUSY, EINTR) goes with the next batch. */
	if (io_uring_sq_ready(g->ring))
		io_uring_submit(g->ring);
}

/* True when nothing is left of it. `res` is not negative. */
static bool moved(struct blk_io *io, int32_t res)
{
	if (io->bounce && io->op == BLK_OP_READ)
		copy_window(io, io->bounce, (size_t)res, false);
	blk_io_advance(io, (uint64_t)res);
	return io->done == io->len;
}

static bool zeroed(struct blk_io *io, int32_t res)
{
	bool written = true;

	if (io->step == ZERO_BY_WRITES) {
		io->done += (uint64_t)res;
		written = io->done == io->len;
	}
	if (!written)
		return false;
	if (!io->durable || io->step == ZERO_SYNC)
		return true;
	io->step = ZERO_SYNC;
	return false;
}

/* What `res` means for the operation: 0 goes on or is done (*over), else the errno. */
static int judge(struct blk_io *io, int32_t res, bool *over)
{
	*over = false;
	if (res == -EAGAIN || res == -EINTR || res == -ECANCELED)
		return 0;
	if (res == -EOPNOTSUPP && io->op == BLK_OP_DISCARD)
		res = 0;
	if (res == -EOPNOTSUPP && io->op == BLK_OP_ZERO && io->step == ZERO_BY_FS) {
		io->step = ZERO_BY_WRITES;
		return 0;
	}
	if (res < 0)
		return -res;
	switch (io->op) {
	case BLK_OP_READ:
	case BLK_OP_WRITE:
		*over = moved(io, res);
		return res == 0 ? EIO : 0; /* the file ends before the disk does */
	case BLK_OP_ZERO:
		*over = zeroed(io, res);
		return res == 0 && io->step == ZERO_BY_WRITES ? EIO : 0;
	case BLK_OP_FLUSH:
	case BLK_OP_DISCARD:
		*over = true;
	}
	return 0;
}

static void engine_complete(struct blk_engine *engine, uint64_t user_data, int32_t res)
{
	struct blk_uring *g = (struct blk_uring *)engine;
	struct blk_io *io = engine->io_of(engine->arg, (uint32_t)user_data);
	bool over;
	int error = judge(io, res, &over);

	assert(g->in_kernel > 0);
	g->in_kernel--;
	if (!error && !over)
		error = engine->carrying ? ECANCELED : submit_next(g, io);
	if (error || over)
		finish(g, io, error);
	start_waiting(g);
}

static unsigned int engine_in_kernel(struct blk_engine *engine)
{
	return ((struct blk_uring *)engine)->in_kernel;
}

static uint64_t engine_size(struct blk_engine *engine)
{
	return blk_disk_size(&((struct blk_uring *)engine)->disk);
}

static void engine_free(struct blk_engine *engine)
{
	free(engine);
}

static const struct blk_engine_ops uring_ops = {
	.has_room = engine_has_room,
	.start = engine_start,
	.flush = engine_flush,
	.cancel = engine_cancel,
	.complete = engine_complete,
	.in_kernel = engine_in_kernel,
	.size = engine_size,
	.free = engine_free,
};

struct blk_engine *blk_uring_new(const struct blk_disk *disk, struct io_uring *ring, struct err *e)
{
	struct blk_uring *g = calloc(1, sizeof(*g));

	if (!g) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a disk");
		return NULL;
	}
	assert(*ring->sq.kring_entries > 2 * URING_RESERVED);
	g->engine.ops = &uring_ops;
	g->disk = *disk;
	g->ring = ring;
	list_init(&g->turns);
	g->most = *ring->sq.kring_entries - URING_RESERVED;
	return &g->engine;
}
