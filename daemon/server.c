/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A client is two byte queues around at most one request. Everything happens in client_ready(),
 * which the loop calls when the socket can be read or written:
 *
 *	read -> `in` -> next message -> dispatch -> [request] -> sink -> `out` -> write
 *
 * The sink only ever appends to `out` and asks for the socket to become writable, whether the
 * request ends inside the dispatcher or much later: so there is no recursion, replies leave in the
 * order of the calls, and a client is only ever freed from the loop, never below a handler.
 *
 * What a client can cost: `in` holds one message of the size its role may send; while a request
 * runs or more than pause_queued bytes wait to be read, no new call is begun (so who
 * pipelines without reading only stops itself); a single reply may be large; a stream that would
 * leave more than max_queued unread, half a message that does not get finished, and a reply
 * that does not get read end the connection. Nobody else waits for any of that.
 *
 * Descriptors go with a reply, at the first of its bytes; no new call is begun before they have left.
 * Until then they are the client's, and closed with it.
 *
 * The end of input is not the end of the client: `printf ... | nc -N` shuts its side down and waits
 * for answers. It has gone when both directions are closed (POLLHUP), or when writing fails.
 */
#include "daemon/server.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/peer.h"
#include "lib/buf.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/list.h"
#include "lib/log.h"

#define CLIENT_READ_SIZE   ((size_t)64 << 10)
#define ACCEPT_BATCH       64
#define ACCEPT_RETRY_MS    1000
#define CLIENT_KEEP_BUFFER ((size_t)64 << 10) /* a larger one is freed when it is empty */

const struct server_limits server_default_limits = {
	.max_clients = 1024,
	.root_clients = 64,
	.max_queued = (size_t)16 << 20,
	.pause_queued = (size_t)1 << 20,
	.stall_ms = 30000,
};

struct server {
	struct daemon *daemon;
	const struct server_limits *limits;
	int fd;
	struct watch *watch, *retry;
	gid_t group; /* who may read; PEER_NO_GROUP: nobody but root */
	struct list_node clients;
	unsigned int client_count;
};

enum stall {
	STALL_NONE,
	STALL_IN,  /* half a message */
	STALL_OUT, /* something to read */
};

struct client {
	struct list_node node;
	struct server *server;
	int fd;
	struct watch *watch;
	struct watch *stall_timer;
	struct watch *soon; /* a step from the loop, without the socket's asking */
	struct request_peer peer;
	size_t max_message;
	struct buf in, out;
	int fds[FDIO_MAX_FDS]; /* that leave when all of `out` before fds_at has, with what follows */
	unsigned int fd_count;
	size_t fds_at;
	struct varlink_framer framer;
	struct request *request; /* the one that runs, NULL: none */
	enum stall stall;        /* what stall_timer is for */
	bool input_ended;        /* the peer sends no more */
	bool closing;            /* no more calls: close when `out` is empty */
	bool broken;             /* close now; from the loop only */
};

/* --- the end of a client ---------------------------------------------------------------------- */

static void client_close_fds(struct client *c)
{
	while (c->fd_count)
		close_fd(&c->fds[--c->fd_count]);
}

static void client_free(struct client *c)
{
	const struct watch_ops *ops = c->server->daemon->loop->ops;

	if (c->request)
		request_drop(c->request);
	ops->remove(c->watch);
	ops->remove(c->stall_timer);
	ops->remove(c->soon);
	close_fd(&c->fd);
	client_close_fds(c);
	buf_release(&c->in);
	buf_release(&c->out);
	list_remove(&c->node);
	c->server->client_count--;
	free(c);
}

/* Ends it soon: this may be called from below a handler. */
static void client_break(struct client *c, const char *why)
{
	if (c->broken)
		return;
	log_info("uid %u pid %d: connection ended: %s", (unsigned int)c->peer.uid, (int)c->peer.pid,
		why);
	c->broken = true;
	c->server->daemon->loop->ops->set_timer(c->soon, 0);
}

/* --- the sink: what the dispatcher writes to -------------------------------------------------- */

static void client_update(struct client *c);

/* An event may have to wait for a slow reader, but not without end; a reply always fits. */
static bool client_has_room(const struct client *c, size_t len, bool last)
{
	return last || c->out.len == 0 || c->out.len + len <= c->server->limits->max_queued;
}

static void client_put(struct client *c, const char *text, size_t len)
{
	if (buf_append(&c->out, text, len) < 0 || buf_append(&c->out, "", 1) < 0)
		client_break(c, "no memory for its reply");
}

static void client_send(void *sink, const char *text, size_t len, bool last)
{
	struct client *c = sink;

	if (last)
		c->request = NULL;
	if (c->broken)
		return;
	if (client_has_room(c, len + 1, last))
		client_put(c, text, len);
	else
		client_break(c, "it does not read its events");
	client_update(c);
}

static void client_take_fds(void *sink, const int *fds, unsigned int count)
{
	struct client *c = sink;

	assert(!c->fd_count && count <= FDIO_MAX_FDS);
	memcpy(c->fds, fds, count * sizeof(*fds));
	c->fd_count = count;
	c->fds_at = c->out.len;
}

static void client_done(void *sink)
{
	struct client *c = sink;

	c->request = NULL;
	client_update(c);
	c->server->daemon->loop->ops->set_timer(c->soon, 0); /* calls may wait in `in` */
}

static const struct request_sink client_sink = {
	.send = client_send,
	.take_fds = client_take_fds,
	.done = client_done,
};

/* Says why, for a connection that ends without a request to answer. */
static void client_put_error(struct client *c, const struct err *e)
{
	auto_free char *text = NULL;
	struct json_out o;
	size_t len;

	log_info("uid %u pid %d: %s [%s]", (unsigned int)c->peer.uid, (int)c->peer.pid, e->msg,
		e->code);
	json_out_init(&o);
	varlink_put_error(&o, e, NULL);
	text = json_out_finish(&o, &len);
	if (text)
		client_put(c, text, len);
	c->closing = true;
}

/* --- in and out ------------------------------------------------------------------------------- */

static bool client_peer_is_gone(const struct client *c)
{
	struct pollfd p = {.fd = c->fd};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static void client_read(struct client *c)
{
	size_t size = MIN(CLIENT_READ_SIZE, c->in.limit - c->in.len);
	char *room = size ? buf_reserve(&c->in, size) : NULL;
	ssize_t n;

	if (!room)
		return;
	n = recv(c->fd, room, size, MSG_DONTWAIT);
	if (n > 0) {
		buf_commit(&c->in, (size_t)n);
	} else if (n == 0) {
		c->input_ended = true;
		c->broken |= client_peer_is_gone(c);
	} else if (errno != EAGAIN && errno != EINTR) {
		c->broken = true;
	}
}

/* Bytes sent, or -errno: what is before the descriptors, or they with what follows. */
static ssize_t client_send_some(struct client *c)
{
	bool leave = c->fd_count && c->fds_at == 0;
	size_t len = c->fd_count && !leave ? c->fds_at : c->out.len;
	ssize_t n = fdio_send_some(c->fd, c->out.data, len, c->fds, leave ? c->fd_count : 0);

	if (n > 0 && leave)
		client_close_fds(c);
	else if (n > 0 && c->fd_count)
		c->fds_at -= (size_t)n;
	return n;
}

static void client_write(struct client *c)
{
	ssize_t n;

	if (!c->out.len)
		return;
	n = client_send_some(c);
	if (n < 0) {
		c->broken |= n != -EAGAIN;
		return;
	}
	buf_consume(&c->out, (size_t)n);
	c->stall = STALL_NONE; /* it moves: the time begins anew */
	if (!c->out.len && c->out.capacity > CLIENT_KEEP_BUFFER)
		buf_release(&c->out);
}

static void client_refuse_size(struct client *c)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_USAGE, "MESSAGE-SIZE", "a call of more than %zu bytes", c->max_message);
	client_put_error(c, &e);
}

/* Begins the calls that are complete, one after the other. */
static void client_run(struct client *c)
{
	while (!c->request && !c->closing && !c->broken && !c->fd_count &&
		c->out.len <= c->server->limits->pause_queued) {
		ssize_t len = varlink_next(&c->framer, &c->in, c->max_message);
		int broken;

		if (len == -EMSGSIZE)
			client_refuse_size(c);
		if (len < 0)
			return;
		c->request = dispatch_message(c->server->daemon, &c->peer, &client_sink, c,
			c->in.data, (size_t)len, &broken);
		buf_consume(&c->in, (size_t)len + 1);
		c->stall = STALL_NONE; /* it moves: the time begins anew */
		c->closing = broken < 0;
	}
}

/* --- what to wait for ------------------------------------------------------------------------- */

static enum stall client_stall(const struct client *c)
{
	if (c->out.len)
		return STALL_OUT;
	return c->in.len && !c->request ? STALL_IN : STALL_NONE;
}

static void client_update(struct client *c)
{
	const struct watch_ops *ops = c->server->daemon->loop->ops;
	enum stall stall = client_stall(c);
	unsigned int events = 0;

	if (!c->input_ended && !c->closing && c->in.len < c->in.limit)
		events |= WATCH_READ;
	if (c->out.len)
		events |= WATCH_WRITE;
	ops->set_events(c->watch, events);
	if (stall != c->stall && stall != STALL_NONE && !c->broken)
		ops->set_timer(c->stall_timer, c->server->limits->stall_ms);
	c->stall = stall;
}

/* Nothing is owed to it, and nothing more comes from it. */
static bool client_is_over(const struct client *c)
{
	return c->broken || ((c->closing || c->input_ended) && !c->request && !c->out.len);
}

static void client_step(struct client *c)
{
	client_run(c);
	if (client_is_over(c))
		client_free(c);
	else
		client_update(c);
}

static void client_ready(void *arg, unsigned int events)
{
	struct client *c = arg;

	if (events & WATCH_READ)
		client_read(c);
	if (events & WATCH_WRITE)
		client_write(c);
	client_step(c);
}

static void client_soon(void *arg, unsigned int events)
{
	(void)events;
	client_step(arg);
}

static void client_stalled(void *arg, unsigned int events)
{
	struct client *c = arg;

	(void)events;
	if (c->stall == STALL_IN)
		client_break(c, "it does not finish its call");
	else if (c->stall == STALL_OUT)
		client_break(c, "it does not read its reply");
}

/* --- accepting -------------------------------------------------------------------------------- */

/* 0, or -1 with e set; what was added is client_free()'s to remove. */
static int client_watch(struct client *c, struct err *e)
{
	struct watch_loop *loop = c->server->daemon->loop;

	c->watch = loop->ops->add_fd(loop, c->fd, WATCH_READ, client_ready, c, e);
	c->soon = loop->ops->add_timer(loop, 0, client_soon, c, e);
	c->stall_timer =
		loop->ops->add_timer(loop, c->server->limits->stall_ms, client_stalled, c, e);
	return c->watch && c->soon && c->stall_timer ? 0 : -1;
}

static int client_new(struct server *s, const struct request_peer *peer, int fd, struct err *e)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a client");
	c->server = s;
	c->fd = fd;
	c->peer = *peer;
	c->max_message = peer->role == ROLE_CHANGE ? VARLINK_MAX_MESSAGE : VARLINK_MAX_UNTRUSTED;
	buf_init(&c->in, c->max_message + 1); /* with its NUL */
	buf_init(&c->out, JSON_MAX_OUT + s->limits->max_queued);
	list_append(&s->clients, &c->node);
	s->client_count++;
	if (client_watch(c, e) == 0)
		return 0;
	c->fd = -1; /* still the caller's */
	client_free(c);
	return -1;
}

/* The one message that somebody gets for whom there is no place. */
static void server_turn_away(int fd, const struct err *e)
{
	auto_free char *text = NULL;
	struct json_out o;
	size_t len;

	json_out_init(&o);
	varlink_put_error(&o, e, NULL);
	text = json_out_finish(&o, &len);
	if (text && send(fd, text, len + 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("ctl", "a client that was turned away did not wait for the reason");
}

static int server_check_room(const struct server *s, const struct request_peer *peer, struct err *e)
{
	unsigned int kept = peer->role == ROLE_CHANGE ? 0 : s->limits->root_clients;

	if (s->client_count + kept < s->limits->max_clients)
		return 0;
	err_set(e, ERR_BUSY, "CLIENTS", "too many clients are connected");
	err_evidence(e, "%u connections", s->client_count);
	return err_fix(e, "close connections that are not used, and try again");
}

static void server_take(struct server *s, int accepted)
{
	auto_close int fd = accepted;
	struct request_peer peer;
	struct err e = ERR_INIT;

	if (peer_identify(fd, s->group, &peer, &e) == 0 && server_check_room(s, &peer, &e) == 0 &&
		client_new(s, &peer, fd, &e) == 0) {
		steal_fd(&fd);
		return;
	}
	log_warning("a client was turned away: %s [%s]", e.msg, e.code);
	server_turn_away(fd, &e);
}

/* No descriptors: without a pause the loop would spin on a socket that stays readable. */
static void server_pause(struct server *s, int error)
{
	const struct watch_ops *ops = s->daemon->loop->ops;

	log_warning("clients cannot be accepted: %s", strerror(error));
	ops->set_events(s->watch, 0);
	ops->set_timer(s->retry, ACCEPT_RETRY_MS);
}

static void server_retry(void *arg, unsigned int events)
{
	struct server *s = arg;

	(void)events;
	s->daemon->loop->ops->set_events(s->watch, WATCH_READ);
}

static void server_accept(void *arg, unsigned int events)
{
	struct server *s = arg;

	(void)events;
	for (unsigned int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			server_take(s, fd);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			server_pause(s, errno);
		return;
	}
}

/* --- the server ------------------------------------------------------------------------------- */

/* A service manager passes a blocking socket, on which the last accept() would wait for ever. */
static int server_unblock(const struct server *s, struct err *e)
{
	int rc = fdio_set_nonblock(s->fd, true);

	return rc < 0 ? err_sys(e, -rc, "prepare the control socket") : 0;
}

struct server *server_new(struct daemon *d, int listen_fd, const char *group,
	const struct server_limits *limits, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s) {
		close_fd(&listen_fd);
		err_set(e, ERR_FAILED, "MEMORY", "no memory for the control socket");
		return NULL;
	}
	s->daemon = d;
	s->limits = limits;
	s->fd = listen_fd;
	s->group = peer_group(group);
	list_init(&s->clients);
	s->retry = d->loop->ops->add_timer(d->loop, 0, server_retry, s, e);
	s->watch = d->loop->ops->add_fd(d->loop, s->fd, WATCH_READ, server_accept, s, e);
	if (s->watch && s->retry && server_unblock(s, e) == 0)
		return s;
	server_free(s);
	return NULL;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	s->daemon->loop->ops->remove(s->watch);
	s->daemon->loop->ops->remove(s->retry);
	list_for_each_safe (node, &s->clients)
		client_free(list_entry(node, struct client, node));
	close_fd(&s->fd);
	free(s);
}

unsigned int server_client_count(const struct server *s)
{
	return s->client_count;
}
