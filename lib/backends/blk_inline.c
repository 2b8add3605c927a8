/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file that lives in memory (tmpfs, ramfs): the operation is a system call, done when it returns.
 * io_uring would hand each one to a kernel thread, since these file systems cannot say beforehand
 * that they will not wait. A call is over when the process is, so nothing is left behind by a kill.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/backends/blk_engine.h"

struct blk_inline {
	struct blk_engine engine; /* first */
	struct blk_disk disk;
};

static bool inline_has_room(struct blk_engine *g)
{
	(void)g;
	return true;
}

/* What a moving operation ends with after `n`: 0 goes on, else the errno to report. */
static int judge(ssize_t n)
{
	if (n < 0)
		return errno == EINTR ? 0 : errno;
	return n == 0 ? EIO : 0; /* the file ends before the disk does */
}

/* One buffer is the usual case, and a plain call for it the cheaper one. */
static ssize_t move(int fd, const struct blk_io *io, struct iovec *iov, unsigned int count)
{
	off_t at = (off_t)(io->offset + io->done);

	if (io->op == BLK_OP_READ)
		return count == 1 ? pread(fd, iov->iov_base, iov->iov_len, at)
				  : preadv(fd, iov, (int)count, at);
	if (count == 1 && !io->durable)
		return pwrite(fd, iov->iov_base, iov->iov_len, at);
	return pwritev2(fd, iov, (int)count, at, io->durable ? RWF_DSYNC : 0);
}

static int inline_move(struct blk_inline *g, struct blk_io *io)
{
	int error = 0;

	while (io->done < io->len && !error) {
		unsigned int count;
		struct iovec *iov = blk_io_window(io, &count);
		ssize_t n = move(g->disk.fd, io, iov, count);

		error = judge(n);
		if (n > 0)
			blk_io_advance(io, (uint64_t)n);
	}
	blk_io_restore(io);
	return error;
}

static int inline_discard(struct blk_inline *g, struct blk_io *io)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (fallocate(g->disk.fd, mode, (off_t)io->offset, (off_t)io->len) == 0)
		return 0;
	return errno == EOPNOTSUPP ? 0 : errno;
}

static int write_zeroes(struct blk_inline *g, struct blk_io *io)
{
	while (io->done < io->len) {
		ssize_t n = pwrite(g->disk.fd, blk_zeroes, MIN(io->len - io->done, BLK_ZEROES_LEN),
			(off_t)(io->offset + io->done));
		int error = judge(n);

		if (error)
			return error;
		io->done += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

static int inline_zero(struct blk_inline *g, struct blk_io *io)
{
	int mode = io->may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
	int error = 0;

	mode |= FALLOC_FL_KEEP_SIZE;
	if (fallocate(g->disk.fd, mode, (off_t)io->offset, (off_t)io->len) < 0)
		error = errno == EOPNOTSUPP ? write_zeroes(g, io) : errno;
	if (!error && io->durable && fdatasync(g->disk.fd) < 0)
		error = errno;
	return error;
}

static int inline_do(struct blk_inline *g, struct blk_io *io)
{
	switch (io->op) {
	case BLK_OP_READ:
	case BLK_OP_WRITE:
		return inline_move(g, io);
	case BLK_OP_FLUSH:
		return fdatasync(g->disk.fd) < 0 ? errno : 0;
	case BLK_OP_DISCARD:
		return inline_discard(g, io);
	case BLK_OP_ZERO:
		return inline_zero(g, io);
	}
	return EIO;
}

static void inline_start(struct blk_engine *engine, struct blk_io *io)
{
	engine->done(engine->arg, io, inline_do((struct blk_inline *)engine, io));
}

static void inline_flush(struct blk_engine *g)
{
	(void)g;
}

static void inline_complete(struct blk_engine *g, uint64_t user_data, int32_t res)
{
	(void)g, (void)user_data, (void)res;
}

static unsigned int inline_in_kernel(struct blk_engine *g)
{
	(void)g;
	return 0;
}

static uint64_t inline_size(struct blk_engine *g)
{
	return blk_disk_size(&((struct blk_inline *)g)->disk);
}

static void inline_free(struct blk_engine *g)
{
	free(g);
}

static const struct blk_engine_ops inline_ops = {
	.has_room = inline_has_room,
	.start = inline_start,
	.flush = inline_flush,
	.complete = inline_complete,
	.in_kernel = inline_in_kernel,
	.size = inline_size,
	.free = inline_free,
};

struct blk_engine *blk_inline_new(const struct blk_disk *disk, struct err *e)
{
	struct blk_inline *g = calloc(1, sizeof(*g));

	if (!g) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a disk");
		return NULL;
	}
	g->engine.ops = &inline_ops;
	g->disk = *disk;
	return &g->engine;
}
