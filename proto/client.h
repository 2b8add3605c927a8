/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A blocking client of the control socket: one connection, one call at a time. */
#pragma once

#include "lib/err.h"
#include "lib/fdio.h"
#include "proto/varlink.h"

struct client;

/* The socket alone, connected: the caller's to close. -1 as client_connect() fails. */
int client_dial(const char *path, struct err *e);

/* Connects. NULL with e set (ERR_UNREACHABLE, or ERR_NOT_PERMITTED when the socket's mode forbids).
 */
struct client *client_connect(const char *path, struct err *e);
void client_close(struct client *c);

static inline void client_cleanup_p(struct client **c)
{
	client_close(*c);
}
#define auto_client __attribute__((cleanup(client_cleanup_p)))

/* For poll(): a reply, or a part of one, can be read. */
int client_fd(const struct client *c);

/*
 * Sends a call; `parameters` is the text of an object, NULL for none. Every reply is then taken
 * with client_next(). 0 or -1.
 */
int client_call(
	struct client *c, const char *method, const char *parameters, bool more, struct err *e);

/*
 * Waits for the next reply, which is valid until the following call. An error reply is a reply:
 * look at reply->error. 0, or -1 (ERR_UNREACHABLE when the daemon has gone).
 */
int client_next(struct client *c, struct varlink_reply *reply, struct err *e);

/*
 * Takes the descriptors that came with the latest reply: at most FDIO_MAX_FDS, the caller's to
 * close; returns how many. Those that are not taken are closed with the next call.
 */
unsigned int client_take_fds(struct client *c, int fds[FDIO_MAX_FDS]);
