/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon is made of, for handlers to reach: a handler gets it by request_daemon(). Set up
 * and torn down by daemon/main.c only, in the order of the members.
 */
#pragma once

#include "lib/watch.h"

struct batons;
struct conf;
struct config_reader;
struct domains;
struct events;
struct faults;
struct hands;
struct inventory;
struct jobs;
struct passthrough;
struct reconcile;
struct registry;
struct server;
struct store;
struct supervisor;

struct daemon {
	const struct conf *conf;
	struct watch_loop *loop;
	struct events *events;
	struct jobs *jobs;
	struct inventory *inventory;
	struct hands *hands;
	struct store *store;
	struct registry *registry;
	struct passthrough *passthrough;
	struct faults *faults;
	struct batons *batons;
	struct supervisor *supervisor;
	struct domains *domains;
	struct reconcile *reconcile;
	struct config_reader *config_reader;
	struct server *server;
};
