/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. When the requests of an attachment are held, or none of its workers can start
 * any more, its spares are tried in their order: found, opened by a hand, checked as `recover --to`
 * would check them. The first one that may take over does, by that very operation
 * (daemon/recover.c), which fences the path before. That path goes to the end of the list, as one
 * that may be repaired.
 *
 *	held --> look at the first spare --> ... --> recover --> active
 *	               | cannot                        | not fenced: nothing was done
 *	               v                               v
 *	         the next one; after the last one: again, later
 *
 * What fails on every path would make this go round without end: a use that came to nothing -- no
 * request was done since the last one, or the same one failed again -- makes the next one wait, each
 * twice as long as the last.
 *
 * Nothing of this is in the store: after a crash of the daemon the attachment is held, and it begins
 * anew, or the operation has begun, and its journal goes on.
 */
#include "daemon/spare.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/candidate.h"
#include "daemon/daemon.h"
#include "daemon/registry_internal.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define DELAY_MS     100
#define DELAY_MAX_MS 30000
#define AGAIN_MS     1000 /* to look at the spares again, when none could take over */

/* One use, from the look at the first spare on. */
struct spare_use {
	struct daemon *d;
	char id[KEEPER_ID_SIZE]; /* it may be detached meanwhile */
	unsigned int next;
	struct err why; /* the last one could not */
};

static bool is_wanted(const struct attachment *a)
{
	return a->spec.rescue.spare_count && a->spec.on_error == ON_ERROR_HOLD &&
	       a->kept == KEPT_ATTACHED && !a->busy && !a->gating && recover_is_due(a);
}

static uint64_t completed(const struct attachment *a)
{
	struct session_status status;

	if (a->page_fd < 0 || session_page_status(a->page_fd, &status, NULL) < 0)
		return 0;
	return status.requests_completed;
}

/* Before the next use: at once, unless the last one came to nothing. */
static void use_begins(struct attachment *a)
{
	struct attachment_turn *t = &a->turn;
	bool in_vain = t->completed == completed(a) || strcmp(t->reason, a->reason) == 0;

	if (t->used && in_vain)
		t->delay_ms = t->delay_ms ? MIN(2 * t->delay_ms, DELAY_MAX_MS) : DELAY_MS;
	else
		t->delay_ms = 0;
	str_copy(t->reason, sizeof(t->reason), a->reason);
	t->is_busy = true;
}

static void use_ends(struct spare_use *u, struct attachment *a, uint64_t delay_ms)
{
	if (a) {
		a->turn.is_busy = false;
		a->turn.again_ms = now_ms() + delay_ms;
	}
	free(u);
}

static void use_fails(struct spare_use *u, struct attachment *a, const struct err *why)
{
	char words[sizeof(a->turn.failure)];

	str_copy(words, sizeof(words), why->msg);
	if (strcmp(a->turn.failure, words) != 0) { /* it is tried again and again */
		log_warning("%s: no spare takes over: %s%s%s", a->spec.id, why->msg,
			why->evidence[0] ? ": " : "", why->evidence);
		str_copy(a->turn.failure, sizeof(a->turn.failure), words);
		registry_say(u->d->registry, a, "changed");
	}
	use_ends(u, a, AGAIN_MS);
}

static void use_recovered(void *arg, struct attachment *a, const struct err *e)
{
	struct spare_use *u = arg;

	if (e) { /* if it is done in part, it goes on */
		use_fails(u, a, e);
		return;
	}
	log_info("%s: goes on with %s", a->spec.id, a->spec.device);
	registry_say(u->d->registry, a, "spare_used");
	a->turn.used = true;
	a->turn.failure[0] = '\0';
	a->turn.completed = completed(a);
	use_ends(u, a, a->turn.delay_ms);
}

static void use_found(void *arg, struct recover_wish *wish, const struct err *e);

static void use_next(struct spare_use *u)
{
	struct attachment *a = registry_by_id(u->d->registry, u->id);
	struct err e = ERR_INIT;

	if (!a || !is_wanted(a))
		use_ends(u, a, 0);
	else if (u->next >= a->spec.rescue.spare_count)
		use_fails(u, a, &u->why);
	else if (candidate_begin(
			 u->d, &a->spec, a->spec.rescue.spares[u->next++], use_found, u, &e) < 0)
		use_fails(u, a, &e);
}

static int use_start(
	struct spare_use *u, struct attachment *a, struct recover_wish *wish, struct err *e)
{
	const struct recover_caller caller = {.done = use_recovered, .arg = u};
	struct recover_before before;

	recover_look_before(a, &before);
	wish->allow = a->spec.rescue.allow;
	if (recover_check(&before, wish, a->spec.rescue.allow, e) < 0)
		return -1;
	return recover_start(u->d, a, wish, &caller, e);
}

static void use_found(void *arg, struct recover_wish *wish, const struct err *e)
{
	struct spare_use *u = arg;
	struct attachment *a = registry_by_id(u->d->registry, u->id);

	if (!e && a && is_wanted(a) && use_start(u, a, wish, &u->why) == 0)
		return;
	if (e)
		u->why = *e;
	else
		close_fd(&wish->fd);
	use_next(u);
}

void spare_look(struct daemon *d, struct attachment *a)
{
	struct spare_use *u;

	if (!is_wanted(a) || a->turn.is_busy || now_ms() < a->turn.again_ms)
		return;
	u = calloc(1, sizeof(*u));
	if (!u)
		return; /* it is looked at again */
	u->d = d;
	str_copy(u->id, sizeof(u->id), a->spec.id);
	use_begins(a);
	use_next(u);
}

/* --- ahead ------------------------------------------------------------------------------------ */

struct spare_ahead {
	struct attach_wish *w;
	unsigned int next;
};

static void ahead_end(struct spare_ahead *s, const struct err *e)
{
	struct attach_wish *w = s->w;

	free(s);
	w->done(w, e);
}

static void ahead_found(void *arg, struct recover_wish *wish, const struct err *e);

static void ahead_next(struct spare_ahead *s)
{
	struct attach_wish *w = s->w;
	struct err e = ERR_INIT;

	if (s->next == w->spec.rescue.spare_count)
		ahead_end(s, NULL);
	else if (candidate_begin(
			 w->d, &w->spec, w->spec.rescue.spares[s->next], ahead_found, s, &e) < 0)
		ahead_end(s, &e);
}

static bool is_listed(const struct attachment_rescue *r, const char *device, unsigned int before)
{
	for (unsigned int i = 0; i < before; i++)
		if (strcmp(r->spares[i], device) == 0)
			return true;
	return false;
}

/* It is open; from now on it is known by its id. */
static int ahead_check(struct spare_ahead *s, const struct recover_wish *wish, struct err *e)
{
	struct attach_wish *w = s->w;
	const struct recover_before before = {
		.spec = &w->spec,
		.disk = {.fs = w->disk.fs,
			.inode = w->disk.inode,
			.number = w->disk.number,
			.is_direct = w->disk.is_direct},
		.sectors = w->disk.size_bytes / 512,
		.block_size = w->disk.block_size,
	};
	const char *device = wish->spec.device;

	if (strcmp(device, w->spec.device) == 0 || is_listed(&w->spec.rescue, device, s->next))
		return err_set(e, ERR_USAGE, "SPARE", "%s is there twice", device);
	if (recover_check(&before, wish, w->spec.rescue.allow, e) < 0)
		return -1;
	str_copy(w->spec.rescue.spares[s->next++], PATH_MAX, device);
	return 0;
}

static void ahead_found(void *arg, struct recover_wish *wish, const struct err *e)
{
	struct spare_ahead *s = arg;
	struct err own = ERR_INIT;
	bool good = !e && ahead_check(s, wish, &own) == 0;

	if (e)
		own = *e;
	else
		close_fd(&wish->fd);
	if (good) {
		ahead_next(s);
		return;
	}
	err_wrap(&own, "the spare %.200s", s->w->spec.rescue.spares[s->next]);
	ahead_end(s, &own);
}

void spare_look_ahead(struct attach_wish *w)
{
	struct spare_ahead *s = calloc(1, sizeof(*s));
	struct err e = ERR_INIT;

	if (!s) {
		err_set(&e, ERR_FAILED, "MEMORY", "no memory to look at a spare");
		w->done(w, &e);
		return;
	}
	s->w = w;
	ahead_next(s);
}
