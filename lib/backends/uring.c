/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See uring.h for why the ring has the life it has. Registration here uses the raw system call:
 * the wrappers of liburing want a mapped ring, and the keeper never maps one.
 */
#include "lib/backends/uring.h"

#include <errno.h>
#include <linux/time_types.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint8_t allowed_ops[] = {
	IORING_OP_NOP,
	IORING_OP_READ,
	IORING_OP_READV,
	IORING_OP_WRITE,
	IORING_OP_WRITEV,
	IORING_OP_FSYNC,
	IORING_OP_FALLOCATE,
	IORING_OP_POLL_ADD,
	IORING_OP_POLL_REMOVE,
	IORING_OP_SEND,
	IORING_OP_SENDMSG,
	IORING_OP_TIMEOUT,
	IORING_OP_TIMEOUT_REMOVE,
	IORING_OP_ASYNC_CANCEL,
};

/* CQE_SKIP_SUCCESS is not among them: uring_pending() counts on one completion per submission. */
#define ALLOWED_FLAGS (IOSQE_FIXED_FILE | IOSQE_ASYNC | IOSQE_IO_LINK | IOSQE_IO_DRAIN)

static int ring_register(int fd, unsigned int op, const void *arg, unsigned int count)
{
	return syscall(__NR_io_uring_register, fd, op, arg, count) < 0 ? -errno : 0;
}

static int ring_setup(unsigned int entries, struct io_uring_params *params, unsigned int flags)
{
	*params = (struct io_uring_params){
		.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | flags,
		.cq_entries = 2 * entries,
	};
	return (int)syscall(__NR_io_uring_setup, entries, params);
}

int uring_create(unsigned int entries, struct io_uring_params *params, struct err *e)
{
	/*
	 * Completions are reaped where the worker looks anyway, so it need not be interrupted for
	 * them; kernels before 5.19 do not know the flag. Never SINGLE_ISSUER or DEFER_TASKRUN:
	 * their completions belong to one task, and would die with it.
	 */
	int fd = ring_setup(entries, params, IORING_SETUP_COOP_TASKRUN);

	if (fd < 0 && errno == EINVAL)
		fd = ring_setup(entries, params, 0);
	if (fd < 0)
		return err_sys(e, errno, "io_uring: make a ring of %u entries", entries);
	return fd; /* the kernel makes it close-on-exec */
}

static int ring_restrict(int fd, struct err *e)
{
	struct io_uring_restriction rules[ARRAY_SIZE(allowed_ops) + 3] = {0};
	unsigned int n = 0;
	int rc;

	for (; n < ARRAY_SIZE(allowed_ops); n++) {
		rules[n].opcode = IORING_RESTRICTION_SQE_OP;
		rules[n].sqe_op = allowed_ops[n];
	}
	rules[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	rules[n++].sqe_flags = ALLOWED_FLAGS;
	rules[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	rules[n++].sqe_flags = IOSQE_FIXED_FILE;
	rules[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	rules[n++].register_op = IORING_REGISTER_FILES_UPDATE;
	rc = ring_register(fd, IORING_REGISTER_RESTRICTIONS, rules, n);
	return rc < 0 ? err_sys(e, -rc, "io_uring: restrict the ring") : 0;
}

int uring_arm(int ring_fd, const int files[URING_FILES], struct err *e)
{
	int rc = ring_register(ring_fd, IORING_REGISTER_FILES, files, URING_FILES);

	if (rc < 0)
		return err_sys(e, -rc, "io_uring: register the files");
	if (ring_restrict(ring_fd, e) < 0)
		return -1;
	rc = ring_register(ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return rc < 0 ? err_sys(e, -rc, "io_uring: enable the ring") : 0;
}

int uring_map(
	struct io_uring *ring, int ring_fd, const struct io_uring_params *params, struct err *e)
{
	struct io_uring_params copy = *params;
	int rc;

	memset(ring, 0, sizeof(*ring));
	rc = io_uring_queue_mmap(ring_fd, &copy, ring);
	if (rc < 0)
		return err_sys(e, -rc, "io_uring: map the ring");
	/* liburing expects a ring that nobody used yet; a ring may come to us with a past. */
	ring->sq.sqe_head = ring->sq.sqe_tail = *ring->sq.ktail;
	ring->features = params->features;
	/* Some versions fill the index array only when they make the ring themselves. */
	for (unsigned int i = 0; i < params->sq_entries; i++)
		ring->sq.array[i] = i;
	return 0;
}

void uring_unmap(struct io_uring *ring)
{
	/* Not io_uring_queue_exit(): it would close the descriptor too, which is not ours. */
	munmap(ring->sq.sqes, *ring->sq.kring_entries * sizeof(struct io_uring_sqe));
	if (ring->cq.ring_ptr && ring->cq.ring_ptr != ring->sq.ring_ptr)
		munmap(ring->cq.ring_ptr, ring->cq.ring_sz);
	munmap(ring->sq.ring_ptr, ring->sq.ring_sz);
	memset(ring, 0, sizeof(*ring));
}

int uring_set_file(struct io_uring *ring, enum uring_file index, int fd, struct err *e)
{
	struct io_uring_files_update update = {
		.offset = (unsigned int)index,
		.fds = (uintptr_t)&fd,
	};
	int rc = (int)syscall(
		__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_FILES_UPDATE, &update, 1);

	return rc < 0 ? err_sys(e, errno, "io_uring: exchange registered file %d", (int)index) : 0;
}

unsigned int uring_pending(const struct io_uring *ring)
{
	unsigned int done = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE);
	unsigned int taken = __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE);

	return taken - done;
}

static void reap(struct io_uring *ring, uring_seen_fn *seen, void *arg)
{
	struct io_uring_cqe *cqe;
	unsigned int head, count = 0;

	io_uring_for_each_cqe(ring, head, cqe)
	{
		if (seen)
			seen(arg, cqe->user_data, cqe->res);
		count++;
	}
	io_uring_cq_advance(ring, count);
}

int uring_drain(
	struct io_uring *ring, uint64_t deadline_ms, uring_seen_fn *seen, void *arg, struct err *e)
{
	for (;;) {
		unsigned int pending = uring_pending(ring);
		uint64_t now = now_ms();
		uint64_t left_ms = deadline_ms > now ? deadline_ms - now : 0;
		struct __kernel_timespec ts = {
			.tv_sec = (long long)(left_ms / 1000),
			.tv_nsec = (long long)(left_ms % 1000) * 1000000,
		};
		struct io_uring_cqe *cqe;
		int rc;

		reap(ring, seen, arg);
		if (pending == 0)
			return 0;
		if (!left_ms)
			return err_set(e, ERR_FAILED, "IO-STUCK",
				"io_uring: %u requests of the dead worker do not end", pending);
		rc = io_uring_wait_cqe_timeout(ring, &cqe, &ts);
		if (rc < 0 && rc != -ETIME && rc != -EINTR)
			return err_sys(e, -rc, "io_uring: wait for the dead worker's requests");
	}
}
