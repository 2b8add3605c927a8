/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bridge: standard input and output as the daemon's socket, for who reaches this host by ssh only.
 *
 * Two pipes side by side, each with a buffer of its own, so that neither waits for the other. The end
 * of standard input is passed on as half a close, since answers may still come; the daemon's end, or
 * that of whoever reads, is the end of the bridge.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "lib/cleanup.h"

struct lane {
	const char *from_name, *to_name;
	int from, to;
	size_t begin, end;
	bool ended; /* nothing more will come in */
	char data[65536];
};

static bool lane_is_empty(const struct lane *lane)
{
	return lane->begin == lane->end;
}

static int lane_read(struct lane *lane, struct err *e)
{
	ssize_t n = read(lane->from, lane->data, sizeof(lane->data));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return err_sys(e, errno, "read from %s", lane->from_name);
	lane->ended = n == 0;
	lane->begin = 0;
	lane->end = (size_t)n;
	return 0;
}

static int lane_write(struct lane *lane, struct err *e)
{
	ssize_t n = write(lane->to, lane->data + lane->begin, lane->end - lane->begin);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return err_sys(e, errno, "write to %s", lane->to_name);
	lane->begin += (size_t)n;
	return 0;
}

/* What the lane waits for now: room, or bytes. */
static void lane_wait(const struct lane *lane, struct pollfd p[2])
{
	p[0] = (struct pollfd){.fd = -1};
	p[1] = (struct pollfd){.fd = -1};
	if (!lane_is_empty(lane))
		p[1] = (struct pollfd){.fd = lane->to, .events = POLLOUT};
	else if (!lane->ended)
		p[0] = (struct pollfd){.fd = lane->from, .events = POLLIN};
}

static int lane_step(struct lane *lane, const struct pollfd p[2], struct err *e)
{
	if (p[1].fd >= 0 && p[1].revents)
		return lane_write(lane, e);
	return p[0].fd >= 0 && p[0].revents ? lane_read(lane, e) : 0;
}

static int bridge(int sock, struct err *e)
{
	static struct lane there = {"standard input", "the daemon", STDIN_FILENO},
			   back = {"the daemon", "standard output", -1, STDOUT_FILENO};
	bool told = false;

	there.to = back.from = sock;
	while (!back.ended || !lane_is_empty(&back)) {
		struct pollfd p[4];

		lane_wait(&there, p);
		lane_wait(&back, p + 2);
		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			return err_sys(e, errno, "wait");
		if (lane_step(&there, p, e) < 0 || lane_step(&back, p + 2, e) < 0)
			return -1;
		if (there.ended && lane_is_empty(&there) && !told) {
			shutdown(sock, SHUT_WR);
			told = true;
		}
	}
	return 0;
}

static int bridge_run(
	struct cli *cli, const struct cmd *cmd, const struct cmd_args *args, struct err *e)
{
	auto_close int sock = client_dial(cli->socket, e);

	(void)cmd, (void)args;
	signal(SIGPIPE, SIG_IGN); /* an end that is gone is an error like any other */
	return sock < 0 ? -1 : bridge(sock, e);
}

extern const struct cmd cmd_bridge;
const struct cmd cmd_bridge = {
	.name = "bridge",
	.summary = "Joins standard input and output to the daemon's socket.",
	.run = bridge_run,
};
