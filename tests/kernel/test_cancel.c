/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What "cancelled" means (quiesce --carry): a write whose completion says -ECANCELED, after the ring
 * was asked to cancel it, was never sent, and never is. And not every write can be cancelled: those
 * that were sent go on, and complete as if nothing had been asked. So do those that a thread of the
 * kernel has taken from its queue together, up to the last of one file: they are not found (-ENOENT).
 * Hence one write goes ahead here, and the others queue behind it.
 *
 * The disk is one file, served through /dev/fuse by a process of our own, which sees what is sent, and
 * answers no write until it is told to. It dies with us, and the mount is out of sight as soon as
 * the file is open: nothing can be left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/backends/uring.h"
#include "tests/unit/unit.h"

#define DEPTH     64u
#define BLOCK     4096u
#define DISK_SIZE (DEPTH * BLOCK)
#define CANCEL    (1ull << 32)

/* --- the server ------------------------------------------------------------------------------- */

/* Shared with the server. */
struct seen {
	unsigned int sent[DEPTH]; /* how often the write of a block arrived */
	bool answers;
};

static volatile struct seen *seen;

static struct {
	int fd;
	pid_t pid;
	struct fuse_out_header waiting[4 * DEPTH];
	unsigned int waiting_count;
} server;

static void reply(uint64_t unique, int error, const void *data, uint32_t size)
{
	char out[256];
	struct fuse_out_header header = {
		.len = (uint32_t)sizeof(header) + size, .error = -error, .unique = unique};

	memcpy(out, &header, sizeof(header));
	if (size)
		memcpy(out + sizeof(header), data, size);
	if (write(server.fd, out, header.len) < 0)
		return; /* the request is gone, or the mount is */
}

static void reply_attr(uint64_t unique)
{
	const struct fuse_attr_out out = {
		.attr_valid = 3600,
		.attr = {.ino = 1, .size = DISK_SIZE, .mode = S_IFREG | 0600, .nlink = 1},
	};

	reply(unique, 0, &out, sizeof(out));
}

static void take_write(const struct fuse_in_header *in)
{
	const struct fuse_write_in *w = (const struct fuse_write_in *)(in + 1);

	seen->sent[w->offset / BLOCK]++;
	server.waiting[server.waiting_count++] =
		(struct fuse_out_header){.unique = in->unique, .len = w->size};
}

static void answer_writes(void)
{
	for (unsigned int i = 0; i < server.waiting_count; i++) {
		const struct fuse_write_out out = {.size = server.waiting[i].len};

		reply(server.waiting[i].unique, 0, &out, sizeof(out));
	}
	server.waiting_count = 0;
}

static void serve_one(const struct fuse_in_header *in)
{
	const struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = 1u << 16,
		.max_background = 2 * DEPTH};
	const struct fuse_open_out open = {.fh = 1};

	switch (in->opcode) {
	case FUSE_INIT:
		reply(in->unique, 0, &init, sizeof(init));
		return;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		reply_attr(in->unique);
		return;
	case FUSE_OPEN:
		reply(in->unique, 0, &open, sizeof(open));
		return;
	case FUSE_WRITE:
		take_write(in);
		return;
	case FUSE_INTERRUPT: /* not heeded: what was sent is done */
	case FUSE_FORGET:
		return;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		reply(in->unique, 0, NULL, 0);
		return;
	default:
		reply(in->unique, ENOSYS, NULL, 0);
	}
}

static void serve(void)
{
	static char buffer[1u << 18] __attribute__((aligned(8)));
	struct pollfd p = {.fd = server.fd, .events = POLLIN};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		ssize_t n;

		if (seen->answers)
			answer_writes();
		if (poll(&p, 1, 5) == 0)
			continue;
		n = read(server.fd, buffer, sizeof(buffer));
		if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
			_exit(0); /* nobody has the file open any more */
		if (n > 0)
			serve_one((struct fuse_in_header *)buffer);
	}
}

/* The disk, open; -1 where one may not mount. */
static int open_disk(void)
{
	char path[] = "/tmp/cancel-test-XXXXXX", options[96];
	int fd = mkstemp(path), disk;

	ck_assert_int_ge(fd, 0);
	close(fd);
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne((void *)seen, MAP_FAILED);
	server.fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options), "fd=%d,rootmode=100600,user_id=0,group_id=0", server.fd);
	if (server.fd < 0 || mount("cancel-test", path, "fuse", 0, options) < 0) {
		printf("SKIP: no FUSE mount here: %s\n", strerror(errno));
		unlink(path);
		return -1;
	}
	server.pid = fork();
	ck_assert_int_ge(server.pid, 0);
	if (server.pid == 0)
		serve();
	close(server.fd);
	disk = open(path, O_RDWR | O_CLOEXEC);
	umount2(path, MNT_DETACH);
	unlink(path);
	ck_assert_int_ge(disk, 0);
	return disk;
}

/* --- the ring --------------------------------------------------------------------------------- */

static char blocks[DEPTH][BLOCK];
static struct err e;

static void open_ring(struct io_uring *ring, int disk)
{
	const int files[URING_FILES] = {disk, disk, -1, -1};
	struct io_uring_params params;
	int fd = uring_create(4 * DEPTH, &params, &e);

	ck_assert_msg(fd >= 0, "%s", e.msg);
	ck_assert_msg(uring_arm(fd, files, &e) == 0, "%s", e.msg);
	ck_assert_msg(uring_map(ring, fd, &params, &e) == 0, "%s", e.msg);
}

static void submit_writes(struct io_uring *ring, unsigned int first, unsigned int count)
{
	for (unsigned int i = first; i < first + count; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

		io_uring_prep_write(sqe, URING_FILE_BUFFERED, blocks[i], BLOCK, i * BLOCK);
		sqe->flags = IOSQE_FIXED_FILE;
		sqe->user_data = i;
	}
	ck_assert_int_eq(io_uring_submit(ring), count);
}

static void submit_cancels(struct io_uring *ring)
{
	for (unsigned int i = 0; i < DEPTH; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

		io_uring_prep_cancel64(sqe, i, 0);
		sqe->flags |= IOSQE_FIXED_FILE; /* the ring's rules want it of all */
		sqe->user_data = CANCEL | i;
	}
	ck_assert_int_eq(io_uring_submit(ring), DEPTH);
}

/* Takes completions until `count` are there; the results of writes go to `res`. */
static void reap(struct io_uring *ring, unsigned int *count, unsigned int until, int32_t *res)
{
	uint64_t deadline = now_ms() + 20000;

	while (*count < until) {
		struct io_uring_cqe *cqe;

		ck_assert_msg(now_ms() < deadline, "%u completions, not %u", *count, until);
		if (io_uring_peek_cqe(ring, &cqe) < 0) {
			usleep(500);
			continue;
		}
		if (cqe->user_data & CANCEL)
			ck_assert_msg(cqe->res == 0 || cqe->res == -ENOENT || cqe->res == -EALREADY,
				"cancelling: %s", strerror(-cqe->res));
		else
			res[cqe->user_data] = cqe->res;
		io_uring_cqe_seen(ring, cqe);
		++*count;
	}
}

static void wait_until_sent(unsigned int count)
{
	uint64_t deadline = now_ms() + 20000;
	unsigned int sent;

	do {
		sent = 0;
		for (unsigned int i = 0; i < DEPTH; i++)
			sent += seen->sent[i];
		ck_assert_uint_lt(now_ms(), deadline);
	} while (sent < count);
}

/* Each of them was sent, and done; or cancelled, and not sent, before or after. */
static unsigned int count_cancelled(const int32_t *res)
{
	unsigned int cancelled = 0;

	for (unsigned int i = 0; i < DEPTH; i++) {
		if (res[i] == (int32_t)BLOCK) {
			ck_assert_uint_eq(seen->sent[i], 1);
			continue;
		}
		ck_assert_int_eq(res[i], -ECANCELED);
		ck_assert_msg(!seen->sent[i], "write %u was cancelled, and sent", i);
		cancelled++;
	}
	return cancelled;
}

START_TEST(what_is_cancelled_is_never_sent)
{
	unsigned int count = 0, cancelled;
	int32_t res[DEPTH] = {0};
	struct io_uring ring;
	int disk = open_disk();

	if (disk < 0)
		return;
	open_ring(&ring, disk);
	submit_writes(&ring, 0, 1);
	wait_until_sent(1);
	submit_writes(&ring, 1, DEPTH - 1);
	submit_cancels(&ring);
	reap(&ring, &count, DEPTH + 1, res); /* all cancels have answered, and some write has */
	seen->answers = true;
	reap(&ring, &count, 2 * DEPTH, res);
	cancelled = count_cancelled(res);
	ck_assert_uint_ge(cancelled, 1);
	ck_assert_uint_lt(cancelled, DEPTH);
	close(ring.ring_fd);
	uring_unmap(&ring);
	close(disk);
	ck_assert_int_eq(waitpid(server.pid, NULL, 0), server.pid); /* it has seen all there is */
	ck_assert_uint_eq(count_cancelled(res), cancelled);
	printf("%u of %u writes were cancelled\n", cancelled, DEPTH);
}
END_TEST

UNIT_MAIN(what_is_cancelled_is_never_sent)
