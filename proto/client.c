/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proto/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"

#define CLIENT_READ_SIZE ((size_t)256 << 10)

struct client {
	int sock;
	struct buf in;
	struct varlink_framer framer;
	struct fdio_msg got; /* the descriptors of the latest reply */
	size_t taken;        /* bytes of `in` that the last reply still uses */
	char path[108];
};

static int client_unreachable(struct err *e, int sys, const char *path)
{
	if (sys == EACCES || sys == EPERM) {
		err_set(e, ERR_NOT_PERMITTED, "PERMISSION", "you may not talk to the daemon at %s",
			path);
		return err_fix(e, "use root, or a member of the group that owns the socket");
	}
	err_set(e, ERR_UNREACHABLE, "NO-DAEMON", "no daemon answers at %s", path);
	err_evidence(e, "connect %s: %s", path, strerror(sys));
	return err_fix(e, "start iovd, or name its socket with -s");
}

int client_dial(const char *path, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_close int sock = -1;

	if (!str_copy(addr.sun_path, sizeof(addr.sun_path), path))
		return err_set(e, ERR_USAGE, "SOCKET-PATH",
			"the socket path %s is longer than %zu bytes", path,
			sizeof(addr.sun_path) - 1);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return err_sys(e, errno, "make a socket");
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return client_unreachable(e, errno, path);
	return steal_fd(&sock);
}

struct client *client_connect(const char *path, struct err *e)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a connection");
		return NULL;
	}
	buf_init(&c->in, JSON_MAX_OUT);
	str_copy(c->path, sizeof(c->path), path);
	c->sock = client_dial(path, e);
	if (c->sock >= 0)
		return c;
	client_close(c);
	return NULL;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	close_fd(&c->sock);
	fdio_msg_close(&c->got);
	buf_release(&c->in);
	free(c);
}

int client_fd(const struct client *c)
{
	return c->sock;
}

static int client_send(struct client *c, const char *text, size_t len, struct err *e)
{
	int rc = fdio_send(c->sock, text, len, NULL, 0);

	if (rc == -EPIPE || rc == -ECONNRESET)
		return 0; /* a refusal, with its reason, may wait to be read */
	return rc < 0 ? err_sys(e, -rc, "send a call to the daemon") : 0;
}

int client_call(
	struct client *c, const char *method, const char *parameters, bool more, struct err *e)
{
	struct json_out o;
	auto_free char *text = NULL;
	size_t len;

	fdio_msg_close(&c->got);
	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "method", method);
	if (parameters)
		json_out_raw(&o, "parameters", parameters, strlen(parameters));
	if (more)
		json_out_bool(&o, "more", true);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a call");
	return client_send(c, text, len + 1, e); /* its NUL ends the message */
}

/* More bytes. 0, or -1. */
static int client_fill(struct client *c, struct err *e)
{
	char *room = buf_reserve(&c->in, CLIENT_READ_SIZE);
	struct fdio_msg msg;

	if (!room)
		return err_set(e, ERR_FAILED, "TOO-LONG", "the daemon's answer does not end");
	if (fdio_recv(c->sock, room, CLIENT_READ_SIZE, 0, &msg) < 0 || msg.len <= 0) {
		err_set(e, ERR_UNREACHABLE, "DAEMON-GONE",
			"the daemon at %s has closed the connection", c->path);
		return err_fix(e, "see whether it still runs, and ask again");
	}
	buf_commit(&c->in, (size_t)msg.len);
	if (msg.fd_count) {
		fdio_msg_close(&c->got);
		c->got = msg;
	}
	return 0;
}

unsigned int client_take_fds(struct client *c, int fds[FDIO_MAX_FDS])
{
	unsigned int count = c->got.fd_count;

	memcpy(fds, c->got.fds, count * sizeof(*fds));
	c->got.fd_count = 0;
	return count;
}

int client_next(struct client *c, struct varlink_reply *reply, struct err *e)
{
	ssize_t len;

	buf_consume(&c->in, c->taken);
	c->taken = 0;
	while ((len = varlink_next(&c->framer, &c->in, JSON_MAX_OUT)) == -EAGAIN)
		if (client_fill(c, e) < 0)
			return -1;
	if (len < 0)
		return err_set(e, ERR_FAILED, "TOO-LONG", "the daemon's answer is too long");
	c->taken = (size_t)len + 1;
	return varlink_parse_reply(c->in.data, (size_t)len, reply, e);
}
