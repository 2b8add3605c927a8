/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between fork and exec: the child that becomes a worker. It may wait as long as it takes, here for
 * the disk to open, and for the locks of older generations whose I/O nothing else answers for.
 *
 * The locks (keeper_proto.h) on a disk that we may write: first exclusively all the bytes that must
 * be free -- which waits, and keeps out everybody else who does the same -- then our own byte
 * shared, then the rest free. Read-only, where no exclusive lock can be had, the kernel is asked
 * again and again; two readers at once are no harm.
 *
 * An idle worker, whose disk is another host's for now, has it read-only and without locks.
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/backends/uring.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"

#define CHILD_MAX_WORDS 32
#define CHILD_FD_BASE   16 /* descriptors are collected from here on, then put in their places */
#define CHILD_ASK_MS    20

struct child {
	const struct spawn *spawn;
	int direct, buffered;
};

static int disk_reopen(const struct spawn *s, int extra, struct err *e)
{
	char path[32];
	int mode = s->flags & (KEEPER_SPAWN_READONLY | KEEPER_SPAWN_IDLE) ? O_RDONLY : O_RDWR;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->backing);
	fd = open(path, mode | extra | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "reopen the disk") : fd;
}

static int disk_lock(int fd, int op, short type, int64_t first, int64_t count)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = count};
	int rc;

	do {
		rc = fcntl(fd, op, &lock);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	return op == F_OFD_GETLK && lock.l_type != F_UNLCK ? -EAGAIN : 0;
}

/* count 0 means all from there on, for the kernel and for us. */
static int disk_wait_readonly(int fd, int64_t count)
{
	int rc;

	while ((rc = disk_lock(fd, F_OFD_GETLK, F_WRLCK, KEEPER_LOCK_BASE, count)) == -EAGAIN)
		poll(NULL, 0, CHILD_ASK_MS); /* the kernel has no event for it */
	return rc;
}

static int disk_take_generation(struct child *c, bool must_wait, int64_t count)
{
	int64_t own = KEEPER_LOCK_BASE + (int64_t)c->spawn->ring->generation;
	int rc = 0;

	if (must_wait && c->spawn->flags & KEEPER_SPAWN_READONLY)
		rc = disk_wait_readonly(c->buffered, count);
	else if (must_wait)
		rc = disk_lock(c->buffered, F_OFD_SETLKW, F_WRLCK, KEEPER_LOCK_BASE, count);
	if (rc == 0)
		rc = disk_lock(c->buffered, F_OFD_SETLKW, F_RDLCK, own, 1);
	if (rc == 0)
		rc = disk_lock(c->direct, F_OFD_SETLKW, F_RDLCK, own, 1);
	if (rc == 0 && must_wait)
		rc = disk_lock(c->buffered, F_OFD_SETLK, F_UNLCK, KEEPER_LOCK_BASE,
			own - KEEPER_LOCK_BASE);
	if (rc == 0 && must_wait)
		rc = disk_lock(c->buffered, F_OFD_SETLK, F_UNLCK, own + 1, 0);
	return rc;
}

static bool has_disk(const struct child *c)
{
	return !(c->spawn->flags & KEEPER_SPAWN_TAP);
}

static int child_lock(struct child *c, struct err *e)
{
	const struct held_ring *old = c->spawn->old;
	/* What no ring answers for: all, or what is older than the old ring. */
	int64_t older = old->fd < 0 ? 0 : (int64_t)old->generation;
	int rc = 0;

	/* An idle one has no requests to answer for, and none but its ring's to wait for. */
	if (has_disk(c) && !(c->spawn->flags & KEEPER_SPAWN_IDLE))
		rc = disk_take_generation(c, old->fd < 0 || older > 0, older);
	return rc < 0 ? err_sys(e, -rc, "lock the disk") : 0;
}

static int child_open(struct child *c, struct err *e)
{
	if (!has_disk(c))
		return 0;
	c->buffered = disk_reopen(c->spawn, 0, e);
	if (c->buffered < 0)
		return -1;
	if (c->spawn->flags & KEEPER_SPAWN_DIRECT)
		c->direct = disk_reopen(c->spawn, O_DIRECT, NULL);
	if (c->direct < 0) /* not wanted, or the file system cannot */
		c->direct = disk_reopen(c->spawn, 0, e);
	return c->direct < 0 ? -1 : 0;
}

static int child_arm(struct child *c, struct err *e)
{
	const int files[URING_FILES] = {
		[URING_FILE_DIRECT] = c->direct,
		[URING_FILE_BUFFERED] = c->buffered,
		[URING_FILE_CONN] = -1,
		[URING_FILE_BACKEND_REQ] = -1,
	};

	return uring_arm(c->spawn->ring->fd, files, e);
}

/* Puts the descriptors where the worker looks for them, and closes all others but 0, 1, 2. */
static int child_place_fds(struct child *c, struct err *e)
{
	const int from[] = {c->spawn->control, c->spawn->ring->fd, c->spawn->old->fd, c->buffered};
	int high[ARRAY_SIZE(from)];

	for (unsigned int i = 0; i < ARRAY_SIZE(from); i++) {
		high[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD, CHILD_FD_BASE);
		if (from[i] >= 0 && high[i] < 0)
			return err_sys(e, errno, "duplicate a descriptor");
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(from); i++) {
		int place = KEEPER_FD_CONTROL + (int)i;

		if (high[i] < 0)
			close(place);
		else if (dup2(high[i], place) < 0)
			return err_sys(e, errno, "place descriptor %d", place);
	}
	if (close_range(KEEPER_FD_BACKING + 1, ~0u, 0) < 0)
		return err_sys(e, errno, "close the other descriptors");
	return 0;
}

static_assert(KEEPER_FD_RING == KEEPER_FD_CONTROL + 1 && KEEPER_FD_OLD_RING == KEEPER_FD_RING + 1 &&
		      KEEPER_FD_BACKING == KEEPER_FD_OLD_RING + 1,
	"the order of child_place_fds()");

static int child_exec(const struct child *c, struct err *e)
{
	char fds[4][32];
	char *argv[CHILD_MAX_WORDS];
	const char *word = c->spawn->text;
	int n = 0;

	snprintf(fds[0], sizeof(fds[0]), "--control-fd=%d", KEEPER_FD_CONTROL);
	snprintf(fds[1], sizeof(fds[1]), "--ring-fd=%d", KEEPER_FD_RING);
	snprintf(fds[2], sizeof(fds[2]), "--old-ring-fd=%d", KEEPER_FD_OLD_RING);
	snprintf(fds[3], sizeof(fds[3]), "--backing-fd=%d", KEEPER_FD_BACKING);
	argv[n++] = (char *)"iov-worker";
	argv[n++] = (char *)word;
	for (int i = 0; i < 4; i++)
		if ((i != 2 || c->spawn->old->fd >= 0) && (i != 3 || c->buffered >= 0))
			argv[n++] = fds[i];
	for (word += strlen(word) + 1; *word && n < CHILD_MAX_WORDS - 1; word += strlen(word) + 1)
		argv[n++] = (char *)word;
	argv[n] = NULL;
	execv(c->spawn->program, argv);
	return err_sys(e, errno, "%s", c->spawn->program);
}

static void child_say_failed(int control, const struct err *e)
{
	struct keeper_msg msg = {.version = KEEPER_PROTO_VERSION, .type = KEEPER_MSG_FAILED};

	str_copy(msg.text, sizeof(msg.text), e->msg);
	fdio_send(control, &msg, sizeof(msg), NULL, 0);
}

void keeper_child_run(const struct spawn *s)
{
	struct child c = {.spawn = s, .direct = -1, .buffered = -1};
	struct err e = ERR_INIT;
	int control = s->control;

	prctl(PR_SET_NAME, "iov-worker"); /* what it is to everybody from now on */
	setsid();                         /* a terminal's interrupt is for the keeper */
	if (child_open(&c, &e) == 0 && child_lock(&c, &e) == 0 && child_arm(&c, &e) == 0 &&
		child_place_fds(&c, &e) == 0) {
		control = KEEPER_FD_CONTROL;
		child_exec(&c, &e);
	}
	child_say_failed(control, &e);
	_exit(1);
}
