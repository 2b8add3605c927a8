/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/events.h"

#include <stdlib.h>

#include "daemon/dispatch.h"
#include "lib/cleanup.h"
#include "lib/list.h"
#include "lib/log.h"

struct events {
	uint64_t seq; /* of the latest event */
	struct list_node watchers;
};

struct watcher {
	struct list_node node;
	struct request *rq;
};

struct events *events_new(struct err *e)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for events");
		return NULL;
	}
	list_init(&ev->watchers);
	return ev;
}

static void watcher_free(void *arg)
{
	struct watcher *w = arg;

	list_remove(&w->node);
	free(w);
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	assert(list_is_empty(&ev->watchers));
	free(ev);
}

static char *events_text(const struct events *ev, const char *event, const char *kind,
	const char *id, const char *data, size_t data_len, size_t *len)
{
	char now[UTC_TEXT_SIZE];
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.event/1");
	json_out_u64(&o, "seq", ev->seq);
	json_out_str(&o, "time", utc_now_text(now));
	json_out_str(&o, "event", event);
	json_out_str(&o, "kind", kind);
	json_out_str(&o, "id", id);
	if (data)
		json_out_raw(&o, "data", data, data_len);
	else
		json_out_null(&o, "data");
	json_out_end(&o);
	return json_out_finish(&o, len);
}

void events_emit(struct events *ev, const char *event, const char *kind, const char *id,
	const char *data, size_t data_len)
{
	auto_free char *text = NULL;
	size_t len;

	ev->seq++;
	if (list_is_empty(&ev->watchers))
		return;
	text = events_text(ev, event, kind, id, data, data_len, &len);
	if (!text) { /* the gap in the numbers tells the watchers */
		log_warning("event %ju was lost: no memory", (uintmax_t)ev->seq);
		return;
	}
	list_for_each (node, &ev->watchers)
		request_stream(list_entry(node, struct watcher, node)->rq, text, len);
}

void events_add_watcher(struct events *ev, struct request *rq)
{
	struct watcher *w = calloc(1, sizeof(*w));
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len;

	text = events_text(ev, "watching", NULL, NULL, NULL, 0, &len);
	if (!w || !text) {
		free(w);
		err_set(&e, ERR_FAILED, "MEMORY", "no memory for a watcher");
		request_fail(rq, &e);
		return;
	}
	w->rq = rq;
	list_append(&ev->watchers, &w->node);
	request_on_gone(rq, watcher_free, w);
	request_stream(rq, text, len);
}
