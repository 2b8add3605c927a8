/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon is made of, for handlers to reach: a handler gets it by request_daemon(). Set up
 * and torn down by daemon/main.c only, in the order of the members.
 */
#pragma once

#include "lib/watch.h"

struct conf;
struct events;
struct inventory;
struct jobs;
struct server;

struct daemon {
	const struct conf *conf;
	struct watch_loop *loop;
	int keeper_fd; /* socket to iovd-keeper, -1: none, and no attachments then */
	struct events *events;
	struct jobs *jobs;
	struct inventory *inventory;
	struct server *server;
};
