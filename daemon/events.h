/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event bus: what `iovctl watch` prints. Whoever changes something says so here; each event
 * gets the next sequence number and goes to all watchers at once, in order. The latest are kept, for
 * watchers that come back (events.c).
 *
 *	{"schema":"iovd.event/1","seq":7,"daemon":"92d0c3b1f6a5e874",
 *	 "time":"2025-05-01T10:00:00.123Z","event":"changed","kind":"attachment",
 *	 "id":"web1/disk0","data":{...}}
 */
#pragma once

#include "proto/json.h"

struct events;
struct request;

#define EVENTS_KEPT_MAX   4096
#define EVENTS_KEPT_BYTES ((size_t)4 << 20) /* less than a client may leave unread */

struct events *events_new(struct err *e);

/* After the server, and with it all watchers, has gone. NULL is allowed. */
void events_free(struct events *ev);

/*
 * event: "added", "removed", "changed"; kind: "device", "group", "attachment", "vm", "job", "fault";
 * data: JSON text of the object as `list` shows it, copied, or NULL.
 */
void events_emit(struct events *ev, const char *event, const char *kind, const char *id,
	const char *data, size_t data_len);

/* The last event that a watcher has seen. */
struct events_since {
	uint64_t seq;       /* 0: none */
	const char *daemon; /* whose number it is; NULL: not said */
};

/*
 * The stream of events becomes this request's replies, until the client goes. With `since` (may be
 * NULL) it begins with those that came after that one, as far as they are kept.
 */
void events_add_watcher(struct events *ev, struct request *rq, const struct events_since *since);
