/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon/loop: the contract of lib/watch.h, and signals. */
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/loop.h"
#include "lib/cleanup.h"
#include "tests/unit/unit.h"

/* What a callback can see and do. */
struct scene {
	struct watch_loop *loop;
	struct watch *watches[4];
	unsigned int calls, events;
	int socks[2];
};

static void scene_begin(struct scene *s)
{
	struct err e = ERR_INIT;

	*s = (struct scene){.loop = loop_new(&e)};
	ck_assert_ptr_nonnull(s->loop);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s->socks), 0);
}

static void scene_end(struct scene *s)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(s->watches); i++)
		s->loop->ops->remove(s->watches[i]);
	loop_free(s->loop);
	close_fd(&s->socks[0]);
	close_fd(&s->socks[1]);
}

static void scene_run(struct scene *s)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(loop_run(s->loop, &e), 0);
}

static void note_and_stop(void *arg, unsigned int events)
{
	struct scene *s = arg;

	s->calls++;
	s->events = events;
	loop_stop(s->loop);
}

START_TEST(fd_reports_what_is_asked_for)
{
	struct err e = ERR_INIT;
	struct scene s;

	scene_begin(&s);
	s.watches[0] = s.loop->ops->add_fd(s.loop, s.socks[0], WATCH_WRITE, note_and_stop, &s, &e);
	scene_run(&s);
	ck_assert_uint_eq(s.events, WATCH_WRITE);
	s.loop->ops->set_events(s.watches[0], WATCH_READ);
	ck_assert_int_eq(write(s.socks[1], "x", 1), 1);
	scene_run(&s);
	ck_assert_uint_eq(s.events, WATCH_READ);
	scene_run(&s); /* level triggered: the byte is still there */
	ck_assert_uint_eq(s.calls, 3);
	scene_end(&s);
}
END_TEST

/* A watch that waits for nothing stays, and can be woken again. */
START_TEST(no_events_keeps_the_watch)
{
	struct err e = ERR_INIT;
	struct scene s;

	scene_begin(&s);
	s.watches[0] = s.loop->ops->add_fd(s.loop, s.socks[0], WATCH_WRITE, note_and_stop, &s, &e);
	s.loop->ops->set_events(s.watches[0], 0);
	s.watches[1] = s.loop->ops->add_timer(s.loop, 10, note_and_stop, &s, &e);
	scene_run(&s);
	ck_assert_uint_eq(s.events, WATCH_TIMER);
	s.loop->ops->set_events(s.watches[0], WATCH_WRITE);
	scene_run(&s);
	ck_assert_uint_eq(s.events, WATCH_WRITE);
	scene_end(&s);
}
END_TEST

START_TEST(timer_fires_once_and_again_when_set)
{
	struct err e = ERR_INIT;
	struct scene s;
	uint64_t begin;

	scene_begin(&s);
	s.watches[0] = s.loop->ops->add_timer(s.loop, 60000, note_and_stop, &s, &e);
	s.loop->ops->set_timer(s.watches[0], 20); /* moves it */
	begin = now_ms();
	scene_run(&s);
	ck_assert_uint_ge(now_ms() - begin, 20);
	ck_assert_uint_lt(now_ms() - begin, 10000);
	ck_assert_uint_eq(s.events, WATCH_TIMER);
	s.loop->ops->set_timer(s.watches[0], 0);
	scene_run(&s);
	ck_assert_uint_eq(s.calls, 2);
	scene_end(&s);
}
END_TEST

static void remove_all(void *arg, unsigned int events)
{
	struct scene *s = arg;

	(void)events;
	s->calls++;
	for (unsigned int i = 0; i < ARRAY_SIZE(s->watches); i++) {
		s->loop->ops->remove(s->watches[i]);
		s->watches[i] = NULL;
	}
	loop_stop(s->loop);
}

/* Three that are ready at once: the first one called removes all, itself included. */
START_TEST(callback_may_remove_any_watch)
{
	struct err e = ERR_INIT;
	struct scene s;

	scene_begin(&s);
	ck_assert_int_eq(write(s.socks[1], "x", 1), 1);
	s.watches[0] = s.loop->ops->add_fd(s.loop, s.socks[0], WATCH_READ, remove_all, &s, &e);
	s.watches[1] = s.loop->ops->add_fd(s.loop, s.socks[1], WATCH_WRITE, remove_all, &s, &e);
	s.watches[2] = s.loop->ops->add_timer(s.loop, 0, remove_all, &s, &e);
	scene_run(&s);
	s.watches[3] = s.loop->ops->add_timer(s.loop, 20, note_and_stop, &s, &e);
	scene_run(&s);
	ck_assert_uint_eq(s.calls, 2); /* one removal, one timer: no removed one was called */
	scene_end(&s);
}
END_TEST

START_TEST(signal_arrives_in_the_loop)
{
	struct err e = ERR_INIT;
	struct scene s;

	scene_begin(&s);
	s.watches[0] = loop_add_signal(s.loop, SIGUSR1, note_and_stop, &s, &e);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	ck_assert_uint_eq(s.calls, 0);
	scene_run(&s);
	ck_assert_uint_eq(s.events, SIGUSR1);
	scene_end(&s);
}
END_TEST

START_TEST(stop_before_run_counts)
{
	struct scene s;

	scene_begin(&s);
	loop_stop(s.loop);
	scene_run(&s);
	scene_end(&s);
}
END_TEST

UNIT_MAIN(fd_reports_what_is_asked_for, no_events_keeps_the_watch,
	timer_fires_once_and_again_when_set, callback_may_remove_any_watch,
	signal_arrives_in_the_loop, stop_before_run_counts)
