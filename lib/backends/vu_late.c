/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that take too long: a path to a disk may fail by never answering.
 *
 * Theory of operation. Every request that is with the host has a note in the page, with the moment
 * since when (vu_gate.c). Now and then the worker looks for those that are older than the limit. They
 * cannot be taken back, and may still be done; so nothing is answered for them, whatever the policy:
 *
 *	report	  the page tells how many there are and what the oldest one is, for people
 *	hold	  a hold begins (vu_hold.c), though nothing is parked: nothing new is fetched, and the
 *		  daemon may give the disk another path
 *
 * Such a hold is marked as one of its own (page_late.hold is its number), because it can end by itself:
 *
 *	the late ones end well		released, here, and all is as always
 *	one of them ends with an error	it is parked: from then on it is a hold like any other
 *	the worker dies			its successor serves only when they are over (the dead one's
 *					ring): it releases the hold, and replays what is left
 *	the daemon ends the worker	and makes the hold one like any other before the successor
 *	to change the disk		begins (session_page_hold())
 */
#include <stdio.h>
#include <string.h>

#include "lib/backends/vu_session_priv.h"

#define LOOK_MIN_MS 10u
#define LOOK_MAX_MS 1000u

bool vu_hold_is_late(const struct vu_session *s)
{
	return vu_is_held(s) && s->page->late.hold == s->page->hold.number;
}

/* How many are over the limit; the oldest of them. */
static uint32_t count_late(const struct vu_session *s, const struct page_request **oldest)
{
	uint64_t now = now_ms();
	uint32_t count = 0;

	*oldest = NULL;
	for (unsigned int i = 0; i < SESSION_REQUESTS_MAX; i++) {
		const struct page_request *r = &s->page->requests[i];

		if (r->state != SESSION_REQUEST_WITH_HOST ||
			r->since_ms + s->cfg.io_timeout_ms > now)
			continue;
		count++;
		if (!*oldest || r->since_ms < (*oldest)->since_ms)
			*oldest = r;
	}
	return count;
}

static void describe(const struct vu_session *s, const struct page_request *r, char *text, size_t n)
{
	snprintf(text, n, "%s at sector %llu: no answer for %llu ms",
		session_request_names[r->what], (unsigned long long)r->sector,
		(unsigned long long)s->cfg.io_timeout_ms);
}

static void hold_begins(struct vu_session *s, const struct page_request *oldest)
{
	struct page_hold *hold = &s->page->hold;

	describe(s, oldest, hold->reason, sizeof(hold->reason));
	page_commit(s->page->late.hold, hold->released + 1);
	page_commit(hold->number, hold->released + 1);
	vu_point("held-late");
	vu_report(s, "requests are held: %s", hold->reason);
	vu_changed(s);
}

static void hold_ends(struct vu_session *s)
{
	page_commit(s->page->hold.released, s->page->hold.number);
	vu_point("released-late");
	vu_report(s, "the requests that were late have ended well");
	vu_changed(s);
}

/* The text is for people, and only they read it: it may change while they do. */
static void tell(struct vu_session *s, uint32_t count, const struct page_request *oldest)
{
	struct page_late *late = &s->page->late;
	bool is_news = !late->count != !count;

	if (count && is_news)
		describe(s, oldest, late->words, sizeof(late->words));
	page_commit(late->count, count);
	if (is_news && count)
		vu_report(s, "the disk does not answer: %s", late->words);
	if (is_news)
		vu_changed(s);
}

static void look(void *arg, unsigned int events)
{
	struct vu_session *s = arg;
	const struct page_request *oldest;
	uint32_t count = count_late(s, &oldest);

	(void)events;
	if (!s->cfg.holds)
		tell(s, count, oldest);
	else if (count && !vu_is_held(s))
		hold_begins(s, oldest);
	else if (!count && vu_hold_is_late(s) && !s->parked)
		hold_ends(s);
	s->cfg.loop->ops->set_timer(s->late_timer, s->late_tick_ms);
}

int vu_late_begin(struct vu_session *s, struct err *e)
{
	if (vu_hold_is_late(s))
		hold_ends(s);
	s->page->late.count = 0;
	if (!s->cfg.io_timeout_ms)
		return 0;
	s->late_tick_ms = MAX(MIN(s->cfg.io_timeout_ms / 8, LOOK_MAX_MS), LOOK_MIN_MS);
	s->late_timer = s->cfg.loop->ops->add_timer(s->cfg.loop, s->late_tick_ms, look, s, e);
	return s->late_timer ? 0 : -1;
}
