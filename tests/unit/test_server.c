/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/server with small limits and real sockets: what a client that misbehaves gets, and what
 * its neighbour does not notice. Server and clients share one thread: step() lets the server work
 * until it has nothing to do.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/jobs.h"
#include "daemon/loop.h"
#include "daemon/server.h"
#include "lib/cleanup.h"
#include "tests/unit/unit.h"

#define STALL_MS   200
#define EVENT_SIZE 1024

static const struct server_limits impatient = {
	.max_clients = 4,
	.root_clients = 0,
	.max_queued = (size_t)256 << 10,
	.pause_queued = (size_t)16 << 10,
	.stall_ms = STALL_MS,
};

/* For tests that are not about time. */
static const struct server_limits patient = {
	.max_clients = 4,
	.root_clients = 0,
	.max_queued = (size_t)256 << 10,
	.pause_queued = (size_t)16 << 10,
	.stall_ms = 600000,
};

struct scene {
	struct daemon daemon;
	struct watch *timer;
	char dir[64], path[96];
};

static void scene_begin(struct scene *s, const struct server_limits *limits)
{
	struct err e = ERR_INIT;
	int fd;

	*s = (struct scene){.timer = NULL};
	unit_path(s->dir, sizeof(s->dir), "server");
	ck_assert_ptr_nonnull(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/sock", s->dir);
	s->daemon.loop = loop_new(&e);
	s->daemon.events = events_new(&e);
	s->daemon.jobs = jobs_new(s->daemon.loop, s->daemon.events, &e);
	fd = server_listen(s->path, NULL, &e);
	ck_assert_msg(fd >= 0, "%s", e.msg);
	s->daemon.server = server_new(&s->daemon, fd, NULL, limits, &e);
	ck_assert_ptr_nonnull(s->daemon.server);
}

static void scene_end(struct scene *s)
{
	s->daemon.loop->ops->remove(s->timer);
	server_free(s->daemon.server);
	jobs_free(s->daemon.jobs);
	events_free(s->daemon.events);
	loop_free(s->daemon.loop);
	unlink(s->path);
	rmdir(s->dir);
}

static void stop_loop(void *arg, unsigned int events)
{
	(void)events;
	loop_stop(arg);
}

/* The server works for this long. */
static void run_for(struct scene *s, uint64_t ms)
{
	struct err e = ERR_INIT;

	if (s->timer)
		s->daemon.loop->ops->set_timer(s->timer, ms);
	else
		s->timer = s->daemon.loop->ops->add_timer(
			s->daemon.loop, ms, stop_loop, s->daemon.loop, &e);
	ck_assert_int_eq(loop_run(s->daemon.loop, &e), 0);
}

/* Lets the server work until the condition holds; fails when it takes too long. */
#define RUN_UNTIL(s, condition)                                                                    \
	do {                                                                                       \
		uint64_t end_ = now_ms() + 20000;                                                  \
		while (!(condition)) {                                                             \
			ck_assert_msg(now_ms() < end_, "never: %s", #condition);                   \
			run_for((s), 1);                                                           \
		}                                                                                  \
	} while (0)

static int dial(struct scene *s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	str_copy(addr.sun_path, sizeof(addr.sun_path), s->path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void ask(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text) + 1, MSG_NOSIGNAL), (int)strlen(text) + 1);
}

/* Bytes that are there now: their number, 0 at the end, -1 when there are none. */
static ssize_t take(int fd, char *text, size_t size)
{
	ssize_t n = recv(fd, text, size - 1, 0);

	text[MAX(n, 0)] = '\0';
	return n < 0 && errno == ECONNRESET ? 0 : n;
}

/* All that is there now: its length; *ended when the server has ended it. */
static size_t drain(int fd, bool *ended)
{
	size_t total = 0;
	char text[65536];
	ssize_t n;

	while ((n = take(fd, text, sizeof(text))) > 0)
		total += (size_t)n;
	*ended = n == 0;
	return total;
}

static unsigned int clients(const struct scene *s)
{
	return server_client_count(s->daemon.server);
}

#define WATCH "{\"method\":\"org.iovd.Manager.Watch\",\"more\":true}"
#define LIST  "{\"method\":\"org.iovd.Manager.ListJobs\"}"

static void emit(struct scene *s)
{
	char data[EVENT_SIZE];

	memset(data, 'x', sizeof(data));
	data[0] = data[sizeof(data) - 1] = '"';
	events_emit(s->daemon.events, "changed", "device", "sda", data, sizeof(data));
}

/* Of two watchers one does not read: it is dropped, the other one misses nothing. */
START_TEST(slow_watcher_is_dropped_alone)
{
	const size_t events = 1000;
	size_t seen = 0, dropped_at = 0;
	int fast, slow;
	struct scene s;
	bool ended;

	scene_begin(&s, &patient);
	fast = dial(&s);
	slow = dial(&s);
	ask(fast, WATCH);
	ask(slow, WATCH);
	RUN_UNTIL(&s, clients(&s) == 2);
	RUN_UNTIL(&s, drain(fast, &ended) > 0);
	for (size_t i = 1; i <= events; i++) {
		emit(&s);
		RUN_UNTIL(&s, (seen += drain(fast, &ended)) >= i * EVENT_SIZE);
		ck_assert(!ended);
		if (!dropped_at && clients(&s) == 1)
			dropped_at = i;
	}
	/* It may leave in the server what max_queued says, and in its socket what that holds. */
	ck_assert_uint_gt(dropped_at * EVENT_SIZE * 2, patient.max_queued);
	ck_assert_uint_lt(dropped_at, events);
	drain(slow, &ended);
	ck_assert(ended);
	close(fast);
	close(slow);
	scene_end(&s);
}
END_TEST

/* A watcher that does not read is dropped after stall_ms, even if little waits for it. */
START_TEST(stalled_watcher_is_dropped)
{
	struct scene s;
	bool ended;
	int fd;

	scene_begin(&s, &impatient);
	fd = dial(&s);
	ask(fd, WATCH);
	RUN_UNTIL(&s, clients(&s) == 1);
	for (unsigned int i = 0; i < 150; i++) { /* less than max_queued in all */
		emit(&s);
		run_for(&s, 1);
	}
	RUN_UNTIL(&s, clients(&s) == 0);
	drain(fd, &ended);
	ck_assert(ended);
	close(fd);
	scene_end(&s);
}
END_TEST

/* Half a call has until stall_ms, however often a byte is added. */
START_TEST(half_a_call_is_not_waited_for)
{
	uint64_t begin = now_ms();
	struct scene s;
	int fd;

	scene_begin(&s, &impatient);
	fd = dial(&s);
	ck_assert_int_eq(send(fd, "{", 1, MSG_NOSIGNAL), 1);
	RUN_UNTIL(&s, clients(&s) == 1);
	do {
		if (send(fd, " ", 1, MSG_NOSIGNAL) < 0)
			break;
		run_for(&s, 10);
	} while (clients(&s) == 1 && now_ms() - begin < 10000);
	ck_assert_uint_eq(clients(&s), 0);
	ck_assert_uint_ge(now_ms() - begin, STALL_MS);
	close(fd);
	scene_end(&s);
}
END_TEST

/* Who has asked nothing, or waits for events that do not come, may wait for ever. */
START_TEST(quiet_clients_stay)
{
	struct scene s;
	int idle, watcher;

	scene_begin(&s, &impatient);
	idle = dial(&s);
	watcher = dial(&s);
	ask(watcher, WATCH);
	RUN_UNTIL(&s, clients(&s) == 2);
	run_for(&s, 3 * STALL_MS);
	ck_assert_uint_eq(clients(&s), 2);
	close(idle);
	close(watcher);
	RUN_UNTIL(&s, clients(&s) == 0);
	scene_end(&s);
}
END_TEST

/* Exactly max_clients are served; the next one hears why not. */
START_TEST(client_limit_is_exact)
{
	int fds[5];
	char text[1024] = "";
	struct scene s;

	scene_begin(&s, &patient);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial(&s);
		ask(fds[i], LIST);
	}
	RUN_UNTIL(&s, take(fds[4], text, sizeof(text)) > 0);
	ck_assert_ptr_nonnull(strstr(text, "org.iovd.Busy"));
	RUN_UNTIL(&s, take(fds[4], text, sizeof(text)) == 0);
	for (unsigned int i = 0; i < 4; i++) {
		RUN_UNTIL(&s, take(fds[i], text, sizeof(text)) > 0);
		ck_assert_ptr_nonnull(strstr(text, "iovd.jobs/1"));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	RUN_UNTIL(&s, clients(&s) == 0);
	scene_end(&s);
}
END_TEST

/* A call behind a stream waits, and is dropped with it: no reply may come between events. */
START_TEST(calls_behind_a_stream_wait)
{
	char text[4096];
	struct scene s;
	ssize_t n;
	int fd;

	scene_begin(&s, &patient);
	fd = dial(&s);
	ask(fd, WATCH);
	ask(fd, LIST);
	RUN_UNTIL(&s, take(fd, text, sizeof(text)) > 0);
	run_for(&s, 20);
	n = take(fd, text, sizeof(text));
	ck_assert_int_eq(n, -1);
	close(fd);
	RUN_UNTIL(&s, clients(&s) == 0);
	scene_end(&s);
}
END_TEST

/* A call that wants no answer lets the next one begin. */
START_TEST(oneway_call_is_passed)
{
	char text[4096];
	struct scene s;
	int fd;

	scene_begin(&s, &patient);
	fd = dial(&s);
	ask(fd, "{\"method\":\"org.iovd.Manager.Nothing\",\"oneway\":true}");
	ask(fd, LIST);
	RUN_UNTIL(&s, take(fd, text, sizeof(text)) > 0);
	ck_assert_ptr_nonnull(strstr(text, "iovd.jobs/1"));
	close(fd);
	scene_end(&s);
}
END_TEST

/* A path of 107 bytes fits into a socket's address, one of 108 does not. */
START_TEST(socket_path_length_is_exact)
{
	char dir[64], path[160];

	unit_path(dir, sizeof(dir), "server");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (int len = 107; len <= 108; len++) {
		struct err e = ERR_INIT;
		int fd;

		snprintf(path, sizeof(path), "%s/%0*d", dir, len - (int)strlen(dir) - 1, 0);
		fd = server_listen(path, NULL, &e);
		ck_assert_int_eq(fd >= 0, len == 107);
		if (fd < 0)
			ck_assert_str_eq(e.code, "SOCKET-PATH");
		close_fd(&fd);
		unlink(path);
	}
	rmdir(dir);
}
END_TEST

UNIT_MAIN(slow_watcher_is_dropped_alone, stalled_watcher_is_dropped, half_a_call_is_not_waited_for,
	quiet_clients_stay, client_limit_is_exact, calls_behind_a_stream_wait,
	oneway_call_is_passed, socket_path_length_is_exact)
