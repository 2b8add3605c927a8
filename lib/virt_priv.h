/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lib/virt.c (connection, calls) and lib/virt_work.c (what calls do) share. */
#pragma once

#include <libvirt/libvirt.h>
#include <pthread.h>

#include "lib/list.h"
#include "lib/virt.h"

#define VIRT_EVENTS 5 /* kinds that are asked for */

struct virt {
	struct watch_loop *loop;
	char *uri;
	const struct virt_listener *listener;
	void *arg;
	virConnectPtr conn; /* NULL: down */
	int event_ids[VIRT_EVENTS];
	bool told_down;
	uint64_t retry_ms;
	struct watch *retry, *wake;
	struct list_node calls; /* all that have a thread */
	unsigned int call_count;
	/* shared with the threads */
	pthread_mutex_t lock;
	struct list_node finished;
	int wake_fd;
	unsigned int references; /* the loop's, and one for each thread */
};

struct virt_call {
	struct list_node node;     /* in v->calls */
	struct list_node finished; /* in v->finished */
	struct virt *v;
	int (*run)(struct virt_call *call, struct err *e);
	char *domain, *alias, *text, *metadata, *destination, *address, *config;
	enum virt_which which;
	virConnectPtr conn; /* a reference; or what was connected, with */
	int event_ids[VIRT_EVENTS];
	bool has_events; /* the last reference but those of its callbacks: they go, too */
	struct virt_answer answer;
	struct err err;
	virt_done_fn *done; /* NULL: nobody wants to know (any more) */
	void *arg;
	struct watch *deadline;
	bool waits; /* for the first connection: it has no thread yet */
};

/* The last error of this thread as ours. Returns -1. */
int virt_err(struct err *e, const char *what);

/* By enum virt_op: the work of a call, on its thread. 0, or -1 with e set. */
extern int (*const virt_runs[])(struct virt_call *call, struct err *e);
