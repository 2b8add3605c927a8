/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/loop.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>

struct loop {
	struct watch_loop watch_loop; /* first: what everybody else sees */
	struct event_base *base;
	bool stopped;
};

/* One event; `fn` gets WATCH_* bits, or the signal's number. */
struct watch {
	struct event *event;
	watch_fn *fn;
	void *arg;
	unsigned int events; /* of an fd: what is waited for now */
};

static struct loop *loop_of(struct watch_loop *wl)
{
	return container_of(wl, struct loop, watch_loop);
}

/* The callbacks may free the watch: it is not touched after the call. */
static void loop_fd_ready(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	unsigned int events = 0;

	(void)fd;
	if (what & EV_READ)
		events |= WATCH_READ;
	if (what & EV_WRITE)
		events |= WATCH_WRITE;
	w->fn(w->arg, events);
}

static void loop_timer_due(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd, (void)what;
	w->fn(w->arg, WATCH_TIMER);
}

static void loop_signal_seen(evutil_socket_t signum, short what, void *arg)
{
	struct watch *w = arg;

	(void)what;
	w->fn(w->arg, (unsigned int)signum);
}

static void loop_remove(struct watch *w)
{
	if (!w)
		return;
	event_free(w->event);
	free(w);
}

static struct watch *loop_new_watch(struct loop *loop, int fd, short what, event_callback_fn ready,
	watch_fn *fn, void *arg, struct err *e)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w)
		w->event = event_new(loop->base, fd, what, ready, w);
	if (!w || !w->event) {
		free(w);
		err_set(e, ERR_FAILED, "MEMORY", "no memory to wait for a file descriptor");
		return NULL;
	}
	w->fn = fn;
	w->arg = arg;
	return w;
}

static short loop_what(unsigned int events)
{
	short what = EV_PERSIST;

	if (events & WATCH_READ)
		what |= EV_READ;
	if (events & WATCH_WRITE)
		what |= EV_WRITE;
	return what;
}

static void loop_set_events(struct watch *w, unsigned int events)
{
	if (events == w->events)
		return;
	event_del(w->event);
	w->events = events;
	if (!events)
		return;
	event_assign(w->event, event_get_base(w->event), event_get_fd(w->event), loop_what(events),
		loop_fd_ready, w);
	if (event_add(w->event, NULL) < 0) /* the fd was addable before: only memory can be short */
		abort();
}

static struct watch *loop_add_fd(
	struct watch_loop *wl, int fd, unsigned int events, watch_fn *fn, void *arg, struct err *e)
{
	struct watch *w =
		loop_new_watch(loop_of(wl), fd, loop_what(events), loop_fd_ready, fn, arg, e);

	if (!w)
		return NULL;
	w->events = events;
	if (events && event_add(w->event, NULL) < 0) {
		loop_remove(w);
		err_set(e, ERR_FAILED, "LOOP", "file descriptor %d cannot be waited for", fd);
		return NULL;
	}
	return w;
}

/* From now on, not from the begin of the callback that we are in, as libevent counts it. */
static void loop_set_timer(struct watch *w, uint64_t delay_ms)
{
	struct timeval tv = {
		.tv_sec = (time_t)(delay_ms / 1000),
		.tv_usec = (suseconds_t)(delay_ms % 1000 * 1000),
	};

	event_base_update_cache_time(event_get_base(w->event));
	if (event_add(w->event, &tv) < 0) /* only memory can be short */
		abort();
}

static struct watch *loop_add_timer(
	struct watch_loop *wl, uint64_t delay_ms, watch_fn *fn, void *arg, struct err *e)
{
	struct watch *w = loop_new_watch(loop_of(wl), -1, 0, loop_timer_due, fn, arg, e);

	if (w)
		loop_set_timer(w, delay_ms);
	return w;
}

struct watch *loop_add_signal(
	struct watch_loop *wl, int signum, watch_fn *fn, void *arg, struct err *e)
{
	struct watch *w = loop_new_watch(
		loop_of(wl), signum, EV_SIGNAL | EV_PERSIST, loop_signal_seen, fn, arg, e);

	if (w && event_add(w->event, NULL) < 0) {
		loop_remove(w);
		err_set(e, ERR_FAILED, "LOOP", "signal %d cannot be waited for", signum);
		return NULL;
	}
	return w;
}

static const struct watch_ops loop_ops = {
	.add_fd = loop_add_fd,
	.set_events = loop_set_events,
	.add_timer = loop_add_timer,
	.set_timer = loop_set_timer,
	.remove = loop_remove,
};

/* By the precise clock: the coarse one, which libevent prefers, is late by a tick of the kernel, and
 * a timer by it early. */
static struct event_base *loop_new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

struct watch_loop *loop_new(struct err *e)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (loop)
		loop->base = loop_new_base();
	if (!loop || !loop->base) {
		free(loop);
		err_set(e, ERR_FAILED, "LOOP", "no event loop could be made");
		return NULL;
	}
	loop->watch_loop.ops = &loop_ops;
	return &loop->watch_loop;
}

void loop_free(struct watch_loop *wl)
{
	struct loop *loop;

	if (!wl)
		return;
	loop = loop_of(wl);
	event_base_free(loop->base);
	free(loop);
}

int loop_run(struct watch_loop *wl, struct err *e)
{
	struct loop *loop = loop_of(wl);

	/* libevent forgets a stop that comes before the run: so it is kept here. */
	while (!loop->stopped)
		if (event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
			return err_set(e, ERR_FAILED, "LOOP", "the event loop failed");
	loop->stopped = false;
	return 0;
}

void loop_stop(struct watch_loop *wl)
{
	struct loop *loop = loop_of(wl);

	loop->stopped = true;
	event_base_loopbreak(loop->base);
}
