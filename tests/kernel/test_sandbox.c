/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's sandbox from within: each probe is a process that enters it as a worker does, with a
 * ring made and restricted as a worker's, and then tries something. Forbidden calls must end it by
 * SIGSYS; forbidden operations on the ring must be refused; what a worker needs must work.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "daemon/worker_sandbox.h"
#include "lib/backends/uring.h"
#include "lib/fdio.h"
#include "tests/unit/unit.h"

struct box {
	struct io_uring ring;
	int disk;   /* registered, and open */
	int secret; /* open, and not registered */
};

enum { OK = 0, SET_UP_FAILED = 90, NOT_REFUSED = 91 };

static void enter_or_exit(struct box *box, const char *user)
{
	int files[URING_FILES] = {-1, -1, -1, -1};
	struct io_uring_params params;
	struct err e = ERR_INIT;
	int ring = uring_create(8, &params, &e);

	box->disk = fdio_sealed_memfd("disk", 8192, &e);
	box->secret = fdio_sealed_memfd("secret", 8192, &e);
	files[URING_FILE_DIRECT] = box->disk;
	if (ring < 0 || box->disk < 0 || box->secret < 0 || uring_arm(ring, files, &e) < 0 ||
		uring_map(&box->ring, ring, &params, &e) < 0 ||
		worker_sandbox_enter(user, WORKER_SANDBOX_DISK, false, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		_exit(SET_UP_FAILED);
	}
}

typedef int probe_fn(struct box *box);

struct probe {
	const char *name;
	probe_fn *run;
};

/* The wait status of a process that entered the sandbox and probed. */
static int run_probe(probe_fn *run)
{
	struct box box;
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		enter_or_exit(&box, NULL);
		_exit(run(&box));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
static struct io_uring_params ring_params;
static struct stat st;
static char *no_words[] = {NULL};
static char byte;

/* --- forbidden calls: made raw, since the C library might choose another ---------------------- */

#define CALL(name, ...)                                                                            \
	static int try_##name(struct box *box)                                                     \
	{                                                                                          \
		(void)box;                                                                         \
		syscall(__VA_ARGS__);                                                              \
		return NOT_REFUSED;                                                                \
	}

#define ANONYMOUS MAP_PRIVATE | MAP_ANONYMOUS, -1, 0

CALL(openat2, SYS_openat2, AT_FDCWD, "/etc/shadow", NULL, 0)
CALL(open_by_handle, SYS_open_by_handle_at, AT_FDCWD, NULL, O_RDONLY)
CALL(socket, SYS_socket, AF_UNIX, SOCK_STREAM, 0)
CALL(socketpair, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, NULL)
CALL(connect, SYS_connect, 0, &nowhere, sizeof(nowhere))
CALL(bind, SYS_bind, 0, &nowhere, sizeof(nowhere))
CALL(execve, SYS_execve, "/bin/true", no_words, no_words)
CALL(execveat, SYS_execveat, AT_FDCWD, "/bin/true", no_words, no_words, 0)
CALL(kill, SYS_kill, getppid(), 0)
CALL(tkill, SYS_tkill, 1, 0)
CALL(tgkill_other, SYS_tgkill, 1, 1, 0)
CALL(pidfd_open, SYS_pidfd_open, 1, 0)
CALL(pidfd_getfd, SYS_pidfd_getfd, 0, 0, 0)
CALL(process_vm_writev, SYS_process_vm_writev, 1, NULL, 0, NULL, 0, 0)
CALL(io_uring_setup, SYS_io_uring_setup, 8, &ring_params)
CALL(mount, SYS_mount, "none", "/", "tmpfs", 0, NULL)
CALL(unshare, SYS_unshare, 0x10000000)
CALL(setuid, SYS_setuid, 0)
CALL(bpf, SYS_bpf, 0, NULL, 0)
CALL(unlinkat, SYS_unlinkat, AT_FDCWD, "/nowhere", 0)
CALL(mmap_exec, SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, ANONYMOUS)
CALL(mprotect_exec, SYS_mprotect, &st, 4096, PROT_READ | PROT_EXEC)
CALL(ioctl_tiocsti, SYS_ioctl, 0, 0x5412, "x")
#ifndef IOVD_SANITIZERS /* their runtimes need these */
CALL(openat, SYS_openat, AT_FDCWD, "/etc/shadow", O_RDONLY)
CALL(fork, SYS_clone, SIGCHLD, NULL, NULL, NULL, 0)
CALL(clone3, SYS_clone3, NULL, 0)
CALL(ptrace, SYS_ptrace, PTRACE_ATTACH, 1, NULL, NULL)
CALL(prctl, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
CALL(stat_path, SYS_newfstatat, AT_FDCWD, "/etc/shadow", &st, 0)
#endif

static const struct probe forbidden_calls[] = {
	{"openat2", try_openat2},
	{"open_by_handle_at", try_open_by_handle},
	{"socket", try_socket},
	{"socketpair", try_socketpair},
	{"connect", try_connect},
	{"bind", try_bind},
	{"execve", try_execve},
	{"execveat", try_execveat},
	{"kill", try_kill},
	{"tkill", try_tkill},
	{"tgkill of another", try_tgkill_other},
	{"pidfd_open", try_pidfd_open},
	{"pidfd_getfd", try_pidfd_getfd},
	{"process_vm_writev", try_process_vm_writev},
	{"io_uring_setup", try_io_uring_setup},
	{"mount", try_mount},
	{"unshare", try_unshare},
	{"setuid", try_setuid},
	{"bpf", try_bpf},
	{"unlinkat", try_unlinkat},
	{"mmap of code", try_mmap_exec},
	{"mprotect to code", try_mprotect_exec},
	{"ioctl TIOCSTI", try_ioctl_tiocsti},
#ifndef IOVD_SANITIZERS
	{"openat", try_openat},
	{"fork", try_fork},
	{"clone3", try_clone3},
	{"ptrace", try_ptrace},
	{"prctl", try_prctl},
	{"stat of a path", try_stat_path},
#endif
};

START_TEST(forbidden_calls_end_it)
{
	for (size_t i = 0; i < ARRAY_SIZE(forbidden_calls); i++) {
		int status = run_probe(forbidden_calls[i].run);

		ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
			"%s: status 0x%x instead of SIGSYS", forbidden_calls[i].name, status);
	}
}
END_TEST

/* --- through the ring, which the filter does not see ------------------------------------------ */

static int ring_result(struct box *box)
{
	struct io_uring_cqe *cqe;

	if (io_uring_submit_and_wait(&box->ring, 1) < 0 || io_uring_peek_cqe(&box->ring, &cqe) != 0)
		return 1;
	return cqe->res;
}

/* `flags`: what the submission says beside. */
#define ON_RING(name, flags_, prepare)                                                             \
	static int ring_##name(struct box *box)                                                    \
	{                                                                                          \
		struct io_uring_sqe *sqe = io_uring_get_sqe(&box->ring);                           \
                                                                                                   \
		prepare;                                                                           \
		sqe->flags |= (flags_);                                                            \
		return ring_result(box) == -EACCES ? OK : NOT_REFUSED;                             \
	}

#define FIXED IOSQE_FIXED_FILE

ON_RING(openat, 0, io_uring_prep_openat(sqe, AT_FDCWD, "/etc/shadow", O_RDONLY, 0))
ON_RING(openat_fixed, FIXED, io_uring_prep_openat(sqe, AT_FDCWD, "/etc/shadow", O_RDONLY, 0))
ON_RING(openat_direct, 0,
	io_uring_prep_openat_direct(sqe, AT_FDCWD, "/etc/shadow", O_RDONLY, 0, URING_FILE_CONN))
ON_RING(socket, 0, io_uring_prep_socket(sqe, AF_UNIX, SOCK_STREAM, 0, 0))
ON_RING(connect, FIXED, io_uring_prep_connect(sqe, 0, (void *)&nowhere, sizeof(nowhere)))
ON_RING(accept, FIXED, io_uring_prep_accept(sqe, 0, NULL, NULL, 0))
ON_RING(unlink, 0, io_uring_prep_unlinkat(sqe, AT_FDCWD, "/nowhere", 0))
ON_RING(rename, 0, io_uring_prep_renameat(sqe, AT_FDCWD, "/nowhere", AT_FDCWD, "/there", 0))
ON_RING(statx, 0, io_uring_prep_statx(sqe, AT_FDCWD, "/etc/shadow", 0, 0, (void *)&st))
ON_RING(close, 0, io_uring_prep_close(sqe, 0))
ON_RING(unregistered_read, 0, io_uring_prep_read(sqe, box->secret, &byte, 1, 0))
ON_RING(unregistered_write, 0, io_uring_prep_write(sqe, box->secret, &byte, 1, 0))
ON_RING(msg_ring, 0, io_uring_prep_msg_ring(sqe, box->ring.ring_fd, 0, 0, 0))
ON_RING(provide_buffers, 0, io_uring_prep_provide_buffers(sqe, &byte, 1, 1, 0, 0))

static int ring_register_buffers(struct box *box)
{
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};

	return io_uring_register_buffers(&box->ring, &iov, 1) == -EACCES ? OK : NOT_REFUSED;
}

static const struct probe forbidden_on_ring[] = {
	{"openat", ring_openat},
	{"openat with a registered file", ring_openat_fixed},
	{"openat into the table", ring_openat_direct},
	{"socket", ring_socket},
	{"connect", ring_connect},
	{"accept", ring_accept},
	{"unlinkat", ring_unlink},
	{"renameat", ring_rename},
	{"statx", ring_statx},
	{"close", ring_close},
	{"read of what is not registered", ring_unregistered_read},
	{"write to what is not registered", ring_unregistered_write},
	{"message to a ring", ring_msg_ring},
	{"provide buffers", ring_provide_buffers},
	{"register buffers", ring_register_buffers},
};

START_TEST(the_ring_refuses)
{
	for (size_t i = 0; i < ARRAY_SIZE(forbidden_on_ring); i++) {
		int status = run_probe(forbidden_on_ring[i].run);

		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == OK,
			"%s on the ring: status 0x%x", forbidden_on_ring[i].name, status);
	}
}
END_TEST

/* --- what a worker needs ---------------------------------------------------------------------- */

static int by_age(const void *a, const void *b)
{
	return memcmp(a, b, 1);
}

/* As many as may have been in flight. */
static void sort_requests(void)
{
	static char requests[1024][64];

	qsort(requests, ARRAY_SIZE(requests), sizeof(requests[0]), by_age);
}

static int do_its_work(struct box *box)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&box->ring);
	struct err e = ERR_INIT;
	int fd;

	io_uring_prep_write(sqe, URING_FILE_DIRECT, "x", 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	if (ring_result(box) != 1)
		return 1;
	sort_requests();
	fd = fdio_sealed_memfd("region", 4096, &e);
	if (fd < 0 || mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
		return 2;
	if (uring_set_file(&box->ring, URING_FILE_CONN, fd, &e) < 0)
		return 3;
	return fstat(fd, &st) == 0 && st.st_size == 4096 ? OK : 4;
}

START_TEST(a_worker_can_work)
{
	ck_assert_int_eq(run_probe(do_its_work), 0);
}
END_TEST

/* --- who it is -------------------------------------------------------------------------------- */

static void check_status(pid_t pid, const char *field, int base, long want)
{
	char path[64], text[4096];
	const char *at;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	ck_assert_int_gt(fdio_read_file(AT_FDCWD, path, text, sizeof(text)), 0);
	at = strstr(text, field);
	ck_assert_ptr_nonnull(at);
	ck_assert_msg(strtol(at + strlen(field), NULL, base) == want, "%s", at);
}

/* Enters as another user, says so, and stays until nobody holds the other end of `until`. */
static void be_nobody(int until, int said)
{
	struct box box;
	char end;

	enter_or_exit(&box, "nobody");
	_exit(write(said, "r", 1) == 1 && read(until, &end, 1) == 0 ? OK : 1);
}

START_TEST(it_is_nobody_and_may_nothing)
{
	int until[2], said[2], status;
	char ready;
	pid_t pid;

	if (geteuid() != 0) {
		printf("SKIP only root can become somebody else\n");
		return;
	}
	ck_assert_int_eq(pipe(until), 0);
	ck_assert_int_eq(pipe(said), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(until[1]);
		be_nobody(until[0], said[1]);
	}
	close(said[1]);
	ck_assert_int_eq(read(said[0], &ready, 1), 1);
	check_status(pid, "\nUid:\t", 10, 65534);
	check_status(pid, "\nCapEff:\t", 16, 0);
	check_status(pid, "\nCapPrm:\t", 16, 0);
	check_status(pid, "\nNoNewPrivs:\t", 10, 1);
	check_status(pid, "\nSeccomp:\t", 10, 2);
	close(until[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

UNIT_MAIN(forbidden_calls_end_it, the_ring_refuses, a_worker_can_work, it_is_nobody_and_may_nothing)
