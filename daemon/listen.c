/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making the control socket, so that nobody can reach it a moment too early. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/peer.h"
#include "daemon/server.h"
#include "lib/cleanup.h"

#define LISTEN_BACKLOG 512

/* What is at the path already: removed if it is a socket that nobody serves. */
static int listen_clear(const struct sockaddr_un *addr, struct err *e)
{
	auto_close int probe = -1;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "look at %s", addr->sun_path);
	if (!S_ISSOCK(st.st_mode)) {
		err_set(e, ERR_FAILED, "SOCKET-PATH", "%s is in the way: it is no socket",
			addr->sun_path);
		return err_fix(e, "move it away");
	}
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return err_sys(e, errno, "make a socket");
	if (connect(probe, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
		errno != ECONNREFUSED) {
		err_set(e, ERR_BUSY, "SOCKET-LIVE", "somebody serves %s already", addr->sun_path);
		return err_fix(e, "stop that daemon, or choose another --runtime-dir");
	}
	if (unlink(addr->sun_path) < 0)
		return err_sys(e, errno, "remove the dead socket %s", addr->sun_path);
	return 0;
}

/* Until its mode is widened, the socket is its owner's alone; until listen(), nobody's. */
static int listen_bind(int fd, const struct sockaddr_un *addr, struct err *e)
{
	mode_t was = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)addr, sizeof(*addr));

	umask(was);
	return rc < 0 ? err_sys(e, errno, "bind %s", addr->sun_path) : 0;
}

static int listen_open_to(const char *path, const char *group, struct err *e)
{
	gid_t gid = peer_group(group);

	if (gid == PEER_NO_GROUP)
		return 0;
	if (geteuid() == 0 && chown(path, 0, gid) < 0)
		return err_sys(e, errno, "give %s to the group %s", path, group);
	if (chmod(path, 0660) < 0)
		return err_sys(e, errno, "set the mode of %s", path);
	return 0;
}

int server_listen(const char *path, const char *group, struct err *e)
{
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (fd < 0)
		return err_sys(e, errno, "make a socket");
	if (!str_copy(addr.sun_path, sizeof(addr.sun_path), path)) {
		err_set(e, ERR_USAGE, "SOCKET-PATH", "the socket path %s is longer than %zu bytes",
			path, sizeof(addr.sun_path) - 1);
		return err_fix(e, "choose a shorter --runtime-dir");
	}
	if (listen_clear(&addr, e) < 0 || listen_bind(fd, &addr, e) < 0)
		return -1;
	if (listen_open_to(path, group, e) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
		if (!e->kind)
			err_sys(e, errno, "listen on %s", path);
		unlink(path);
		return -1;
	}
	return steal_fd(&fd);
}
