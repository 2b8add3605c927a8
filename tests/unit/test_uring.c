/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker's ring: what it refuses, and that a dead submitter's requests can be waited for. */
#include "lib/backends/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "tests/unit/unit.h"

#define ENTRIES 64u

struct fixture {
	struct io_uring_params params;
	struct io_uring ring;
	int fd, disk;
};

static struct fixture fx;

static void setup(void)
{
	int files[URING_FILES] = {-1, -1, -1, -1};
	char path[64];
	struct err e = ERR_INIT;

	unit_path(path, sizeof(path), "uring");
	fx.disk = mkstemp(path);
	unlink(path);
	ck_assert_int_eq(ftruncate(fx.disk, 1 << 20), 0);
	fx.fd = uring_create(ENTRIES, &fx.params, &e);
	ck_assert_msg(fx.fd >= 0, "%s", e.msg);
	files[URING_FILE_BUFFERED] = fx.disk;
	ck_assert_msg(uring_arm(fx.fd, files, &e) == 0, "%s", e.msg);
	ck_assert_msg(uring_map(&fx.ring, fx.fd, &fx.params, &e) == 0, "%s", e.msg);
}

static void teardown(const int *unused)
{
	(void)unused;
	uring_unmap(&fx.ring);
	close_fd(&fx.fd);
	close_fd(&fx.disk);
}

static int result_of_one(void)
{
	struct io_uring_cqe *cqe;
	int res;

	ck_assert_int_eq(io_uring_submit(&fx.ring), 1);
	ck_assert_int_eq(io_uring_wait_cqe(&fx.ring, &cqe), 0);
	res = cqe->res;
	io_uring_cqe_seen(&fx.ring, cqe);
	return res;
}

/* First declaration of every test: set up now, torn down when the test ends. */
#define WITH_RING                                                                                  \
	__attribute__((cleanup(teardown))) const int ring_is_up = (setup(), 1);                    \
	(void)ring_is_up

START_TEST(does_what_it_is_for)
{
	WITH_RING;
	char out[512] = "hello", in[512];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&fx.ring);

	io_uring_prep_write(sqe, URING_FILE_BUFFERED, out, sizeof(out), 4096);
	sqe->flags |= IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of_one(), sizeof(out));
	ck_assert_int_eq(pread(fx.disk, in, sizeof(in), 4096), sizeof(in));
	ck_assert_mem_eq(in, out, sizeof(in));
}
END_TEST

START_TEST(refuses_what_a_sandbox_must_not_do)
{
	WITH_RING;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&fx.ring);

	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/shadow", O_RDONLY, 0);
	ck_assert_int_eq(result_of_one(), -EACCES);
	sqe = io_uring_get_sqe(&fx.ring);
	io_uring_prep_socket(sqe, AF_INET, SOCK_STREAM, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of_one(), -EACCES);
	sqe = io_uring_get_sqe(&fx.ring);
	io_uring_prep_connect(sqe, URING_FILE_BUFFERED, NULL, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of_one(), -EACCES);
}
END_TEST

START_TEST(refuses_files_that_are_not_registered)
{
	WITH_RING;
	char in[16];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&fx.ring);

	io_uring_prep_read(sqe, fx.disk, in, sizeof(in), 0);
	ck_assert_int_eq(result_of_one(), -EACCES);
	sqe = io_uring_get_sqe(&fx.ring);
	io_uring_prep_read(sqe, URING_FILE_CONN, in, sizeof(in), 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of_one(), -EBADF);
}
END_TEST

START_TEST(refuses_other_registrations)
{
	WITH_RING;
	struct iovec iov = {.iov_base = &fx, .iov_len = 1};

	ck_assert_int_eq(io_uring_register_buffers(&fx.ring, &iov, 1), -EACCES);
	ck_assert_int_eq(io_uring_unregister_files(&fx.ring), -EACCES);
}
END_TEST

START_TEST(exchanges_a_file)
{
	WITH_RING;
	auto_close int mem = memfd_create("t", MFD_CLOEXEC);
	struct err e = ERR_INIT;
	char in[4] = "";
	struct io_uring_sqe *sqe;

	ck_assert_int_eq(write(mem, "abc", 4), 4);
	ck_assert_msg(uring_set_file(&fx.ring, URING_FILE_CONN, mem, &e) == 0, "%s", e.msg);
	sqe = io_uring_get_sqe(&fx.ring);
	io_uring_prep_read(sqe, URING_FILE_CONN, in, sizeof(in), 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of_one(), 4);
	ck_assert_str_eq(in, "abc");
	ck_assert_int_eq(uring_set_file(&fx.ring, URING_FILE_CONN, -1, &e), 0);
}
END_TEST

static void count_seen(void *arg, uint64_t user_data, int32_t res)
{
	unsigned int *seen = arg;

	(void)res;
	ck_assert_uint_lt(user_data, ENTRIES);
	seen[user_data]++;
}

/* The child submits and dies at once, by SIGKILL; `direct` makes the writes really take time. */
static void child_submits_and_dies(void)
{
	static char page[4096] __attribute__((aligned(4096)));

	for (unsigned int i = 0; i < ENTRIES; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&fx.ring);

		io_uring_prep_write(sqe, URING_FILE_BUFFERED, page, sizeof(page), i * 4096ull);
		sqe->flags |= IOSQE_FIXED_FILE | IOSQE_ASYNC;
		sqe->user_data = i;
	}
	io_uring_submit(&fx.ring);
	kill(getpid(), SIGKILL);
}

START_TEST(waits_for_a_dead_submitters_requests)
{
	WITH_RING;
	unsigned int seen[ENTRIES] = {0};
	struct err e = ERR_INIT;
	pid_t pid = fork();
	int status;

	if (pid == 0)
		child_submits_and_dies();
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	ck_assert_msg(
		uring_drain(&fx.ring, now_ms() + 10000, count_seen, seen, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(uring_pending(&fx.ring), 0);
	for (unsigned int i = 0; i < ENTRIES; i++)
		ck_assert_uint_eq(seen[i], 1);
}
END_TEST

START_TEST(gives_up_at_the_deadline)
{
	WITH_RING;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&fx.ring);
	struct err e = ERR_INIT;
	int pipe_fds[2];

	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_int_eq(uring_set_file(&fx.ring, URING_FILE_CONN, pipe_fds[0], &e), 0);
	io_uring_prep_poll_add(sqe, URING_FILE_CONN, 1 /* POLLIN: nobody will write */);
	sqe->flags |= IOSQE_FIXED_FILE;
	ck_assert_int_eq(io_uring_submit(&fx.ring), 1);
	ck_assert_int_eq(uring_drain(&fx.ring, now_ms() + 50, NULL, NULL, &e), -1);
	ck_assert_str_eq(e.code, "IO-STUCK");
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}
END_TEST

UNIT_MAIN(does_what_it_is_for, refuses_what_a_sandbox_must_not_do,
	refuses_files_that_are_not_registered, refuses_other_registrations, exchanges_a_file,
	waits_for_a_dead_submitters_requests, gives_up_at_the_deadline)
