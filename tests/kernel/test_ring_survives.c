/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What replay relies on (the first proof that a dead worker's I/O is over): a ring that its maker
 * keeps outlives a submitter killed by SIGKILL, and every submission has its one completion there.
 * And the second, for when the ring is lost: an OFD lock on an open file description that only the
 * worker and its ring hold falls when the last request on it is over, and no write lands later.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/backends/uring.h"
#include "lib/cleanup.h"
#include "tests/unit/unit.h"

#define DEPTH  64
#define BLOCK  65536
#define ROUNDS 12
#define SLOTS  256 /* blocks of the file */

static char path[64];
static struct err e;
static volatile unsigned int *submitted; /* shared with the child: what the kernel has got */

static int open_disk(int flags)
{
	int fd = open(path, O_RDWR | flags | O_CLOEXEC);

	if (fd < 0 && flags & O_DIRECT)
		fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void begin(void)
{
	int fd;

	/* Where we are: /tmp may be a tmpfs, which has no I/O to wait for. */
	strcpy(path, "ring-test-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)SLOTS * BLOCK), 0);
	close(fd);
	submitted = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne((void *)submitted, MAP_FAILED);
}

static void end(void)
{
	unlink(path);
}

static void queue_write(struct io_uring *ring, char *block, unsigned int number)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	*(unsigned int *)block = number;
	io_uring_prep_write(
		sqe, URING_FILE_DIRECT, block, BLOCK, (uint64_t)(number % SLOTS) * BLOCK);
	sqe->flags = IOSQE_FIXED_FILE;
}

/* Writes at full depth until it is killed; each block begins with the number of its write. */
static void submit_for_ever(struct io_uring *ring)
{
	static char blocks[DEPTH][BLOCK] __attribute__((aligned(4096)));
	unsigned int number = 0, flying = 0;

	for (;;) {
		struct io_uring_cqe *cqe;

		for (; flying < DEPTH; flying++, number++)
			queue_write(ring, blocks[number % DEPTH], number);
		if (io_uring_submit(ring) < 0)
			_exit(2);
		*submitted = number;
		if (io_uring_wait_cqe(ring, &cqe) < 0)
			_exit(3);
		for (; io_uring_peek_cqe(ring, &cqe) == 0; flying--)
			io_uring_cqe_seen(ring, cqe);
	}
}

static void wait_for_work(void)
{
	unsigned int enough = DEPTH + (unsigned int)rand() % 400;
	uint64_t until = now_ms() + 20000;

	while (*submitted < enough && now_ms() < until)
		usleep(200);
	ck_assert_uint_ge(*submitted, enough);
}

/* The disk that the ring works on, or -1. */
static int arm(int ring_fd)
{
	int disk = open_disk(O_DIRECT);
	const int files[URING_FILES] = {disk, disk, -1, -1};

	return uring_arm(ring_fd, files, &e) < 0 ? -1 : disk;
}

/* --- the ring --------------------------------------------------------------------------------- */

static void count_seen(void *arg, uint64_t user_data, int32_t res)
{
	unsigned int *seen = arg;

	(void)user_data;
	seen[res == BLOCK ? 0 : 1]++;
}

static void kill_and_drain(int round)
{
	struct io_uring_params params;
	struct io_uring ring;
	unsigned int seen[2] = {0};
	auto_close int ring_fd = uring_create(128, &params, &e);
	int status;
	pid_t pid;

	ck_assert_msg(ring_fd >= 0, "%s", e.msg);
	*submitted = 0;
	pid = fork();
	if (pid == 0) {
		if (arm(ring_fd) < 0 || uring_map(&ring, ring_fd, &params, &e) < 0)
			_exit(1);
		submit_for_ever(&ring);
	}
	wait_for_work();
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	ck_assert_int_eq(uring_map(&ring, ring_fd, &params, &e), 0);
	ck_assert_msg(uring_drain(&ring, now_ms() + 20000, count_seen, seen, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(uring_pending(&ring), 0);
	printf("round %d: %u done and %u cancelled after the kill\n", round, seen[0], seen[1]);
	uring_unmap(&ring);
}

START_TEST(every_submission_of_a_killed_worker_completes)
{
	begin();
	for (int round = 0; round < ROUNDS; round++)
		kill_and_drain(round);
	end();
}
END_TEST

/* --- the lock --------------------------------------------------------------------------------- */

/* Ring, disk and lock are all its own, and die with it. */
static void write_under_lock(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct io_uring_params params;
	struct io_uring ring;
	int ring_fd = uring_create(128, &params, &e);
	int disk = arm(ring_fd);

	if (disk < 0 || fcntl(disk, F_OFD_SETLK, &lock) < 0 ||
		uring_map(&ring, ring_fd, &params, &e) < 0)
		_exit(1);
	submit_for_ever(&ring);
}

static void read_numbers(unsigned int numbers[SLOTS])
{
	static char block[4096] __attribute__((aligned(4096)));
	auto_close int fd = open_disk(O_DIRECT);

	for (unsigned int i = 0; i < SLOTS; i++) {
		ck_assert_int_eq(pread(fd, block, sizeof(block), (off_t)i * BLOCK), sizeof(block));
		numbers[i] = *(unsigned int *)block;
	}
}

static void kill_and_wait_for_lock(int round)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	unsigned int now[SLOTS], later[SLOTS];
	auto_close int fd = open_disk(0);
	uint64_t killed;
	pid_t pid;

	*submitted = 0;
	pid = fork();
	if (pid == 0)
		write_under_lock();
	wait_for_work();
	killed = now_ms();
	kill(pid, SIGKILL);
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLKW, &lock), 0);
	killed = now_ms() - killed;
	read_numbers(now);
	printf("round %d: the lock fell after %llu ms\n", round, (unsigned long long)killed);
	waitpid(pid, NULL, 0);
	usleep(150000); /* a write that must not come is no condition to wait for */
	read_numbers(later);
	ck_assert_mem_eq(now, later, sizeof(now));
}

START_TEST(lock_of_a_killed_worker_falls_after_its_last_write)
{
	begin();
	for (int round = 0; round < ROUNDS; round++)
		kill_and_wait_for_lock(round);
	end();
}
END_TEST

UNIT_MAIN(every_submission_of_a_killed_worker_completes,
	lock_of_a_killed_worker_falls_after_its_last_write)
