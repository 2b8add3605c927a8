/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. While the model changes, what is to be told is only noted: who uses a device
 * is not known before the change is complete, and a burst of messages may change one device several
 * times. host_use_update() then tells all of it, in order, each device as it is by then. A device
 * that came and went in between was never there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/inventory_model.h"
#include "lib/log.h"

static const char *const event_names[] = {
	[NEWS_ADDED] = "added",
	[NEWS_CHANGED] = "changed",
	[NEWS_REMOVED] = "removed",
};

/* What was noted last about a device; NULL if nothing was. */
static struct inv_news *news_find(struct inventory *inv, const struct device *d)
{
	for (size_t i = inv->news_count; i-- > 0;)
		if (inv->news[i].class == d->class && strcmp(inv->news[i].id, d->id) == 0)
			return &inv->news[i];
	return NULL;
}

static void news_release(struct inv_news *news)
{
	free(news->id);
	free(news->json);
}

static void news_drop(struct inventory *inv, struct inv_news *news)
{
	size_t index = (size_t)(news - inv->news);

	news_release(news);
	inv->news_count--;
	memmove(news, news + 1, (inv->news_count - index) * sizeof(*news));
}

static char *node_text(struct inventory *inv, const struct inv_node *node, size_t *len)
{
	struct json_out o;

	json_out_init(&o);
	inv_put_json(inv, node, &o, NULL, INV_LIST);
	return json_out_finish(&o, len);
}

static bool news_append(struct inventory *inv, enum inv_event event, const struct inv_node *node)
{
	struct inv_news *news;

	if (inv->news_count == inv->news_room) {
		size_t room = inv->news_room ? inv->news_room * 2 : 16;

		news = reallocarray(inv->news, room, sizeof(*news));
		if (!news)
			return false;
		inv->news = news;
		inv->news_room = room;
	}
	news = &inv->news[inv->news_count];
	*news = (struct inv_news){.event = event, .class = node->dev->class};
	news->id = strdup(node->dev->id);
	if (event == NEWS_REMOVED)
		news->json = node_text(inv, node, &news->len);
	if (!news->id || (event == NEWS_REMOVED && !news->json)) {
		news_release(news);
		return false;
	}
	inv->news_count++;
	return true;
}

void inv_news_add(struct inventory *inv, enum inv_event event, const struct inv_node *node)
{
	struct inv_news *before;

	if (!inv->tell)
		return;
	before = news_find(inv, node->dev);
	if (before && before->event != NEWS_REMOVED) {
		if (event == NEWS_CHANGED)
			return; /* will be told as it is then */
		if (before->event == NEWS_ADDED) {
			news_drop(inv, before); /* came and went */
			return;
		}
		news_drop(inv, before); /* changed, then went */
	}
	if (!news_append(inv, event, node))
		log_error("inventory: watchers are not told of %s: %s", node->dev->id,
			strerror(ENOMEM));
}

void inv_news_tell(struct inventory *inv)
{
	/* Whoever listens may ask for devices, but adds no news: those come from the loop. */
	for (size_t i = 0; i < inv->news_count; i++) {
		struct inv_news *news = &inv->news[i];
		const struct inv_node *node = inv_find(inv, news->class, news->id);

		if (!news->json && node)
			news->json = node_text(inv, node, &news->len);
		if (news->json)
			inv->tell(inv->tell_arg, event_names[news->event], news->id, news->json,
				news->len);
		news_release(news);
	}
	inv->news_count = 0;
}
