/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: accepts clients, knows who they are, cuts their bytes into messages for
 * daemon/dispatch.c and writes the replies. What a client can cost is bounded here.
 */
#pragma once

#include <sys/types.h>

#include "lib/watch.h"

#define SERVER_MAX_CLIENTS  1024
#define SERVER_ROOT_CLIENTS 64                 /* of these, kept for who may change things */
#define SERVER_MAX_QUEUED   ((size_t)16 << 20) /* bytes a client may leave unread in a stream */
#define SERVER_PAUSE_QUEUED ((size_t)1 << 20)  /* no new call is begun above this */
#define SERVER_STALL_MS     30000 /* for half a message, or an unread reply, to move on */

struct daemon;
struct server;

/*
 * A listening socket at `path`, made so that nobody can reach it before its owner and mode are
 * right (0660 root:group; group NULL or unknown: root only). Refuses to take over a live one,
 * replaces a dead one. The fd or -1.
 */
int server_listen(const char *path, const char *group, struct err *e);

/* Serves listen_fd, which becomes the server's. NULL with e set (the fd is then closed too). */
struct server *server_new(struct daemon *d, int listen_fd, const char *group, struct err *e);

/* Drops all clients. NULL is allowed. */
void server_free(struct server *s);

/* How many clients are connected now. */
unsigned int server_client_count(const struct server *s);
