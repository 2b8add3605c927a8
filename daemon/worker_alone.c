/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The generation lock of a worker alone. It knows of no generations, so it takes them all: first an
 * exclusive lock on every byte that a generation may hold, which proves that nobody else is at the
 * disk, dead workers' requests included; then shared ones on both descriptions, since each keeps
 * the proof for its own I/O. A read-only disk may be shared by many: it gets shared locks only.
 */
#include "daemon/worker_alone.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/keeper_proto.h"
#include "lib/cleanup.h"

#define RING_ENTRIES    128u
#define LOCK_PATIENCE_S 20

static int lock(int fd, int cmd, short type)
{
	struct flock l = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = KEEPER_LOCK_BASE, /* and all after it */
	};

	return fcntl(fd, cmd, &l) < 0 ? -errno : 0;
}

static void alarm_rang(int sig)
{
	(void)sig; /* it ends the wait by EINTR, and again, should it ring just before */
}

static int lock_patiently(int fd)
{
	struct sigaction sa = {.sa_handler = alarm_rang}, old;
	struct itimerval on = {
		.it_value.tv_sec = LOCK_PATIENCE_S,
		.it_interval.tv_sec = 1,
	};
	const struct itimerval off = {0};
	int rc;

	sigaction(SIGALRM, &sa, &old);
	setitimer(ITIMER_REAL, &on, NULL);
	rc = lock(fd, F_OFD_SETLKW, F_WRLCK);
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	return rc;
}

static int take_locks(const char *path, int buffered, int direct, bool read_only, struct err *e)
{
	int rc = 0;

	if (!read_only)
		rc = lock_patiently(buffered);
	if (rc == -EINTR)
		return err_set(e, ERR_BUSY, "DISK-IN-USE", "%s is in use by another worker", path);
	if (rc == 0)
		rc = lock(buffered, F_OFD_SETLK, F_RDLCK);
	if (rc == 0)
		rc = lock(direct, F_OFD_SETLK, F_RDLCK);
	return rc < 0 ? err_sys(e, -rc, "lock %s", path) : 0;
}

static int open_disk(const char *path, bool read_only, int flags, struct err *e)
{
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | flags);

	return fd < 0 ? err_sys(e, errno, "open %s", path) : fd;
}

static int make_ring(int buffered, int direct, struct io_uring_params *params, struct err *e)
{
	const int files[URING_FILES] = {
		[URING_FILE_DIRECT] = direct,
		[URING_FILE_BUFFERED] = buffered,
		[URING_FILE_CONN] = -1,
		[URING_FILE_BACKEND_REQ] = -1,
	};
	auto_close int ring = uring_create(RING_ENTRIES, params, e);

	if (ring < 0 || uring_arm(ring, files, e) < 0)
		return -1;
	return steal_fd(&ring);
}

int worker_alone_ring(struct io_uring_params *params, struct err *e)
{
	return make_ring(-1, -1, params, e);
}

int worker_alone_disk(const struct worker_args *args, struct blk_disk *disk,
	struct io_uring_params *params, struct err *e)
{
	auto_close int buffered = -1, direct = -1;
	int flags, ring;

	if (args->null_size)
		return worker_alone_ring(params, e);
	buffered = open_disk(args->blk_file, args->read_only, O_NONBLOCK, e);
	if (buffered < 0 || blk_disk_probe(disk, buffered, e) < 0)
		return -1;
	disk->direct = args->cache == WORKER_CACHE_NONE && blk_disk_can_be_direct(disk);
	flags = disk->direct && !disk->in_memory ? O_DIRECT : 0;
	direct = open_disk(args->blk_file, args->read_only, flags, e);
	if (direct < 0 || take_locks(args->blk_file, buffered, direct, args->read_only, e) < 0)
		return -1;
	ring = make_ring(buffered, direct, params, e);
	if (ring >= 0)
		steal_fd(&buffered); /* disk->fd, for good; the other one lives in the ring */
	return ring;
}

static int fill_address(struct sockaddr_un *addr, const char *path, const char *suffix)
{
	int n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s%s", path, suffix);

	addr->sun_family = AF_UNIX;
	return n > 0 && (size_t)n < sizeof(addr->sun_path) ? 0 : -1;
}

/* What is at `path` may be replaced: nothing, or a socket that nobody listens on any more. */
static int check_replaceable(const char *path, struct err *e)
{
	auto_close int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {0};
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_REFUSED, "SOCKET-PATH", "%s is there, and no socket", path);
	if (probe < 0 || fill_address(&addr, path, "") < 0)
		return err_sys(e, EINVAL, "%s", path);
	if (connect(probe, (struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN)
		return err_set(e, ERR_BUSY, "SOCKET-PATH", "%s: somebody listens there", path);
	return 0;
}

/* The socket appears under its name when it can be connected to, not before. */
static int listen_at(const char *path, struct err *e)
{
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {0};

	if (check_replaceable(path, e) < 0)
		return -1;
	if (fill_address(&addr, path, ".new") < 0)
		return err_set(e, ERR_USAGE, "SOCKET-PATH", "%s: too long for a socket", path);
	unlink(addr.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 8) < 0 ||
		rename(addr.sun_path, path) < 0) {
		err_sys(e, errno, "listen at %s", path);
		unlink(addr.sun_path);
		return -1;
	}
	return steal_fd(&fd);
}

static bool is_listening(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

int worker_alone_socket(
	const struct worker_args *args, struct vault *vault, bool *listening, struct err *e)
{
	int fd = args->fd;

	if (args->socket_path)
		fd = listen_at(args->socket_path, e);
	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(e, errno, "--fd=%d", fd);
	*listening = is_listening(fd);
	if (!*listening)
		return fd;
	return vault_put(vault, VAULT_LISTEN, fd, e) < 0 ? -1 : 0;
}
