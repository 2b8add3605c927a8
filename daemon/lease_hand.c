/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lease on a volume, as hands have to do with it: two bytes to lock, and an extended attribute.
 *
 * Theory of operation. Both locks are OFD locks, of one description that the keeper holds for each
 * attachment, far behind all data, where nobody looks for locks but us:
 *
 *	LOCK_LEASE	exclusive: who has it does the I/O
 *	LOCK_CLAIM	exclusive: who has it waits to be the next one (a VM is about to arrive there)
 *
 * They are below KEEPER_LOCK_BASE, on and behind which workers have locks of their own, one byte for
 * each generation (daemon/keeper_proto.h): those say that requests exist, are a worker's, and end with
 * it. A lease must outlive the worker, and must not look like a request; so the bytes are apart.
 * QEMU's own are below 300.
 *
 * A lock says that somebody holds it, and falls when its host dies. What it cannot say is whether the
 * holder had finished: that is in the attribute (lib/migrate/lease.h), which is written only by the
 * one that has LOCK_LEASE, and is on the disk before the lock is let go. It belongs to the inode, as
 * the locks do: the same file under two names, or in two mounts, is one volume. A file system without
 * attributes of users (NFS before 4.2, FUSE mostly, VFAT) or without locks holds no lease, nor does
 * a block device, whose node is each host's own (a reservation would be its lease, which iovd does not
 * take), nor an NBD export.
 *
 *	seen with the lock in hand	take (it was ours)	arrive (it is to become ours)
 *	--------------------------	------------------	-----------------------------
 *	nothing				ours			refused
 *	held by us			ours			ours: we were killed in the middle
 *	held by another			refused: he may have	ours: he died after his VM had stopped
 *					run the VM		(it runs here) and before he could say so
 *	passed by anybody		ours			ours
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "daemon/keeper_proto.h"
#include "daemon/lease.h"
#include "lib/cleanup.h"

#define LOCK_LEASE (KEEPER_LOCK_BASE - 3)
#define LOCK_CLAIM (KEEPER_LOCK_BASE - 2)
#define ATTRIBUTE  "user.iovd.lease"

#define ARRIVE_MS     1000 /* one hand waits so long for the holder to let go */
#define ARRIVE_ASK_MS 5    /* a lock over NFS has no event for it */

const char *const lease_works[] = {
	[LEASE_ACT_LOOK] = "lease-look",
	[LEASE_ACT_SYNC] = "lease-sync",
	[LEASE_ACT_PASS] = "lease-pass",
	[LEASE_ACT_TAKE] = "lease-take",
	[LEASE_ACT_ARRIVE] = "lease-arrive",
};
static_assert(ARRAY_SIZE(lease_works) == LEASE_ACTS, "a work for each");

/* --- locks ------------------------------------------------------------------------------------ */

/* 0, 1 if somebody else has it, or -1. */
static int lock_byte(int fd, int op, short type, int64_t at, struct err *e)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	if (fcntl(fd, op, &lock) == 0)
		return op == F_OFD_GETLK && lock.l_type != F_UNLCK;
	if (errno == EAGAIN || errno == EACCES)
		return 1;
	err_set(e, ERR_REFUSED, "LEASE-NONE", "it can hold no lease");
	return err_evidence(e, "OFD lock: %s", strerror(errno));
}

static int take_byte(int fd, int64_t at, struct err *e)
{
	return lock_byte(fd, F_OFD_SETLK, F_WRLCK, at, e);
}

static int let_go(int fd, int64_t at, struct err *e)
{
	return lock_byte(fd, F_OFD_SETLK, F_UNLCK, at, e);
}

static int is_others(int fd, int64_t at, struct err *e)
{
	return lock_byte(fd, F_OFD_GETLK, F_WRLCK, at, e);
}

/* --- what is written -------------------------------------------------------------------------- */

static int refuse_attribute(int sys, struct err *e)
{
	err_set(e, ERR_REFUSED, "LEASE-NONE", "it can hold no lease");
	return err_evidence(e, "extended attribute %s: %s", ATTRIBUTE, strerror(sys));
}

/* A client of NFS has to ask its server again: what it knows may be from before the lock. */
static int read_lease(int fd, struct lease_seen *seen, struct err *e)
{
	char text[LEASE_TEXT_SIZE];
	struct statx st;
	ssize_t len;

	statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_CTIME, &st);
	len = fgetxattr(fd, ATTRIBUTE, text, sizeof(text));
	seen->is_written = false;
	if (len < 0)
		return errno == ENODATA ? 0 : refuse_attribute(errno, e);
	if (lease_of_text(text, (size_t)len, &seen->lease, e) < 0)
		return -1;
	seen->is_written = true;
	return 0;
}

/* On the disk when this returns. */
static int write_lease(int fd, const struct lease *lease, struct err *e)
{
	char text[LEASE_TEXT_SIZE];

	lease_to_text(lease, text);
	if (fsetxattr(fd, ATTRIBUTE, text, strlen(text), 0) < 0)
		return refuse_attribute(errno, e);
	return fsync(fd) < 0 ? err_sys(e, errno, "sync the lease") : 0;
}

static int look(int fd, struct lease_seen *seen, struct err *e)
{
	int locked = is_others(fd, LOCK_LEASE, e), claimed = is_others(fd, LOCK_CLAIM, e);

	if (locked < 0 || claimed < 0)
		return -1;
	seen->is_locked = locked;
	seen->is_claimed = claimed;
	return read_lease(fd, seen, e);
}

static int say_held(const struct lease_seen *seen, struct err *e)
{
	const struct lease *l = &seen->lease;

	err_set(e, ERR_BUSY, "LEASE-HELD", "another host has the lease, or waits for it");
	if (!seen->is_written)
		return err_evidence(e, "nothing is written there, but its bytes are locked");
	return err_evidence(e, "%s by %s (%s) for %s, epoch %llu", lease_state_names[l->state],
		l->name, l->host, l->vm, (unsigned long long)l->epoch);
}

static bool is_held_by(const struct lease_seen *seen, const char *host)
{
	return seen->is_written && seen->lease.state == LEASE_HELD &&
	       strcmp(seen->lease.host, host) == 0;
}

/* The lock is in hand: the next epoch is ours, or, passed, is anybody's. */
static int write_next(int fd, const char *host, const char *vm, enum lease_state state,
	struct lease_seen *seen, struct err *e)
{
	struct lease *l = &seen->lease;
	char name[65] = "";

	if (seen->is_written && l->state == state && strcmp(l->host, host) == 0)
		return 0; /* said already */
	gethostname(name, sizeof(name) - 1);
	l->epoch = seen->is_written ? l->epoch + 1 : 1;
	l->state = state;
	str_copy(l->host, sizeof(l->host), host);
	str_copy(l->vm, sizeof(l->vm), vm);
	lease_set_name(l, name);
	seen->is_written = true;
	return write_lease(fd, l, e);
}

/* --- with a description that the daemon has ----------------------------------------------------- */

/* "PID:FD": the daemon's own, of which the locks are. */
static int borrow(const char *word, struct err *e)
{
	auto_close int process = -1;
	int pid = 0, number = -1, fd = -1;

	if (sscanf(word, "%d:%d", &pid, &number) == 2)
		process = pidfd_open(pid, 0);
	if (process >= 0)
		fd = pidfd_getfd(process, number, 0);
	return fd < 0 ? err_sys(e, errno, "get the description of %s", word) : fd;
}

int lease_work_look(char **words, void *result, int *out, struct err *e)
{
	auto_close int fd = borrow(words[0], e);

	(void)out;
	return fd < 0 ? -1 : look(fd, result, e);
}

int lease_work_sync(char **words, void *result, int *out, struct err *e)
{
	auto_close int fd = borrow(words[0], e);

	(void)out;
	if (fd < 0)
		return -1;
	return fdatasync(fd) < 0 ? err_sys(e, errno, "sync the disk") : look(fd, result, e);
}

/* What was passed already, or is another's, is passed. */
int lease_work_pass(char **words, void *result, int *out, struct err *e)
{
	auto_close int fd = borrow(words[0], e);
	struct lease_seen *seen = result;
	int rc = fd < 0 ? -1 : take_byte(fd, LOCK_LEASE, e);

	(void)out;
	if (rc < 0)
		return -1;
	if (rc == 1)
		return look(fd, seen, e);
	if (read_lease(fd, seen, e) < 0)
		return -1;
	if (is_held_by(seen, words[1]) &&
		write_next(fd, words[1], words[2], LEASE_PASSED, seen, e) < 0)
		return -1; /* still ours */
	return let_go(fd, LOCK_LEASE, e);
}

static int take_back(int fd, char **words, struct lease_seen *seen, struct err *e)
{
	if (seen->is_written && seen->lease.state == LEASE_HELD && !is_held_by(seen, words[1])) {
		say_held(seen, e);
		let_go(fd, LOCK_LEASE, NULL);
		return -1;
	}
	if (write_next(fd, words[1], words[2], LEASE_HELD, seen, e) < 0)
		return -1;
	seen->is_ours = true;
	return 0;
}

int lease_work_take(char **words, void *result, int *out, struct err *e)
{
	auto_close int fd = borrow(words[0], e);
	struct lease_seen *seen = result;
	int rc = fd < 0 ? -1 : take_byte(fd, LOCK_LEASE, e);

	(void)out;
	if (rc < 0 || read_lease(fd, seen, e) < 0)
		return -1;
	return rc == 1 ? say_held(seen, e) : take_back(fd, words, seen, e);
}

static int arrive(int fd, char **words, struct lease_seen *seen, struct err *e)
{
	if (read_lease(fd, seen, e) < 0)
		return -1;
	if (!seen->is_written || strcmp(seen->lease.vm, words[2]) != 0) {
		err_set(e, ERR_REFUSED, "MIG-NO-BATON", "the lease is no more this VM's");
		let_go(fd, LOCK_LEASE, NULL);
		return -1;
	}
	if (write_next(fd, words[1], words[2], LEASE_HELD, seen, e) < 0)
		return -1;
	seen->is_ours = true;
	return let_go(fd, LOCK_CLAIM, e);
}

int lease_work_arrive(char **words, void *result, int *out, struct err *e)
{
	auto_close int fd = borrow(words[0], e);
	uint64_t end = now_ms() + ARRIVE_MS;
	int rc = -1;

	(void)out;
	while (fd >= 0) {
		rc = take_byte(fd, LOCK_LEASE, e);
		if (rc != 1 || now_ms() >= end)
			break;
		poll(NULL, 0, ARRIVE_ASK_MS);
	}
	if (rc == 0)
		return arrive(fd, words, result, e);
	return rc < 0 ? -1 : look(fd, result, e);
}

/* --- a description of its own ------------------------------------------------------------------- */

static bool can_be_direct(int fd)
{
	auto_close int direct = -1;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	return direct >= 0;
}

/* For the first time: whoever held it is dead, unless somebody waits for what was passed to him. */
static int take_first(int fd, char **words, struct lease_seen *seen, struct err *e)
{
	int rc = take_byte(fd, LOCK_LEASE, e);

	if (rc < 0 || look(fd, seen, e) < 0)
		return -1;
	if (rc == 1)
		return say_held(seen, e);
	if (seen->is_claimed && !is_held_by(seen, words[1])) {
		let_go(fd, LOCK_LEASE, NULL);
		return say_held(seen, e);
	}
	if (write_next(fd, words[1], words[2], LEASE_HELD, seen, e) < 0)
		return -1;
	seen->is_ours = true;
	return 0;
}

/* It is the very volume, and whoever has it lets it go by its lease: then we are the next. */
static int claim(int fd, const char *vm, struct lease_seen *seen, struct err *e)
{
	int rc;

	if (look(fd, seen, e) < 0)
		return -1;
	if (!seen->is_locked || !seen->is_written) {
		err_set(e, ERR_REFUSED, "MIG-NO-BATON", "nobody holds a lease on it");
		return err_evidence(e, "%s, and %s",
			seen->is_written ? "one is written there" : "none is written there",
			seen->is_locked ? "its byte is locked" : "its byte is not locked");
	}
	if (strcmp(seen->lease.vm, vm) != 0) {
		err_set(e, ERR_REFUSED, "MIG-NO-BATON", "the lease on it is another VM's");
		return err_evidence(e, "%s has it for %s", seen->lease.name, seen->lease.vm);
	}
	rc = take_byte(fd, LOCK_CLAIM, e);
	if (rc == 1)
		err_set(e, ERR_REFUSED, "MIG-NO-BATON", "another host waits for it already");
	return rc ? -1 : 0;
}

/* NODE HOST VM own|claim|just. A block device is opened for nothing: its lease would be a reservation. */
int lease_work_open(char **words, void *result, int *out, struct err *e)
{
	auto_close int fd = open(words[0], O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct lease_seen *seen = result;
	int rc = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "open %s", words[0]);
	if (!S_ISREG(st.st_mode)) {
		err_set(e, ERR_REFUSED, "LEASE-NONE", "%s can hold no lease", words[0]);
		return err_evidence(e, "it is no file");
	}
	if (strcmp(words[3], "claim") == 0)
		rc = claim(fd, words[2], seen, e);
	else if (strcmp(words[3], "own") == 0)
		rc = take_first(fd, words, seen, e);
	if (rc < 0)
		return err_wrap(e, "%s", words[0]);
	seen->is_direct = can_be_direct(fd);
	*out = steal_fd(&fd);
	return 0;
}
