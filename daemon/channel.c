/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/channel.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "proto/client.h"
#include "proto/varlink.h"

#define CHANNEL_READ ((size_t)64 << 10)

struct channel {
	struct watch_loop *loop;
	char uri[CHANNEL_URI_MAX];
	int sock;
	pid_t pid; /* of the program, or 0 */
	struct buf in, out;
	struct varlink_framer framer;
	struct watch *watch, *deadline;
	channel_done_fn *done; /* of the call that waits, or NULL */
	void *arg;
};

/* --- where it is ------------------------------------------------------------------------------ */

struct place {
	const char *path;           /* of a socket; NULL: by ssh */
	char host[CHANNEL_URI_MAX]; /* with USER@, if there is one */
	char port[8];               /* or "" */
};

static int refuse_uri(const char *uri, struct err *e)
{
	err_set(e, ERR_USAGE, "URI", "%.200s says not where another iovd is", uri);
	return err_fix(e, "qemu+ssh://HOST/system, ssh://HOST, or unix:///PATH/iovd.sock");
}

/* Nothing that ssh, or a shell on the way, could take for anything but a host. */
static bool is_host(const char *text, const char *marks)
{
	if (!isalnum((unsigned char)*text) && *text != ':')
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(marks, *text))
			return false;
	return true;
}

/* An IPv6 address is in brackets, as [USER@]"["ADDRESS"]", which ssh does not want. */
static bool is_host_or_address(char *text)
{
	char *open = strchr(text, '['), *end = text + strlen(text) - 1;

	if (!open)
		return is_host(text, "._-@");
	if (*end != ']' || (open > text && open[-1] != '@'))
		return false;
	*end = '\0';
	memmove(open, open + 1, (size_t)(end - open));
	return is_host(open, ".:") && is_host(text, "._-@:");
}

static bool read_host(const char *at, struct place *p)
{
	size_t len = strcspn(at, "/?#");
	char *colon;
	uint64_t port;

	if (len >= sizeof(p->host))
		return false;
	memcpy(p->host, at, len);
	p->host[len] = '\0';
	colon = strrchr(p->host, ':');
	if (colon && !strchr(colon, ']')) {
		if (parse_u64(colon + 1, 65535, &port) < 0)
			return false;
		snprintf(p->port, sizeof(p->port), "%u", (unsigned int)port);
		*colon = '\0';
	}
	return is_host_or_address(p->host);
}

static int read_uri(const char *uri, struct place *p, struct err *e)
{
	static const char *const by_ssh[] = {"qemu+ssh://", "ssh://"};
	static const char by_socket[] = "unix://";

	*p = (struct place){0};
	if (strlen(uri) >= CHANNEL_URI_MAX)
		return refuse_uri(uri, e);
	if (strncmp(uri, by_socket, strlen(by_socket)) == 0) {
		p->path = uri + strlen(by_socket);
		return p->path[0] == '/' ? 0 : refuse_uri(uri, e);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(by_ssh); i++)
		if (strncmp(uri, by_ssh[i], strlen(by_ssh[i])) == 0)
			return read_host(uri + strlen(by_ssh[i]), p) ? 0 : refuse_uri(uri, e);
	return refuse_uri(uri, e);
}

int channel_check_uri(const char *uri, struct err *e)
{
	struct place p;

	return read_uri(uri, &p, e);
}

/* --- getting there ---------------------------------------------------------------------------- */

/* Its standard error is ours: what ssh complains of belongs into the log. */
static pid_t start_program(char *const argv[], int sock, struct err *e)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	extern char **environ;
	sigset_t none;
	pid_t pid;
	int rc;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	rc = posix_spawn_file_actions_adddup2(&actions, sock, STDIN_FILENO);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(&actions, sock, STDOUT_FILENO);
	if (rc == 0)
		rc = posix_spawnp(&pid, argv[0], &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (rc == 0)
		return pid;
	err_sys(e, rc, "start %s", argv[0]);
	e->kind = ERR_UNREACHABLE;
	return -1;
}

static int go_by_ssh(struct channel *c, const struct place *p, const char *ssh, struct err *e)
{
	char *argv[] = {(char *)ssh, (char *)"-o", (char *)"BatchMode=yes", (char *)"-p",
		(char *)(p->port[0] ? p->port : "22"), (char *)"--", (char *)p->host,
		(char *)"iovctl", (char *)"bridge", NULL};
	auto_close int theirs = -1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "make a socket");
	c->sock = pair[0];
	theirs = pair[1];
	if (!p->port[0]) /* as ssh's own configuration has it */
		memmove(&argv[3], &argv[5], sizeof(argv) - 5 * sizeof(argv[0]));
	c->pid = start_program(argv, theirs, e);
	return c->pid < 0 ? -1 : 0;
}

static int go_by_socket(struct channel *c, const struct place *p, struct err *e)
{
	c->sock = client_dial(p->path, e);
	return c->sock < 0 ? -1 : 0;
}

/* --- talking ---------------------------------------------------------------------------------- */

/* The call has ended; the callee may close the channel. */
static void channel_end_call(struct channel *c, const struct json *reply, const struct err *e)
{
	channel_done_fn *done = c->done;

	c->done = NULL;
	c->loop->ops->remove(c->deadline);
	c->deadline = NULL;
	if (done)
		done(c->arg, reply, e);
}

static void channel_break(struct channel *c, const char *why)
{
	struct err e = ERR_INIT;

	c->loop->ops->remove(c->watch);
	c->watch = NULL;
	err_set(&e, ERR_UNREACHABLE, "PEER-GONE", "the iovd at %s does not answer: %s", c->uri,
		why);
	err_fix(&e, "see whether it runs, and whether %s",
		c->pid ? "`ssh HOST iovctl bridge` works by itself" : "its socket is there");
	channel_end_call(c, NULL, &e);
}

static void channel_late(void *arg, unsigned int events)
{
	(void)events;
	channel_break(arg, "no answer in time");
}

static void channel_take(struct channel *c, const char *text, size_t len)
{
	auto_json struct json *parameters = NULL;
	struct varlink_reply reply;
	struct err e = ERR_INIT;

	if (varlink_parse_reply(text, len, &reply, &e) < 0 || reply.continues) {
		channel_break(c, "what it says is no answer");
		return;
	}
	if (reply.error[0]) {
		char job[32];

		varlink_get_error(&reply, &e, job, sizeof(job));
		channel_end_call(c, NULL, &e);
		return;
	}
	parameters = reply.parameters.text
			     ? json_parse(reply.parameters.text, reply.parameters.len, &e)
			     : json_parse("{}", 2, &e);
	if (parameters)
		channel_end_call(c, parameters, NULL);
	else
		channel_break(c, e.msg);
}

/* One message at most: there is one call at a time, and its callee may close the channel. */
static void channel_read(struct channel *c)
{
	char *room = buf_reserve(&c->in, CHANNEL_READ);
	auto_free char *text = NULL;
	struct fdio_msg msg;
	ssize_t len;
	int rc;

	rc = room ? fdio_recv(c->sock, room, CHANNEL_READ, MSG_DONTWAIT, &msg) : -EMSGSIZE;
	if (rc == -EAGAIN)
		return;
	if (rc < 0 || msg.len == 0) {
		channel_break(c, rc < 0 ? strerror(-rc) : "the connection has ended");
		return;
	}
	fdio_msg_close(&msg);
	buf_commit(&c->in, (size_t)msg.len);
	len = varlink_next(&c->framer, &c->in, VARLINK_MAX_MESSAGE);
	if (len == -EAGAIN)
		return;
	text = len < 0 ? NULL : strndup(c->in.data, (size_t)len);
	if (!text || !c->done) {
		channel_break(c, text ? "it speaks unasked" : "its answer is too long");
		return;
	}
	buf_consume(&c->in, (size_t)len + 1);
	channel_take(c, text, strlen(text));
}

static void channel_write(struct channel *c)
{
	ssize_t n = fdio_send_some(c->sock, c->out.data, c->out.len, NULL, 0);

	if (n < 0 && n != -EAGAIN) {
		channel_break(c, strerror((int)-n));
		return;
	}
	if (n > 0)
		buf_consume(&c->out, (size_t)n);
	if (!c->out.len)
		c->loop->ops->set_events(c->watch, WATCH_READ);
}

static void channel_news(void *arg, unsigned int events)
{
	struct channel *c = arg;

	if (events & WATCH_READ)
		channel_read(c);
	else if (events & WATCH_WRITE)
		channel_write(c);
}

int channel_call(struct channel *c, const char *method, struct json_out *parameters,
	uint64_t deadline_ms, channel_done_fn *done, void *arg, struct err *e)
{
	auto_free char *inner = NULL, *text = NULL;
	struct json_out o;
	size_t len;

	assert(!c->done);
	inner = json_out_finish(parameters, &len);
	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_fmt(&o, "method", IOVD_INTERFACE ".%s", method);
	if (inner)
		json_out_raw(&o, "parameters", inner, len);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!inner || !text || buf_append(&c->out, text, len + 1) < 0)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a call");
	if (!c->watch)
		return err_set(
			e, ERR_UNREACHABLE, "PEER-GONE", "the channel to %s is broken", c->uri);
	c->deadline = c->loop->ops->add_timer(c->loop, deadline_ms, channel_late, c, e);
	if (!c->deadline)
		return -1;
	c->done = done;
	c->arg = arg;
	c->loop->ops->set_events(c->watch, WATCH_READ | WATCH_WRITE);
	return 0;
}

/* --- its life --------------------------------------------------------------------------------- */

struct channel *channel_open(
	struct watch_loop *loop, const char *uri, const char *ssh, struct err *e)
{
	struct channel *c;
	struct place place;
	int rc;

	if (read_uri(uri, &place, e) < 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a channel");
		return NULL;
	}
	c->loop = loop;
	c->sock = -1;
	str_copy(c->uri, sizeof(c->uri), uri);
	buf_init(&c->in, VARLINK_MAX_MESSAGE + CHANNEL_READ);
	buf_init(&c->out, VARLINK_MAX_MESSAGE + CHANNEL_READ);
	rc = place.path ? go_by_socket(c, &place, e) : go_by_ssh(c, &place, ssh, e);
	if (rc == 0)
		c->watch = loop->ops->add_fd(loop, c->sock, WATCH_READ, channel_news, c, e);
	if (c->watch)
		return c;
	channel_close(c);
	return NULL;
}

void channel_close(struct channel *c)
{
	if (!c)
		return;
	c->loop->ops->remove(c->watch);
	c->loop->ops->remove(c->deadline);
	close_fd(&c->sock);
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	buf_release(&c->in);
	buf_release(&c->out);
	free(c);
}
