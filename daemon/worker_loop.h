/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's event loop: lib/watch.h on epoll, with what a data path needs beside: work that is
 * looked for without being woken, for a while (adaptive polling), before it sleeps.
 */
#pragma once

#include "lib/watch.h"

struct worker_loop;

/* The work that is polled for. All are called on the loop's thread. */
struct worker_poller {
	bool (*work)(void *arg);    /* one round without waiting; true: something was done */
	bool (*arm)(void *arg);     /* about to sleep: be woken for work; true: there is some */
	void (*disarm)(void *arg);  /* awake again */
	bool (*waiting)(void *arg); /* for the kernel, which wakes us: polling gains nothing */
	void *arg;
};

/* `poll_us`: the most time per idle phase spent looking before sleeping; 0: none. */
struct worker_loop *worker_loop_new(uint64_t poll_us, struct err *e);
void worker_loop_free(struct worker_loop *loop);
struct watch_loop *worker_loop_watch(struct worker_loop *loop);

void worker_loop_set_poller(struct worker_loop *loop, const struct worker_poller *poller);

/* Runs until worker_loop_stop(). */
int worker_loop_run(struct worker_loop *loop, struct err *e);
void worker_loop_stop(struct worker_loop *loop);
