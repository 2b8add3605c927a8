/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <config.h>

#include "daemon/notify.h"

#ifdef HAVE_LIBSYSTEMD

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/log.h"

void notify_state(const char *state)
{
	int rc = sd_notify(0, state);

	if (rc < 0)
		log_debug("ctl", "the service manager was not told %s: errno %d", state, -rc);
}

/* Sockets are passed to one process, by its pid: the keeper's are ours as well. */
static void notify_inherit(void)
{
	const char *text = getenv("LISTEN_PID");
	char own[16];
	uint64_t pid;

	if (!text || parse_u64(text, INT_MAX, &pid) < 0 || (pid_t)pid != getppid())
		return;
	snprintf(own, sizeof(own), "%d", (int)getpid());
	setenv("LISTEN_PID", own, 1);
}

int notify_listen_fd(bool has_keeper, struct err *e)
{
	int count;

	if (has_keeper)
		notify_inherit();
	count = sd_listen_fds(1);

	if (count == 0)
		return -1;
	if (count < 0) {
		err_sys(e, -count, "take the socket from the service manager");
		return -2;
	}
	if (count > 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0) {
		err_set(e, ERR_FAILED, "ACTIVATION",
			"the service manager passed %d descriptors, not one listening UNIX stream "
			"socket",
			count);
		return -2;
	}
	return SD_LISTEN_FDS_START;
}

#else

void notify_state(const char *state)
{
	(void)state;
}

int notify_listen_fd(bool has_keeper, struct err *e)
{
	(void)has_keeper, (void)e;
	return -1;
}

#endif
