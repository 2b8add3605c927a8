/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. libnbd calls back from the middle of its own work, with its lock held; so a
 * callback only notes how a command ended, and what follows -- the next piece, a flush behind a write
 * that must be durable, done() -- is blk_nbd_settle()'s.
 *
 *	submit -> next_command() -> libnbd -> callback -> ended list -> settle -> next_command() | done()
 *
 * Lost: one connection that breaks takes all with it. The others are shut down, so that each command
 * gets its end from libnbd (ENOTCONN, which no server can send): then it is not known what became of
 * it. A command that was never handed to libnbd ends with the same error, but was not sent.
 *
 * Several connections only if the server says that a flush on one covers what was completed on all
 * (can_multi_conn); then which one takes a request is of no importance.
 */
#include "lib/backends/blk_nbd.h"

#include <errno.h>
#include <libnbd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BLOCK_MIN   512u
#define BLOCK_MAX   4096u /* larger ones no guest is prepared for */
#define PHYSICAL    4096u
#define PIECE_MAX   (1ull << 30) /* of a discard or zeroes: the protocol counts 32 bits */
#define MAX_IO      (1u << 20)
#define KEEPIDLE_S  5
#define KEEPCNT     3
#define USER_TMO_MS 20000 /* TCP: sent, and nobody says that it arrived */

struct blk_nbd {
	struct nbd_handle *connections[BLK_NBD_CONNECTIONS];
	unsigned int count, next;
	bool can_flush, can_fua, can_trim, can_zero;
	bool lost;
	char why[256];
	struct list_node ended;
	blk_nbd_done_fn *done;
	void *arg;
};

/* --- connecting ------------------------------------------------------------------------------- */

static int refuse_connection(struct err *e, const struct blk_nbd_target *t, const char *what)
{
	bool is_unix = t->socket[0];

	return err_set(e, ERR_FAILED, "NBD-CONNECT", "%s%s%s%s: %s", is_unix ? t->socket : t->host,
		is_unix ? "" : ":", is_unix ? "" : t->port,
		t->export[0] ? " (an export of it)" : "", what);
}

static int begin_connection(struct nbd_handle *h, const struct blk_nbd_target *t, struct err *e)
{
	int rc = nbd_set_export_name(h, t->export);

	if (rc == 0)
		rc = nbd_set_tls(h, LIBNBD_TLS_DISABLE);
	if (rc == 0) /* what is not read is not shown: a failed read fails */
		rc = nbd_set_pread_initialize(h, false);
	if (rc == 0) /* half as many system calls for a read, and there is nothing that we lose */
		rc = nbd_set_request_structured_replies(h, false);
	if (rc == 0 && t->socket[0])
		rc = nbd_aio_connect_unix(h, t->socket);
	else if (rc == 0)
		rc = nbd_aio_connect_tcp(h, t->host, t->port);
	if (rc == 0)
		return 0;
	refuse_connection(e, t, "cannot be reached");
	return err_evidence(e, "%s", nbd_get_error());
}

static int await_connection(
	struct nbd_handle *h, const struct blk_nbd_target *t, uint64_t deadline_ms, struct err *e)
{
	while (!nbd_aio_is_ready(h)) {
		uint64_t now = now_ms();

		if (now >= deadline_ms) {
			refuse_connection(
				e, t, "something takes the connection, and speaks no NBD");
			return err_evidence(
				e, "no handshake in time (%s)", nbd_connection_state(h));
		}
		if (nbd_poll(h, (int)(deadline_ms - now)) < 0) {
			refuse_connection(e, t, "does not give the export");
			return err_evidence(e, "%s", nbd_get_error());
		}
	}
	return 0;
}

/* A server, or the way to it, that falls silent is noticed. */
static void keep_alive(struct nbd_handle *h)
{
	const int on = 1, idle = KEEPIDLE_S, count = KEEPCNT, late = USER_TMO_MS;
	int fd = nbd_aio_get_fd(h);

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &late, sizeof(late));
}

static int connect_one(
	struct blk_nbd *n, const struct blk_nbd_target *t, uint64_t deadline_ms, struct err *e)
{
	struct nbd_handle *h = nbd_create();

	if (!h)
		return err_sys(e, ENOMEM, "a connection");
	n->connections[n->count++] = h;
	if (begin_connection(h, t, e) < 0 || await_connection(h, t, deadline_ms, e) < 0)
		return -1;
	if (!t->socket[0])
		keep_alive(h);
	return 0;
}

/* --- geometry --------------------------------------------------------------------------------- */

static bool is_power(int64_t n)
{
	return n > 0 && (n & (n - 1)) == 0;
}

/* 0 where the server does not say. */
static int64_t block_size(struct nbd_handle *h, int which)
{
	int64_t size = nbd_get_block_size(h, which);

	return MAX(size, 0);
}

static int read_facts(struct blk_nbd *n, const struct blk_nbd_target *t,
	struct blk_nbd_facts *facts, struct err *e)
{
	struct nbd_handle *h = n->connections[0];
	int64_t size = nbd_get_size(h), most = block_size(h, LIBNBD_SIZE_MAXIMUM);
	int64_t least = MAX(block_size(h, LIBNBD_SIZE_MINIMUM), BLOCK_MIN);
	int64_t preferred = MAX(block_size(h, LIBNBD_SIZE_PREFERRED), PHYSICAL);

	if (size <= 0 || !is_power(least) || least > BLOCK_MAX || (most && most < PHYSICAL)) {
		refuse_connection(e, t, "no disk can be made of that export");
		return err_evidence(e, "%lld bytes, requests of %lld to %lld bytes",
			(long long)size, (long long)least, (long long)most);
	}
	*facts = (struct blk_nbd_facts){
		.size_bytes = (uint64_t)size,
		.block_size = (uint32_t)least,
		.physical_block_size =
			is_power(preferred) && preferred <= MAX_IO ? (uint32_t)preferred : PHYSICAL,
		.max_io = most ? (uint32_t)MIN(most, MAX_IO) : MAX_IO,
		.readonly = nbd_is_read_only(h) != 0,
	};
	n->can_flush = nbd_can_flush(h) > 0;
	n->can_fua = nbd_can_fua(h) > 0;
	n->can_trim = nbd_can_trim(h) > 0;
	n->can_zero = nbd_can_zero(h) > 0;
	return 0;
}

static int connect_more(struct blk_nbd *n, const struct blk_nbd_target *t, uint64_t deadline_ms,
	const struct blk_nbd_facts *facts, struct err *e)
{
	while (n->count < BLK_NBD_CONNECTIONS && nbd_can_multi_conn(n->connections[0]) > 0) {
		if (connect_one(n, t, deadline_ms, e) < 0)
			return -1;
		if (nbd_get_size(n->connections[n->count - 1]) != (int64_t)facts->size_bytes)
			return refuse_connection(
				e, t, "the export changed its size from one moment to the next");
	}
	return 0;
}

struct blk_nbd *blk_nbd_new(const struct blk_nbd_target *target, uint64_t deadline_ms,
	struct blk_nbd_facts *facts, blk_nbd_done_fn *done, void *arg, struct err *e)
{
	struct blk_nbd *n = calloc(1, sizeof(*n));

	if (!n) {
		err_sys(e, ENOMEM, "a connection");
		return NULL;
	}
	list_init(&n->ended);
	n->done = done;
	n->arg = arg;
	if (connect_one(n, target, deadline_ms, e) == 0 && read_facts(n, target, facts, e) == 0 &&
		connect_more(n, target, deadline_ms, facts, e) == 0)
		return n;
	blk_nbd_free(n);
	return NULL;
}

void blk_nbd_free(struct blk_nbd *n)
{
	blk_nbd_hang_up(n);
	for (unsigned int i = 0; i < n->count; i++)
		nbd_close(n->connections[i]);
	free(n);
}

/* --- the end ---------------------------------------------------------------------------------- */

void blk_nbd_hang_up(struct blk_nbd *n)
{
	for (unsigned int i = 0; !n->lost && i < n->count; i++)
		if (nbd_aio_is_ready(n->connections[i]) > 0)
			nbd_aio_disconnect(n->connections[i], 0);
	n->lost = true;
}

bool blk_nbd_is_lost(const struct blk_nbd *n)
{
	return n->lost;
}

const char *blk_nbd_why_lost(const struct blk_nbd *n)
{
	return n->why;
}

/* What is unanswered ends when libnbd reads the end of the connection. */
void blk_nbd_drop(struct blk_nbd *n, const char *why)
{
	if (n->lost)
		return;
	n->lost = true;
	snprintf(n->why, sizeof(n->why), "%s", why);
	for (unsigned int i = 0; i < n->count; i++) {
		int fd = nbd_aio_get_fd(n->connections[i]);

		if (fd >= 0)
			shutdown(fd, SHUT_RDWR);
	}
}

static bool is_over(struct nbd_handle *h)
{
	return nbd_aio_is_dead(h) > 0 || nbd_aio_is_closed(h) > 0;
}

/* --- commands --------------------------------------------------------------------------------- */

static void end(struct blk_nbd_request *rq, int error, bool unanswered)
{
	rq->sent = false;
	rq->error = error;
	rq->unanswered = unanswered;
	list_append(&rq->nbd->ended, &rq->node);
}

static int command_ended(void *arg, int *error)
{
	end(arg, *error, *error == ENOTCONN);
	return 1; /* libnbd may forget it */
}

/* Bytes of the next piece. */
static uint64_t piece_of(const struct blk_nbd_request *rq)
{
	return MIN(rq->len - rq->done_bytes, PIECE_MAX);
}

static int64_t send_command(struct blk_nbd *n, struct nbd_handle *h, struct blk_nbd_request *rq)
{
	const nbd_completion_callback done = {.callback = command_ended, .user_data = rq};
	uint64_t at = rq->offset + rq->done_bytes, piece = piece_of(rq);
	uint32_t fua = rq->durable && n->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;

	if (rq->syncs)
		return nbd_aio_flush(h, done, 0);
	switch (rq->command) {
	case BLK_NBD_READ:
		return nbd_aio_pread(h, rq->data, rq->len, rq->offset, done, 0);
	case BLK_NBD_WRITE:
		return nbd_aio_pwrite(h, rq->data, rq->len, rq->offset, done, fua);
	case BLK_NBD_FLUSH:
		return nbd_aio_flush(h, done, 0);
	case BLK_NBD_DISCARD:
		return nbd_aio_trim(h, piece, at, done, 0);
	case BLK_NBD_ZERO:
		return nbd_aio_zero(
			h, piece, at, done, fua | (rq->may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
	}
	return -1;
}

static void next_command(struct blk_nbd *n, struct blk_nbd_request *rq)
{
	struct nbd_handle *h = n->connections[n->next++ % n->count];

	if (n->lost) {
		end(rq, ENOTCONN, false);
		return;
	}
	rq->sent = true;
	if (send_command(n, h, rq) < 0 && rq->sent) {
		int error = nbd_get_errno();

		end(rq, is_over(h) ? ENOTCONN : error ? error : EIO, false);
	}
	if (is_over(h))
		blk_nbd_drop(n, nbd_get_error() ? nbd_get_error() : "the connection broke");
}

/* Nothing to be done, or nothing that can: *error says which. */
static bool needs_no_command(const struct blk_nbd *n, const struct blk_nbd_request *rq, int *error)
{
	*error = 0;
	switch (rq->command) {
	case BLK_NBD_FLUSH: /* a server that has no flush keeps nothing back */
		return !n->can_flush;
	case BLK_NBD_DISCARD:
		*error = n->can_trim ? 0 : EOPNOTSUPP;
		return !n->can_trim || !rq->len;
	case BLK_NBD_ZERO:
		*error = n->can_zero ? 0 : EOPNOTSUPP;
		return !n->can_zero || !rq->len;
	case BLK_NBD_READ:
	case BLK_NBD_WRITE:
		break;
	}
	return !rq->len;
}

void blk_nbd_submit(struct blk_nbd *n, struct blk_nbd_request *rq)
{
	int error;

	rq->nbd = n;
	rq->done_bytes = 0;
	rq->syncs = rq->unanswered = false;
	if (!n->lost && needs_no_command(n, rq, &error))
		end(rq, error, false);
	else
		next_command(n, rq);
}

/* Whether something of it is left to be done. */
static bool goes_on(struct blk_nbd *n, struct blk_nbd_request *rq)
{
	if (rq->error || rq->syncs)
		return false;
	if (rq->command == BLK_NBD_DISCARD || rq->command == BLK_NBD_ZERO) {
		rq->done_bytes += piece_of(rq);
		if (rq->done_bytes < rq->len)
			return true;
	}
	rq->syncs = rq->durable && !n->can_fua && n->can_flush;
	return rq->syncs;
}

bool blk_nbd_is_due(const struct blk_nbd *n)
{
	return !list_is_empty(&n->ended);
}

void blk_nbd_settle(struct blk_nbd *n)
{
	while (blk_nbd_is_due(n)) {
		struct blk_nbd_request *rq =
			list_entry(n->ended.next, struct blk_nbd_request, node);

		list_remove(&rq->node);
		if (goes_on(n, rq))
			next_command(n, rq);
		else
			n->done(n->arg, rq);
	}
}

/* --- waiting ---------------------------------------------------------------------------------- */

unsigned int blk_nbd_prepare(struct blk_nbd *n, struct pollfd *fds)
{
	for (unsigned int i = 0; i < n->count; i++) {
		unsigned int way = nbd_aio_get_direction(n->connections[i]);

		fds[i] = (struct pollfd){
			.fd = is_over(n->connections[i]) ? -1 : nbd_aio_get_fd(n->connections[i])};
		if (way & LIBNBD_AIO_DIRECTION_READ)
			fds[i].events |= POLLIN;
		if (way & LIBNBD_AIO_DIRECTION_WRITE)
			fds[i].events |= POLLOUT;
	}
	return n->count;
}

void blk_nbd_react(struct blk_nbd *n, const struct pollfd *fds, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct nbd_handle *h = n->connections[i];
		unsigned int way = nbd_aio_get_direction(h);
		const short broken = POLLHUP | POLLERR | POLLNVAL;

		if (fds[i].fd < 0 || !fds[i].revents)
			continue;
		if (fds[i].revents & (POLLIN | broken) && way & LIBNBD_AIO_DIRECTION_READ)
			nbd_aio_notify_read(h);
		else if (fds[i].revents & (POLLOUT | broken) && way & LIBNBD_AIO_DIRECTION_WRITE)
			nbd_aio_notify_write(h);
		if (is_over(h))
			blk_nbd_drop(n, nbd_get_error() ? nbd_get_error() : "the server is gone");
	}
}
