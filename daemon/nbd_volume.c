/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/nbd_volume.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/backends/volume.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"

#define END_PATIENCE_MS 2000u /* for what is under way */
#define END_MS          10000

/* Beside this program (a build tree), or where it is installed. */
static void exec_program(int sock, const char *uri, bool readonly)
{
	char path[PATH_MAX], fd[16];
	char *const argv[] = {
		(char *)NBD_PROGRAM, fd, (char *)uri, (char *)(readonly ? "ro" : "rw"), NULL};
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *name;

	snprintf(fd, sizeof(fd), "%d", sock);
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	fcntl(sock, F_SETFD, 0);
	path[MAX(len, 0)] = '\0';
	name = strrchr(path, '/');
	if (name && str_copy(name + 1, (size_t)(path + sizeof(path) - name - 1), NBD_PROGRAM))
		execv(path, argv);
	execv(IOVD_LIBEXECDIR "/" NBD_PROGRAM, argv);
}

static int start_program(const char *uri, bool readonly, struct err *e)
{
	pid_t self = getpid(), pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "a socket for " NBD_PROGRAM);
	pid = fork();
	if (pid == 0) {
		/* until it serves it ends with us, who have a deadline */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		if (getppid() == self)
			exec_program(pair[1], uri, readonly);
		_exit(127);
	}
	close(pair[1]);
	if (pid > 0)
		return pair[0];
	close(pair[0]);
	return err_sys(e, errno, "start " NBD_PROGRAM);
}

int nbd_volume_open(const char *uri, bool readonly, struct err *e)
{
	auto_close int sock = start_program(uri, readonly, e);
	struct nbd_answer answer;
	struct fdio_msg msg;
	char path[32];
	int rc, fd;

	if (sock < 0)
		return -1;
	do {
		rc = fdio_recv(sock, &answer, sizeof(answer), 0, &msg);
	} while (rc == -EINTR);
	if (rc < 0 || msg.len != sizeof(answer)) {
		err_set(e, ERR_FAILED, "NBD-PROGRAM", NBD_PROGRAM " did not start, or died");
		return err_fix(e, "is it installed? this iovd may be built without libnbd");
	}
	if (answer.e.kind != ERR_NONE) {
		fdio_msg_close(&msg);
		*e = answer.e;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", msg.fd_count ? msg.fds[0] : -1);
	fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		err_sys(e, errno, "open the file of %s", uri);
	fdio_msg_close(&msg);
	return fd;
}

/* PATH is a descriptor of the daemon's (/proc/PID/fd/N), so it can be set, but not opened. */
int nbd_work_end(char **words, void *result, int *fd, struct err *e)
{
	struct nbd_end *end = result;
	const uint32_t patience_ms = END_PATIENCE_MS;

	(void)fd, (void)e;
	if (setxattr(words[0], VOLUME_END, &patience_ms, sizeof(patience_ms), 0) == 0)
		return 0;
	end->is_late = true;
	snprintf(end->evidence, sizeof(end->evidence), "%s",
		errno == ECONNABORTED ? "the connection was lost, and with it the answers to writes"
		: errno == ENOTCONN   ? NBD_PROGRAM
			", which spoke with the server, is dead, and what it was told with it"
				    : strerror(errno));
	return 0;
}

/* --- in the daemon ---------------------------------------------------------------------------- */

struct ending {
	nbd_end_fn *done;
	void *arg;
};

static void ended(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct ending w = *(struct ending *)arg;

	(void)len, (void)fd;
	free(arg);
	w.done(w.arg, e ? NULL : result, e);
}

int nbd_volume_end(
	struct hands *hands, const char *uri, int fd, nbd_end_fn *done, void *arg, struct err *e)
{
	struct ending *w = malloc(sizeof(*w));
	char path[48];
	const char *const words[HAND_WORDS] = {NBD_WORK_END, path};

	if (!w)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to end %.200s", uri);
	*w = (struct ending){.done = done, .arg = arg};
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	if (hands_do(hands, uri, words, END_MS, ended, w, e) == 0)
		return 0;
	free(w);
	return -1;
}
