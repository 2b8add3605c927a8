/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/fdio: messages with descriptors arrive whole or not at all, and nothing leaks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "tests/unit/unit.h"

static int open_fds(void)
{
	auto_closedir DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		count++;
	return count;
}

/* A message with more descriptors than one may have: fdio_send() itself would not send it. */
static void send_many(int sock, int fd, unsigned int count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 64)];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = (char[]){'x'}, .iov_len = 1};
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(sizeof(int) * count),
	};
	struct cmsghdr *c = &control.align;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * count);
	for (unsigned int i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(sock, &mh, 0), 1);
}

START_TEST(descriptors_travel_up_to_the_limit)
{
	int pair[2], fds[FDIO_MAX_FDS], before;
	struct fdio_msg msg;
	char data[8];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	before = open_fds();
	for (int i = 0; i < FDIO_MAX_FDS; i++)
		fds[i] = pair[0];
	ck_assert_int_eq(fdio_send(pair[0], "hello", 5, fds, FDIO_MAX_FDS), 0);
	ck_assert_int_eq(fdio_recv(pair[1], data, sizeof(data), 0, &msg), 0);
	ck_assert_int_eq(msg.len, 5);
	ck_assert_mem_eq(data, "hello", 5);
	ck_assert_uint_eq(msg.fd_count, FDIO_MAX_FDS);
	ck_assert(!msg.truncated);
	for (unsigned int i = 0; i < msg.fd_count; i++)
		ck_assert_int_ne(fcntl(msg.fds[i], F_GETFD) & FD_CLOEXEC, 0);
	fdio_msg_close(&msg);
	ck_assert_uint_eq(msg.fd_count, 0);
	ck_assert_int_eq(open_fds(), before);
}
END_TEST

START_TEST(descriptors_over_the_limit_are_closed)
{
	static const unsigned int counts[] = {FDIO_MAX_FDS + 1, 32, 33, 64};
	struct fdio_msg msg;
	int pair[2], before;
	char data[8];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	before = open_fds();
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		send_many(pair[0], pair[0], counts[i]);
		ck_assert_int_eq(fdio_recv(pair[1], data, sizeof(data), 0, &msg), 0);
		ck_assert(msg.truncated);
		ck_assert_uint_eq(msg.fd_count, FDIO_MAX_FDS);
		fdio_msg_close(&msg);
		ck_assert_int_eq(open_fds(), before);
	}
}
END_TEST

START_TEST(nothing_and_the_end_are_told_apart)
{
	struct fdio_msg msg;
	int pair[2];
	char data[8];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(fdio_set_nonblock(pair[1], true), 0);
	ck_assert_int_eq(fdio_recv(pair[1], data, sizeof(data), 0, &msg), -EAGAIN);
	close(pair[0]);
	ck_assert_int_eq(fdio_recv(pair[1], data, sizeof(data), 0, &msg), 0);
	ck_assert_int_eq(msg.len, 0);
	/* A peer that is gone is an error, not a signal. */
	ck_assert_int_eq(fdio_send(pair[1], "x", 1, NULL, 0), -EPIPE);
	ck_assert_int_eq(fdio_set_nonblock(pair[1], false), 0);
	ck_assert_int_eq(fcntl(pair[1], F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(small_files_are_read_whole_or_refused)
{
	char path[64], data[8];
	int fd;

	unit_path(path, sizeof(path), "fdio");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fdio_write_all(fd, "1234567", 7), 0);
	ck_assert_int_eq(fdio_read_file(AT_FDCWD, path, data, sizeof(data)), 7);
	ck_assert_str_eq(data, "1234567");
	ck_assert_int_eq(fdio_write_all(fd, "\n", 1), 0);
	ck_assert_int_eq(fdio_read_file(AT_FDCWD, path, data, sizeof(data)), -EFBIG);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(fdio_read_file(AT_FDCWD, path, data, sizeof(data)), 0);
	ck_assert_str_eq(data, "");
	ck_assert_int_eq(pwrite(fd, "ab\n\n", 4, 0), 4);
	ck_assert_int_eq(fdio_read_file(AT_FDCWD, path, data, sizeof(data)), 3);
	ck_assert_str_eq(data, "ab\n");
	unlink(path);
	ck_assert_int_eq(fdio_read_file(AT_FDCWD, path, data, sizeof(data)), -ENOENT);
	close(fd);
}
END_TEST

START_TEST(sealed_memory_keeps_its_size)
{
	struct err e = ERR_INIT;
	int fd = fdio_sealed_memfd("iovd-test", 4096, &e);
	int seals;

	ck_assert_msg(fd >= 0, "%s", e.msg);
	seals = fcntl(fd, F_GET_SEALS);
	ck_assert_int_eq(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	ck_assert_int_eq(ftruncate(fd, 4095), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(fd, 4097), -1);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 4096);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	close(fd);
}
END_TEST

UNIT_MAIN(descriptors_travel_up_to_the_limit, descriptors_over_the_limit_are_closed,
	nothing_and_the_end_are_told_apart, small_files_are_read_whole_or_refused,
	sealed_memory_keeps_its_size)
