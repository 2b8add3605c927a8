/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/become.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

int become_as(struct become *b, const char *user, struct err *e)
{
	if (!user || !*user || strlen(user) >= sizeof(b->user) || !getpwnam(user))
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %s", user ? user : "");
	if (b->user[0] && strcmp(b->user, user) != 0) {
		err_set(e, ERR_REFUSED, "OWNER", "it cannot run as %s and as %s", b->user, user);
		return err_fix(e, "give all its devices the same --owner");
	}
	str_copy(b->user, sizeof(b->user), user);
	return 0;
}

int become_add_fds(struct become *b, const int *fds, unsigned int count, struct err *e)
{
	for (unsigned int i = 0; i < count; i++) {
		int fd = fds[i];

		if (b->fd_count < BECOME_MAX_FDS)
			b->fds[b->fd_count++] = fd;
		else
			close_fd(&fd);
	}
	return b->fd_count < BECOME_MAX_FDS
		       ? 0
		       : err_set(e, ERR_FAILED, "FDS", "too many descriptors for one VMM");
}

void become_release(struct become *b)
{
	while (b->fd_count)
		close_fd(&b->fds[--b->fd_count]);
}

/* --- descriptors ------------------------------------------------------------------------------ */

/* First out of each other's way, then to their places: one may sit where another belongs. */
static int place_fds(struct become *b, struct err *e)
{
	int end = BECOME_FIRST_FD + (int)b->fd_count;

	for (unsigned int i = 0; i < b->fd_count; i++) {
		int away = fcntl(b->fds[i], F_DUPFD_CLOEXEC, end);

		if (away < 0)
			return err_sys(e, errno, "place a descriptor");
		close_fd(&b->fds[i]);
		b->fds[i] = away;
	}
	for (unsigned int i = 0; i < b->fd_count; i++)
		if (dup2(b->fds[i], BECOME_FIRST_FD + (int)i) < 0)
			return err_sys(e, errno, "place a descriptor");
	return close_range((unsigned int)end, ~0u, 0) < 0 ? err_sys(e, errno, "close the others")
							  : 0;
}

/* --- privileges ------------------------------------------------------------------------------- */

static int limit_locked(const struct become *b, struct err *e)
{
	const rlim_t bytes = b->locked_bytes == UINT64_MAX ? RLIM_INFINITY : b->locked_bytes;
	const struct rlimit limit = {bytes, bytes};

	if (!b->locked_bytes || setrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		return 0;
	err_sys(e, errno, "let it lock %llu bytes of memory", (unsigned long long)b->locked_bytes);
	return err_fix(e, "run iovctl as root");
}

static int drop_bounding(struct err *e)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(e, errno, "drop capability %lu", cap);
	return 0;
}

static int drop_capabilities(struct err *e)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
		syscall(SYS_capset, &header, none) < 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "drop all capabilities");
	return 0;
}

static int change_user(const char *user, struct err *e)
{
	const struct passwd *pw = getpwnam(user);

	if (!pw)
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %s", user);
	if (geteuid() == pw->pw_uid && geteuid() != 0)
		return 0;
	if (geteuid() != 0) {
		err_set(e, ERR_NOT_PERMITTED, "PERMISSION", "you cannot start it as %s", user);
		return err_fix(e, "run iovctl as root");
	}
	if (drop_bounding(e) < 0)
		return -1;
	if (initgroups(user, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
		setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return err_sys(e, errno, "become %s", user);
	if (setenv("HOME", pw->pw_dir, 1) < 0 || setenv("USER", user, 1) < 0 ||
		setenv("LOGNAME", user, 1) < 0)
		return err_sys(e, errno, "set its environment");
	return 0;
}

int become_do(struct become *b, struct err *e)
{
	if (!b->user[0]) {
		err_set(e, ERR_USAGE, "USAGE", "nobody says who it is to run as");
		return err_fix(e, "name the devices in the command, or a user with --user");
	}
	if (limit_locked(b, e) < 0 || change_user(b->user, e) < 0 || drop_capabilities(e) < 0)
		return -1;
	return place_fds(b, e);
}
