/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: writing
 *
 *	1  make .NAME.PID beside NAME		it is not NAME: nobody looks at it
 *	2  write it, fsync it			ENOSPC and EIO are told here, and nothing is lost
 *	3  rename it to NAME			the commit, in the eyes of those who look
 *	4  fsync the directory			the commit, in the eyes of a power cut
 *
 * A kill -9 between 1 and 3 leaves .NAME.PID, which the next writer of that PID takes away. A
 * failure of 4 is told: then either file may be there after a power cut, and both are whole.
 *
 * Only a regular file is replaced: root who writes to /dev/null must not remove it.
 */
#include "lib/migrate/iostate_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"

/* --- writing ---------------------------------------------------------------------------------- */

struct target {
	int dir;
	char name[NAME_MAX + 1], fresh[NAME_MAX + 32];
};

static int no_regular_file(const char *path, struct err *e)
{
	return err_set(e, ERR_REFUSED, IOSTATE_NO_FILE, "%s is no regular file", path);
}

static int open_target(struct target *t, const char *path, struct err *e)
{
	auto_free char *a = strdup(path);
	auto_free char *b = strdup(path);
	const char *name;
	struct stat st;

	if (!a || !b)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a path");
	name = basename(a);
	if (!str_copy(t->name, sizeof(t->name), name))
		return err_sys(e, ENAMETOOLONG, "%s", path);
	snprintf(t->fresh, sizeof(t->fresh), ".%.240s.%d", name, getpid());
	t->dir = open(dirname(b), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir < 0)
		return err_sys(e, errno, "%s", path);
	if (fstatat(t->dir, t->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
		return no_regular_file(path, e);
	return 0;
}

static int write_fresh(const struct target *t, const void *data, size_t len)
{
	auto_close int fd = -1;
	int rc;

	unlinkat(t->dir, t->fresh, 0);
	fd = openat(t->dir, t->fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = fdio_write_all(fd, data, len);
	if (rc < 0)
		return rc;
	return fsync(fd) < 0 ? -errno : 0;
}

int iostate_file_write(const char *path, const void *data, size_t len, struct err *e)
{
	struct target t = {.dir = -1};
	auto_close int dir = -1;
	int rc = open_target(&t, path, e);

	dir = t.dir;
	if (rc < 0)
		return -1;
	rc = write_fresh(&t, data, len);
	if (rc == 0 && renameat(dir, t.fresh, dir, t.name) < 0)
		rc = -errno;
	if (rc < 0) {
		unlinkat(dir, t.fresh, 0);
		return err_sys(e, -rc, "write %s", path);
	}
	return fsync(dir) < 0 ? err_sys(e, errno, "write the directory of %s", path) : 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Nothing but a regular file is opened: others may block, or do something. */
static int open_regular(const char *path, struct err *e)
{
	auto_close int fd = -1;
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return no_regular_file(path, e);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return no_regular_file(path, e); /* it was put there meanwhile */
	return steal_fd(&fd);
}

int iostate_file_load(const char *path, struct buf *bytes, struct err *e)
{
	auto_close int fd = open_regular(path, e);
	char chunk[16384];
	ssize_t n;

	if (fd < 0)
		return -1;
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "read %s", path);
		if (bytes->len + (size_t)n > IOSTATE_MAX_BYTES ||
			buf_append(bytes, chunk, (size_t)n) < 0)
			return err_set(e, ERR_REFUSED, IOSTATE_SIZE,
				"%s: it has more than %zu bytes", path, IOSTATE_MAX_BYTES);
	}
	return 0;
}

struct iostate *iostate_file_read(const char *path, struct err *e)
{
	struct iostate *s = NULL;
	struct buf bytes;

	buf_init(&bytes, IOSTATE_MAX_BYTES);
	if (iostate_file_load(path, &bytes, e) == 0) {
		s = iostate_decode(bytes.data, bytes.len, e);
		if (!s)
			err_wrap(e, "%s", path);
	}
	buf_release(&bytes);
	return s;
}

bool iostate_file_is(const char *path)
{
	auto_close int fd = open_regular(path, NULL);
	char begin[sizeof(iostate_magic)];

	return fd >= 0 && read(fd, begin, sizeof(begin)) == sizeof(begin) &&
	       memcmp(begin, iostate_magic, sizeof(begin)) == 0;
}
