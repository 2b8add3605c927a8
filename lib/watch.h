/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop as an interface, so that library code can wait without knowing whose loop it is:
 * daemon/loop.c (libevent; daemon and keeper) and daemon/worker_loop.c (epoll; the data plane)
 * implement it, and embed struct watch_loop as their first member. One thread per loop; callbacks
 * run on it and may remove any watch, their own included.
 */
#pragma once

#include "lib/err.h"

enum watch_events {
	WATCH_READ = 1,
	WATCH_WRITE = 2,
	WATCH_TIMER = 4, /* only ever reported */
	WATCH_EDGE =
		8, /* with the others: report news only, not a state that lasts (worker loop) */
};

struct watch; /* one registered fd or timer; owned by the loop until removed */
struct watch_loop;

typedef void watch_fn(void *arg, unsigned int events);

struct watch_ops {
	/* Level triggered. The fd stays the caller's: remove the watch before closing it. */
	struct watch *(*add_fd)(struct watch_loop *loop, int fd, unsigned int events, watch_fn *fn,
		void *arg, struct err *e);
	/* What to wait for from now on (0: nothing, keep the watch). */
	void (*set_events)(struct watch *w, unsigned int events);
	/* Fires once, not before delay_ms are over; set_timer() arms it again (or moves it). */
	struct watch *(*add_timer)(
		struct watch_loop *loop, uint64_t delay_ms, watch_fn *fn, void *arg, struct err *e);
	void (*set_timer)(struct watch *w, uint64_t delay_ms);
	/* Both kinds; NULL is allowed. The callback does not run again. */
	void (*remove)(struct watch *w);
};

struct watch_loop {
	const struct watch_ops *ops;
};
