/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the keeper relies on when it holds and hands over descriptors: what a restricted ring
 * refuses, how a ring can and cannot travel, what a seal keeps, and how a dying peer is seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/backends/uring.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "tests/unit/unit.h"

#define OP_SOCKET 45 /* IORING_OP_SOCKET: not in every header */

static struct err e;

static int make_ring(struct io_uring_params *params)
{
	const int none[URING_FILES] = {-1, -1, -1, -1};
	int fd = uring_create(8, params, &e);

	ck_assert_msg(fd >= 0 && uring_arm(fd, none, &e) == 0, "%s", e.msg);
	return fd;
}

/* The result of one request on a fresh ring. */
static int try_request(void (*prepare)(struct io_uring_sqe *sqe), unsigned int flags)
{
	struct io_uring_params params;
	auto_close int fd = make_ring(&params);
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int res;

	ck_assert_int_eq(uring_map(&ring, fd, &params, &e), 0);
	sqe = io_uring_get_sqe(&ring);
	prepare(sqe);
	sqe->flags |= flags;
	ck_assert_int_eq(io_uring_submit(&ring), 1);
	ck_assert_int_eq(io_uring_wait_cqe(&ring, &cqe), 0);
	res = cqe->res;
	uring_unmap(&ring);
	return res;
}

static void prepare_nop(struct io_uring_sqe *sqe)
{
	io_uring_prep_nop(sqe);
}

static void prepare_open(struct io_uring_sqe *sqe)
{
	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/shadow", O_RDONLY, 0);
}

static void prepare_socket(struct io_uring_sqe *sqe)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = OP_SOCKET;
	sqe->fd = AF_INET;
	sqe->off = SOCK_STREAM;
}

static void prepare_connect(struct io_uring_sqe *sqe)
{
	static const struct sockaddr_in addr = {.sin_family = AF_INET};

	io_uring_prep_connect(sqe, 0, (const struct sockaddr *)&addr, sizeof(addr));
}

static void prepare_unlink(struct io_uring_sqe *sqe)
{
	io_uring_prep_unlinkat(sqe, AT_FDCWD, "/no/such/file", 0);
}

static void prepare_read(struct io_uring_sqe *sqe)
{
	static char byte;

	io_uring_prep_read(sqe, 0, &byte, 1, 0);
}

START_TEST(restricted_ring_opens_nothing)
{
	ck_assert_int_eq(try_request(prepare_nop, IOSQE_FIXED_FILE), 0); /* it does work */
	ck_assert_int_eq(try_request(prepare_open, 0), -EACCES);
	ck_assert_int_eq(try_request(prepare_open, IOSQE_FIXED_FILE), -EACCES);
	ck_assert_int_eq(try_request(prepare_socket, IOSQE_FIXED_FILE), -EACCES);
	ck_assert_int_eq(try_request(prepare_connect, IOSQE_FIXED_FILE), -EACCES);
	ck_assert_int_eq(try_request(prepare_unlink, IOSQE_FIXED_FILE), -EACCES);
	/* An operation that is allowed, on a file that is not registered. */
	ck_assert_int_eq(try_request(prepare_read, 0), -EACCES);
}
END_TEST

START_TEST(ring_cannot_be_sent)
{
	struct io_uring_params params;
	auto_close int ring = make_ring(&params);
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	ck_assert_int_eq(fdio_send(pair[0], "x", 1, &ring, 1), -EINVAL);
	ck_assert_int_eq(fdio_send(pair[0], "x", 1, &pair[0], 1), 0); /* others can */
}
END_TEST

/* A child with a ring, which nobody of its own user may look into. Writes the ring's number. */
static pid_t start_holder(int pipe_fd, struct io_uring_params *params)
{
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	fd = make_ring(params);
	if (write(pipe_fd, &fd, sizeof(fd)) != sizeof(fd))
		_exit(1);
	for (;;)
		pause();
}

START_TEST(ring_can_be_taken_out_of_a_process)
{
	struct io_uring_params *params =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	auto_close int pidfd = -1, ring_fd = -1;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int pipes[2], number;
	pid_t pid;

	ck_assert_int_eq(pipe(pipes), 0);
	pid = start_holder(pipes[1], params);
	ck_assert_int_eq(read(pipes[0], &number, sizeof(number)), sizeof(number));
	pidfd = pidfd_open(pid, 0);
	ring_fd = pidfd_getfd(pidfd, number, 0);
	ck_assert_int_ge(ring_fd, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* It outlives the process that it was taken from. */
	ck_assert_msg(uring_map(&ring, ring_fd, params, &e) == 0, "%s", e.msg);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_nop(sqe);
	sqe->flags = IOSQE_FIXED_FILE;
	ck_assert_int_eq(io_uring_submit(&ring), 1);
	ck_assert_int_eq(uring_drain(&ring, now_ms() + 5000, NULL, NULL, &e), 0);
	uring_unmap(&ring);
}
END_TEST

START_TEST(sealed_memfd_keeps_its_size)
{
	auto_close int fd = fdio_sealed_memfd("x", 4096, &e);

	ck_assert_int_eq(ftruncate(fd, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(fd, 8192), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1); /* nor can it be closed off */
	ck_assert_int_eq(pwrite(fd, "x", 1, 4095), 1);
	ck_assert_int_eq(pwrite(fd, "x", 1, 4096), -1);
}
END_TEST

/* A peer that closes before it read all: an error first, once, and what it had sent behind it. */
START_TEST(reset_comes_before_what_was_sent)
{
	char buffer[8];
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	ck_assert_int_eq(send(pair[0], "unread", 6, 0), 6);
	ck_assert_int_eq(send(pair[1], "last", 4, 0), 4);
	close(pair[1]);
	ck_assert_int_eq(recv(pair[0], buffer, sizeof(buffer), 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	ck_assert_int_eq(recv(pair[0], buffer, sizeof(buffer), 0), 4);
	ck_assert_int_eq(recv(pair[0], buffer, sizeof(buffer), 0), 0);
}
END_TEST

static pid_t sender_of_next(int sock)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr mh = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct ucred who;

	ck_assert_int_eq(recvmsg(sock, &mh, 0), 1);
	ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&mh));
	memcpy(&who, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(who));
	return who.pid;
}

/* SO_PEERCRED names who made the listening socket; the credentials of a message, who sent it. */
START_TEST(message_names_the_process_that_accepted)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(struct ucred);
	auto_close int listener = -1, client = -1;
	struct ucred peer;
	int on = 1;
	pid_t pid;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/iovd-cred-%d", (int)getpid());
	listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	ck_assert_int_eq(bind(listener, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	pid = fork();
	if (pid == 0)
		_exit(send(accept(listener, NULL, NULL), "x", 1, 0) == 1 ? 0 : 1);
	client = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	ck_assert_int_eq(setsockopt(client, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	ck_assert_int_eq(connect(client, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
	ck_assert_int_eq(peer.pid, getpid());
	ck_assert_int_eq(sender_of_next(client), pid);
	waitpid(pid, NULL, 0);
	unlink(addr.sun_path);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {restricted_ring_opens_nothing, ring_cannot_be_sent,
		ring_can_be_taken_out_of_a_process, sealed_memfd_keeps_its_size,
		reset_comes_before_what_was_sent, message_names_the_process_that_accepted};

	if (geteuid() != 0) {
		puts("SKIP: the keeper runs as root, and so does this");
		return 77;
	}
	return unit_run(__FILE__, tests, ARRAY_SIZE(tests));
}
