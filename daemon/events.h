/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event bus: what `iovctl watch` prints. Whoever changes something says so here; each event
 * gets the next sequence number and goes to all watchers at once, in order. Nothing is kept.
 *
 *	{"schema":"iovd.event/1","seq":7,"time":"2025-05-01T10:00:00.123Z","event":"changed",
 *	 "kind":"attachment","id":"web1/disk0","data":{...}}
 */
#pragma once

#include "proto/json.h"

struct events;
struct request;

struct events *events_new(struct err *e);

/* After the server, and with it all watchers, has gone. NULL is allowed. */
void events_free(struct events *ev);

/*
 * event: "added", "removed", "changed"; kind: "device", "group", "attachment", "vm", "job";
 * data: JSON text of the object as `list` shows it, copied, or NULL.
 */
void events_emit(struct events *ev, const char *event, const char *kind, const char *id,
	const char *data, size_t data_len);

/* The stream of events becomes this request's replies, until the client goes. */
void events_add_watcher(struct events *ev, struct request *rq);
