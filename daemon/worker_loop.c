/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. One turn: do rounds of work until there is none, keep looking for up to
 * `window` nanoseconds, then ask to be woken, sleep in epoll_wait(), and tell the watches.
 *
 * The window adapts: a sleep that ended within poll_ns would have been cheaper as a look, so the
 * next idle phase is polled; one that lasted longer switches polling off. So an idle guest costs
 * nothing, and a busy one at most poll_ns per idle phase.
 *
 * A watch may be removed by any callback, its own included, while epoll's answers still name it: it
 * is taken out of epoll at once and freed when the turn is over.
 */
#include "daemon/worker_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/list.h"

#define TURN_ROUNDS 64u /* of work before the file descriptors have their turn */
#define TURN_EVENTS 16

struct watch {
	struct list_node node; /* in timers, or in dead */
	struct worker_loop *loop;
	int fd;              /* -1: a timer */
	unsigned int events; /* as waited for */
	uint64_t due_ns;     /* of a timer; 0: not armed */
	watch_fn *fn;        /* NULL: removed */
	void *arg;
};

struct worker_loop {
	struct watch_loop watch_loop; /* first */
	int epoll_fd;
	bool stopped;
	struct list_node timers, dead;
	struct worker_poller poller;
	uint64_t poll_ns, window_ns;
};

static struct worker_loop *loop_of(struct watch_loop *wl)
{
	return (struct worker_loop *)wl;
}

static uint32_t epoll_events(unsigned int events)
{
	return (events & WATCH_READ ? (uint32_t)EPOLLIN : 0) |
	       (events & WATCH_WRITE ? (uint32_t)EPOLLOUT : 0) |
	       (events & WATCH_EDGE ? (uint32_t)EPOLLET : 0);
}

/* No events means out of epoll: it would report errors and hang-ups all the same. */
static int tell_epoll(struct watch *w, unsigned int events)
{
	struct epoll_event ev = {.events = epoll_events(events), .data.ptr = w};
	int op = !w->events ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;

	if (w->events == events)
		return 0;
	w->events = events;
	return epoll_ctl(w->loop->epoll_fd, op, w->fd, &ev);
}

static struct watch *new_watch(
	struct watch_loop *wl, int fd, watch_fn *fn, void *arg, struct err *e)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w) {
		err_sys(e, ENOMEM, "wait for a descriptor");
		return NULL;
	}
	w->loop = loop_of(wl);
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	list_init(&w->node);
	return w;
}

static struct watch *loop_add_fd(
	struct watch_loop *wl, int fd, unsigned int events, watch_fn *fn, void *arg, struct err *e)
{
	struct watch *w = new_watch(wl, fd, fn, arg, e);

	if (!w)
		return NULL;
	if (tell_epoll(w, events) < 0) {
		err_sys(e, errno, "wait for descriptor %d", fd);
		free(w);
		return NULL;
	}
	return w;
}

static void loop_set_events(struct watch *w, unsigned int events)
{
	if (w) /* only memory can be short: it was in before */
		tell_epoll(w, events);
}

static void loop_set_timer(struct watch *w, uint64_t delay_ms)
{
	w->due_ns = now_ns() + delay_ms * 1000000;
}

static struct watch *loop_add_timer(
	struct watch_loop *wl, uint64_t delay_ms, watch_fn *fn, void *arg, struct err *e)
{
	struct watch *w = new_watch(wl, -1, fn, arg, e);

	if (!w)
		return NULL;
	loop_set_timer(w, delay_ms);
	list_append(&w->loop->timers, &w->node);
	return w;
}

static void loop_remove(struct watch *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		tell_epoll(w, 0);
	w->fn = NULL;
	list_remove(&w->node);
	list_append(&w->loop->dead, &w->node);
}

static const struct watch_ops watch_ops = {
	.add_fd = loop_add_fd,
	.set_events = loop_set_events,
	.add_timer = loop_add_timer,
	.set_timer = loop_set_timer,
	.remove = loop_remove,
};

static void bury(struct list_node *list)
{
	list_for_each_safe (node, list) {
		list_remove(node);
		free(list_entry(node, struct watch, node));
	}
}

/* --- one turn -------------------------------------------------------------------------------- */

static void tell_watches(const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++) {
		struct watch *w = events[i].data.ptr;
		uint32_t seen = events[i].events;
		unsigned int told = 0;

		if (seen & (EPOLLIN | EPOLLHUP | EPOLLERR))
			told |= WATCH_READ;
		if (seen & (EPOLLOUT | EPOLLERR))
			told |= WATCH_WRITE;
		if (w->fn)
			w->fn(w->arg, told);
	}
}

static void tell_timers(struct worker_loop *l)
{
	uint64_t now = now_ns();
	bool again;

	/* A callback may remove any timer: after each one from the start. */
	do {
		again = false;
		list_for_each (node, &l->timers) {
			struct watch *w = list_entry(node, struct watch, node);

			if (!w->due_ns || w->due_ns > now)
				continue;
			w->due_ns = 0;
			w->fn(w->arg, WATCH_TIMER);
			again = true;
			break;
		}
	} while (again);
}

/* Milliseconds until the next timer, rounded up; -1: none. */
static int next_timeout_ms(struct worker_loop *l)
{
	uint64_t next = UINT64_MAX, now = now_ns();

	list_for_each (node, &l->timers) {
		struct watch *w = list_entry(node, struct watch, node);

		if (w->due_ns && w->due_ns < next)
			next = w->due_ns;
	}
	if (next == UINT64_MAX)
		return -1;
	return next <= now ? 0 : (int)MIN((next - now + 999999) / 1000000, INT32_MAX);
}

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Rounds of work; false when there is none left, and none came within the window. */
static bool work_awhile(struct worker_loop *l)
{
	const struct worker_poller *p = &l->poller;
	uint64_t until = 0;

	for (unsigned int rounds = 0; rounds < TURN_ROUNDS;) {
		if (p->work(p->arg)) {
			rounds++;
			until = 0;
			continue;
		}
		if (!l->window_ns || p->waiting(p->arg))
			return false;
		if (!until)
			until = now_ns() + l->window_ns;
		else if (now_ns() >= until)
			return false;
		relax();
	}
	return true;
}

static int sleep_for(struct worker_loop *l, int timeout_ms, struct epoll_event *events)
{
	uint64_t before = now_ns();
	int count = epoll_wait(l->epoll_fd, events, TURN_EVENTS, timeout_ms);

	l->window_ns = now_ns() - before <= l->poll_ns ? l->poll_ns : 0;
	return count;
}

static int turn(struct worker_loop *l)
{
	struct epoll_event events[TURN_EVENTS];
	int count;

	if (l->poller.work && work_awhile(l)) {
		count = epoll_wait(l->epoll_fd, events, TURN_EVENTS, 0);
	} else if (l->poller.work && l->poller.arm(l->poller.arg)) {
		count = epoll_wait(l->epoll_fd, events, TURN_EVENTS, 0);
		l->poller.disarm(l->poller.arg);
	} else {
		count = sleep_for(l, l->stopped ? 0 : next_timeout_ms(l), events);
		if (l->poller.work)
			l->poller.disarm(l->poller.arg);
	}
	if (count < 0 && errno != EINTR)
		return -errno;
	tell_watches(events, count);
	tell_timers(l);
	bury(&l->dead);
	return 0;
}

int worker_loop_run(struct worker_loop *loop, struct err *e)
{
	while (!loop->stopped) {
		int rc = turn(loop);

		if (rc < 0)
			return err_sys(e, -rc, "wait for events");
	}
	return 0;
}

void worker_loop_stop(struct worker_loop *loop)
{
	loop->stopped = true;
}

void worker_loop_set_poller(struct worker_loop *loop, const struct worker_poller *poller)
{
	loop->poller = *poller;
}

struct watch_loop *worker_loop_watch(struct worker_loop *loop)
{
	return &loop->watch_loop;
}

struct worker_loop *worker_loop_new(uint64_t poll_us, struct err *e)
{
	struct worker_loop *l = calloc(1, sizeof(*l));

	if (!l) {
		err_sys(e, ENOMEM, "event loop");
		return NULL;
	}
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		err_sys(e, errno, "event loop");
		free(l);
		return NULL;
	}
	l->watch_loop.ops = &watch_ops;
	l->poll_ns = poll_us * 1000;
	list_init(&l->timers);
	list_init(&l->dead);
	return l;
}

void worker_loop_free(struct worker_loop *loop)
{
	if (!loop)
		return;
	bury(&loop->timers);
	bury(&loop->dead);
	close(loop->epoll_fd);
	free(loop);
}
