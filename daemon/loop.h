/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop of daemon and keeper: lib/watch.h over libevent, with signals. One thread. No other file
 * knows libevent.
 */
#pragma once

#include "lib/watch.h"

/* A loop with nothing to wait for, or NULL with e set. */
struct watch_loop *loop_new(struct err *e);

/* All watches must have been removed. NULL is allowed. */
void loop_free(struct watch_loop *loop);

/* Runs callbacks until loop_stop(), which may be called before or from a callback. 0 or -1. */
int loop_run(struct watch_loop *loop, struct err *e);
void loop_stop(struct watch_loop *loop);

/* Calls fn(arg, signum) from the loop, not from a signal handler; removed like other watches. */
struct watch *loop_add_signal(
	struct watch_loop *loop, int signum, watch_fn *fn, void *arg, struct err *e);
