/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Numbers begin at 1 with each daemon, whose id tells its numbers from those of
 * the one before. The latest events are kept, as the text that went out: always an unbroken row,
 * from `oldest` to `seq`, in a ring by number. Whoever comes back says which number it had last
 * (`since`) and of which daemon, and gets in this order: "watching", whose number is that before the
 * first one that follows; "lost", if some that it has not seen are no longer kept (with the first and the last
 * of them), or were another daemon's (of which nobody knows how many they were); the kept ones; then those that
 * happen. An event for which there was no memory breaks the row: what was kept before it goes, and so its place is
 * within what is lost.
 */
#include "daemon/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/dispatch.h"
#include "lib/cleanup.h"
#include "lib/list.h"
#include "lib/log.h"

struct kept {
	char *text;
	size_t len;
};

struct events {
	char daemon[17]; /* hexadecimal digits */
	uint64_t seq;    /* of the latest event */
	uint64_t oldest; /* that is kept; seq + 1: none */
	size_t bytes;    /* of all that are kept */
	struct kept ring[EVENTS_KEPT_MAX];
	struct list_node watchers;
};

struct watcher {
	struct list_node node;
	struct request *rq;
};

struct events *events_new(struct err *e)
{
	struct events *ev = calloc(1, sizeof(*ev));
	uint64_t id;

	if (!ev || getrandom(&id, sizeof(id), 0) != sizeof(id)) {
		free(ev);
		err_set(e, ERR_FAILED, "MEMORY", "no memory for events");
		return NULL;
	}
	snprintf(ev->daemon, sizeof(ev->daemon), "%016llx", (unsigned long long)id);
	ev->oldest = 1;
	list_init(&ev->watchers);
	return ev;
}

static void watcher_free(void *arg)
{
	struct watcher *w = arg;

	list_remove(&w->node);
	free(w);
}

/* --- what is kept ----------------------------------------------------------------------------- */

static struct kept *kept_at(struct events *ev, uint64_t seq)
{
	return &ev->ring[seq % EVENTS_KEPT_MAX];
}

static void forget_oldest(struct events *ev)
{
	struct kept *k = kept_at(ev, ev->oldest++);

	ev->bytes -= k->len;
	free(k->text);
	*k = (struct kept){NULL, 0};
}

/* Makes room for the event `seq`, which is the next one; false: it is too large to be kept. */
static bool make_room(struct events *ev, size_t len)
{
	while (ev->oldest < ev->seq &&
		(ev->seq - ev->oldest >= EVENTS_KEPT_MAX || ev->bytes + len > EVENTS_KEPT_BYTES))
		forget_oldest(ev);
	return len <= EVENTS_KEPT_BYTES;
}

/* The text is the ring's from now on, or NULL, and then there is a gap up to here. */
static void keep(struct events *ev, char *text, size_t len)
{
	if (text && make_room(ev, len)) {
		*kept_at(ev, ev->seq) = (struct kept){text, len};
		ev->bytes += len;
		return;
	}
	free(text);
	while (ev->oldest < ev->seq)
		forget_oldest(ev);
	ev->oldest = ev->seq + 1;
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	assert(list_is_empty(&ev->watchers));
	while (ev->oldest <= ev->seq)
		forget_oldest(ev);
	free(ev);
}

/* --- words ------------------------------------------------------------------------------------ */

struct event {
	uint64_t seq;
	const char *event, *kind, *id;
	const char *data;
	size_t data_len;
};

static char *event_text(const struct events *ev, const struct event *x, size_t *len)
{
	char now[UTC_TEXT_SIZE];
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.event/1");
	json_out_u64(&o, "seq", x->seq);
	json_out_str(&o, "daemon", ev->daemon);
	json_out_str(&o, "time", utc_now_text(now));
	json_out_str(&o, "event", x->event);
	json_out_str(&o, "kind", x->kind);
	json_out_str(&o, "id", x->id);
	if (x->data)
		json_out_raw(&o, "data", x->data, x->data_len);
	else
		json_out_null(&o, "data");
	json_out_end(&o);
	return json_out_finish(&o, len);
}

void events_emit(struct events *ev, const char *event, const char *kind, const char *id,
	const char *data, size_t data_len)
{
	const struct event x = {++ev->seq, event, kind, id, data, data_len};
	size_t len = 0;
	char *text = event_text(ev, &x, &len);

	if (!text) /* the gap in the numbers tells the watchers */
		log_warning("event %ju was lost: no memory", (uintmax_t)ev->seq);
	list_for_each (node, &ev->watchers)
		if (text)
			request_stream(list_entry(node, struct watcher, node)->rq, text, len);
	keep(ev, text, len);
}

/* --- watchers --------------------------------------------------------------------------------- */

/* To one watcher. False: no memory. */
static bool say(struct events *ev, struct request *rq, const struct event *x)
{
	auto_free char *text = NULL;
	size_t len = 0;

	text = event_text(ev, x, &len);
	if (text)
		request_stream(rq, text, len);
	return text;
}

static bool say_lost(struct events *ev, struct request *rq, uint64_t from, uint64_t to)
{
	char data[96];
	const struct event x = {.seq = to,
		.event = "lost",
		.data = data,
		.data_len = (size_t)snprintf(data, sizeof(data),
			"{\"from\":%llu,\"to\":%llu,\"why\":\"too many\"}",
			(unsigned long long)from, (unsigned long long)to)};

	return say(ev, rq, &x);
}

static bool say_restarted(struct events *ev, struct request *rq)
{
	static const char data[] = "{\"from\":null,\"to\":null,\"why\":\"restarted\"}";
	const struct event x = {
		.seq = 0, .event = "lost", .data = data, .data_len = sizeof(data) - 1};

	return say(ev, rq, &x);
}

/* All after `since`, and what of it is lost. */
static bool say_missed(struct events *ev, struct request *rq, uint64_t since)
{
	if (since + 1 < ev->oldest && !say_lost(ev, rq, since + 1, ev->oldest - 1))
		return false;
	for (uint64_t seq = MAX(since + 1, ev->oldest); seq <= ev->seq; seq++)
		request_stream(rq, kept_at(ev, seq)->text, kept_at(ev, seq)->len);
	return true;
}

static bool is_ours(const struct events *ev, const struct events_since *since)
{
	return since->seq <= ev->seq && (!since->daemon || strcmp(since->daemon, ev->daemon) == 0);
}

void events_add_watcher(struct events *ev, struct request *rq, const struct events_since *since)
{
	struct watcher *w = calloc(1, sizeof(*w));
	bool ours = !since || is_ours(ev, since);
	struct event begin = {.event = "watching"};
	struct err e = ERR_INIT;

	begin.seq = !since ? ev->seq : ours ? since->seq : 0;
	if (!w || !say(ev, rq, &begin) || (!ours && !say_restarted(ev, rq)) ||
		(since && !say_missed(ev, rq, begin.seq))) {
		free(w);
		err_set(&e, ERR_FAILED, "MEMORY", "no memory for a watcher");
		request_fail(rq, &e);
		return;
	}
	w->rq = rq;
	list_append(&ev->watchers, &w->node);
	request_on_gone(rq, watcher_free, w);
}
