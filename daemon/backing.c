/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/keeper_proto.h"
#include "daemon/nbd_volume.h"
#include "daemon/tap_node.h"
#include "lib/backends/blk_engine.h"
#include "lib/cleanup.h"
#include "lib/device.h"
#include "lib/nbd_uri.h"

/* Where QEMU holds locks on an image that it uses. */
#define QEMU_LOCK_FIRST 100
#define QEMU_LOCK_COUNT 200

#define ASK_MS 20

/* --- checks ----------------------------------------------------------------------------------- */

static int probe_open_file(const char *node, bool readonly, struct err *e)
{
	int fd = open(node, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int sys = errno;

	if (fd >= 0)
		return fd;
	if (readonly || (sys != EACCES && sys != EROFS && sys != EPERM)) {
		err_sys(e, sys, "open %s", node);
		if (sys == ENOENT)
			e->kind = ERR_NOT_FOUND;
		return -1;
	}
	err_set(e, ERR_REFUSED, "DEV-READONLY", "%s cannot be written to", node);
	err_evidence(e, "open %s: %s", node, strerror(sys));
	return err_fix(e, "attach it with --readonly");
}

static int probe_open(const char *node, bool readonly, struct err *e)
{
	return nbd_uri_is(node) ? nbd_volume_open(node, readonly, e)
				: probe_open_file(node, readonly, e);
}

/* What the kernel knows without asking a server, which may never answer. */
static bool look_now(int fd, struct statx *st)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, st) == 0;
}

uint64_t backing_size(int fd)
{
	struct statx st;
	uint64_t bytes;

	if (!look_now(fd, &st))
		return 0;
	if (S_ISREG(st.stx_mode))
		return st.stx_size;
	return S_ISBLK(st.stx_mode) && ioctl(fd, BLKGETSIZE64, &bytes) == 0 ? bytes : 0;
}

bool backing_is(int fd, uint64_t fs, uint64_t inode, uint64_t number)
{
	struct statx st;

	if (!look_now(fd, &st))
		return false;
	if (number)
		return (S_ISBLK(st.stx_mode) || S_ISCHR(st.stx_mode)) &&
		       makedev(st.stx_rdev_major, st.stx_rdev_minor) == number;
	return S_ISREG(st.stx_mode) && makedev(st.stx_dev_major, st.stx_dev_minor) == fs &&
	       st.stx_ino == inode;
}

bool backing_is_dead(int fd)
{
	struct statx st;

	return !look_now(fd, &st);
}

static int probe_facts(const char *node, int fd, struct backing_facts *facts, struct err *e)
{
	struct blk_disk disk;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "%s", node);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		err_set(e, ERR_REFUSED, "DEV-KIND", "%s is no file and no block device", node);
		return err_evidence(e, "its mode is %o", (unsigned int)st.st_mode);
	}
	facts->fs = st.st_dev;
	facts->inode = st.st_ino;
	facts->is_block = S_ISBLK(st.st_mode);
	facts->number = facts->is_block ? st.st_rdev : 0;
	facts->size_bytes = backing_size(fd);
	if (blk_disk_probe(&disk, fd, e) < 0)
		return err_wrap(e, "%s", node);
	facts->block_size = disk.block_size;
	if (facts->size_bytes < 512) {
		err_set(e, ERR_REFUSED, "DEV-EMPTY", "%s has no room for a sector", node);
		err_evidence(e, "%llu bytes", (unsigned long long)facts->size_bytes);
		return err_fix(e, "give it a size first, as by truncate -s 10G");
	}
	return 0;
}

/* Who holds a lock in there? 0: nobody, 1: somebody, -errno. */
static int probe_lock(int fd, int64_t first, int64_t count)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = count};

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type != F_UNLCK;
}

static bool has_requests(int fd)
{
	return probe_lock(fd, KEEPER_LOCK_BASE, 0) != 0;
}

/* Asking may work where taking does not, so one is taken: shared, for a moment, on no byte of use. */
static int probe_can_lock(const char *node, int fd, struct err *e)
{
	struct flock lock = {.l_type = F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = KEEPER_LOCK_BASE - 1,
		.l_len = 1};

	if (fcntl(fd, F_OFD_SETLK, &lock) < 0 && errno != EAGAIN) {
		err_set(e, ERR_REFUSED, "DEV-NO-LOCKS",
			"%s is on a file system without locks, so a dead worker could not be told "
			"from a live one",
			node);
		return err_evidence(e, "F_OFD_SETLK: %s", strerror(errno));
	}
	lock.l_type = F_UNLCK;
	fcntl(fd, F_OFD_SETLK, &lock);
	return 0;
}

static int probe_locks(const char *node, int fd, struct err *e)
{
	if (probe_can_lock(node, fd, e) < 0)
		return -1;
	if (probe_lock(fd, QEMU_LOCK_FIRST, QEMU_LOCK_COUNT) == 1) {
		err_set(e, ERR_REFUSED, "DEV-BUSY", "%s is in use by QEMU", node);
		err_evidence(e, "a lock in bytes %d to %d", QEMU_LOCK_FIRST,
			QEMU_LOCK_FIRST + QEMU_LOCK_COUNT - 1);
		return err_fix(e, "end that QEMU, or take the disk from it");
	}
	return 0;
}

/* What no table shows (a pool of ZFS, a file system of another mount namespace) still has it open. */
static int probe_claim(const char *node, const struct backing_facts *facts, struct err *e)
{
	if (!facts->is_block || !device_is_claimed(node))
		return 0;
	err_set(e, ERR_REFUSED, "HOST-USE", "something on the host has %s for itself", node);
	err_evidence(e, "open(%s, O_EXCL): %s", node, strerror(EBUSY));
	return err_fix(e, "find and stop what uses it (lsblk, fuser -v %s, zpool status)", node);
}

int backing_probe(
	const char *node, bool readonly, struct backing_facts *facts, int *out, struct err *e)
{
	auto_close int fd = probe_open(node, readonly, e);
	char path[32];
	int direct;

	memset(facts, 0, sizeof(*facts));
	if (fd < 0 || probe_facts(node, fd, facts, e) < 0 || probe_locks(node, fd, e) < 0 ||
		probe_claim(node, facts, e) < 0)
		return -1;
	facts->is_locked = probe_lock(fd, KEEPER_LOCK_BASE, 0) == 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	facts->is_direct = direct >= 0;
	close_fd(&direct);
	*out = steal_fd(&fd);
	return 0;
}

/* --- by a hand -------------------------------------------------------------------------------- */

/* The same disk, by a descriptor that can be closed at any time. */
static int without_flush(int fd, struct err *e)
{
	char path[32];
	int bare;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	bare = open(path, O_PATH | O_CLOEXEC);
	return bare < 0 ? err_sys(e, errno, "%s", path) : bare;
}

/* Of a tap there is nothing to check; what comes back is the box with its queues. */
static int open_tap(const char *node, struct backing_facts *facts, int *out, struct err *e)
{
	struct tap_node_facts tap;
	auto_close int fd = tap_node_make(node, &tap, out, e);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	*facts = (struct backing_facts){
		.number = st.st_rdev, .can_uso = tap.can_uso, .mtu = tap.mtu};
	return 0;
}

int backing_work_open(char **words, void *result, int *out, struct err *e)
{
	const struct backing_facts *facts = result;
	auto_close int fd = -1;

	if (tap_node_is(words[0]))
		return open_tap(words[0], result, out, e);
	if (backing_probe(words[0], strcmp(words[1], "ro") == 0, result, &fd, e) < 0)
		return -1;
	*out = facts->is_block ? steal_fd(&fd) : without_flush(fd, e);
	return *out < 0 ? -1 : 0;
}

int backing_work_idle(char **words, void *result, int *out, struct err *e)
{
	auto_close int fd = -1;
	char path[64];

	(void)result, (void)out, (void)e;
	snprintf(path, sizeof(path), "/proc/%s/fd/%s", words[0], words[1]);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	while (fd >= 0 && has_requests(fd))
		poll(NULL, 0, ASK_MS); /* the kernel has no event for it */
	return 0;
}

struct idling {
	backing_idle_fn *done;
	void *arg;
};

static void is_idle(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct idling i = *(struct idling *)arg;
	struct err own = ERR_INIT;

	(void)result, (void)len, (void)fd;
	free(arg);
	if (e)
		err_set(&own, ERR_FAILED, "DEV-WEDGED", "requests to the disk do not end");
	i.done(i.arg, e ? &own : NULL);
}

int backing_wait_idle(struct hands *hands, const char *node, int fd, uint64_t deadline_ms,
	backing_idle_fn *done, void *arg, struct err *e)
{
	char process[16], number[16];
	const char *const words[HAND_WORDS] = {BACKING_WORK_IDLE, process, number, NULL};
	struct idling *i = malloc(sizeof(*i));

	if (!i)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to wait for %s", node);
	*i = (struct idling){.done = done, .arg = arg};
	snprintf(process, sizeof(process), "%d", (int)getpid());
	snprintf(number, sizeof(number), "%d", fd);
	if (hands_do(hands, node, words, deadline_ms, is_idle, i, e) == 0)
		return 0;
	free(i);
	return -1;
}

int backing_work_sync(char **words, void *result, int *out, struct err *e)
{
	auto_close int fd = open(words[0], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	(void)result, (void)out;
	return fd < 0 || fdatasync(fd) < 0 ? err_sys(e, errno, "sync %s", words[0]) : 0;
}

struct waiting {
	backing_done_fn *done;
	void *arg;
};

static void backing_opened(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct waiting *w = arg;
	struct waiting copy = *w;
	struct backing_facts facts;
	struct err own = ERR_INIT;

	free(w);
	if (!e && (len < sizeof(facts) || fd < 0)) {
		err_set(&own, ERR_FAILED, "HAND", "a disk was opened, and did not arrive");
		e = &own;
	}
	if (!e)
		memcpy(&facts, result, sizeof(facts));
	copy.done(copy.arg, e ? NULL : &facts, fd, e);
}

int backing_open(struct hands *hands, const char *node, bool readonly, backing_done_fn *done,
	void *arg, struct err *e)
{
	const char *const words[HAND_WORDS] = {"open", node, readonly ? "ro" : "rw", NULL};
	struct waiting *w = malloc(sizeof(*w));

	if (!w)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to open %s", node);
	*w = (struct waiting){.done = done, .arg = arg};
	if (hands_do(hands, node, words, BACKING_OPEN_MS, backing_opened, w, e) == 0)
		return 0;
	free(w);
	return -1;
}
