/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: accepts clients, knows who they are, cuts their bytes into messages for
 * daemon/dispatch.c and writes the replies. What a client can cost is bounded here.
 */
#pragma once

#include <sys/types.h>

#include "lib/watch.h"

/* What clients can cost. */
struct server_limits {
	unsigned int max_clients;
	unsigned int root_clients; /* of these, kept for who may change things */
	size_t max_queued;         /* bytes a client may leave unread in a stream */
	size_t pause_queued;       /* no new call is begun above this */
	uint64_t stall_ms;         /* for half a message, or an unread reply, to move on */
};

extern const struct server_limits server_default_limits;

struct daemon;
struct server;

/*
 * A listening socket at `path`, made so that nobody can reach it before its owner and mode are
 * right (0660 root:group; group NULL or unknown: root only). Refuses to take over a live one,
 * replaces a dead one. The fd or -1.
 */
int server_listen(const char *path, const char *group, struct err *e);

/*
 * Serves listen_fd, which becomes the server's (also when this fails). `limits` is kept, not copied.
 * NULL with e set.
 */
struct server *server_new(struct daemon *d, int listen_fd, const char *group,
	const struct server_limits *limits, struct err *e);

/* Drops all clients. NULL is allowed. */
void server_free(struct server *s);

/* How many clients are connected now. */
unsigned int server_client_count(const struct server *s);
