/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restore, as clients ask for it, and what a peer asks for before a move: to reserve the same, and to
 * say whether it could. The file is the client's: it travels as bytes, so that the daemon opens no
 * path for anybody.
 *
 * Theory of operation: restoring. The bytes are hostile until decoded. Then, for all attachments of
 * the VM before anything is changed:
 *
 *	plan	names mapped
 *	find	device found and free, no name taken
 *	look	each disk is opened by a hand, and is as it was (size, blocks)
 *
 * and then for each in turn, as an attach of its own with its own journal:
 *
 *	attach	the worker is born with the state, and holds itself against it
 *
 * When one of these fails, those before it are detached again, last first, and the answer is why.
 * Reserved, they wait for the baton (daemon/baton.c), which is in the store with the last of them. A
 * verdict ends after look(), and has all that is in the way of each disk.
 *
 * All of them are marked in the store until the last one is there, and one statement takes the marks
 * away: after a crash before it, reconcile detaches what is marked.
 */
#include <stdlib.h>

#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/file_look.h"
#include "daemon/inventory.h"
#include "daemon/restore.h"
#include "lib/cleanup.h"

/* --- what is asked for ------------------------------------------------------------------------ */

static const struct json_field restore_fields[] = {
	{"allow", JSON_FIELD_STRING, .offset = offsetof(struct restore_args, allow)},
	{"state", JSON_FIELD_STRING, .required = true, .max = VARLINK_MAX_MESSAGE,
		.offset = offsetof(struct restore_args, state)},
	{"vm", JSON_FIELD_STRING, .offset = offsetof(struct restore_args, vm)},
	{"map", JSON_FIELD_OBJECT, .offset = offsetof(struct restore_args, map)},
	{"inodes", JSON_FIELD_OBJECT, .offset = offsetof(struct restore_args, inodes)},
	{"targets", JSON_FIELD_OBJECT, .offset = offsetof(struct restore_args, targets)},
	{"move", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct restore_args, move)},
};
const struct json_params do_restore_params = {restore_fields, 4, sizeof(struct restore_args)};
const struct json_params do_reserve_params = {
	restore_fields + 1, ARRAY_SIZE(restore_fields) - 1, sizeof(struct restore_args)};
const struct json_params do_check_move_params = {
	restore_fields + 1, ARRAY_SIZE(restore_fields) - 1, sizeof(struct restore_args)};

const char *const restore_verbs[] = {"restore", "reserve", "check"};

/* --- look ------------------------------------------------------------------------------------- */

/* All that was to be found of this one is: a verdict goes on with the next one, everything else ends with
 * the first thing that is in the way. */
static void restore_next(struct restore *x, void (*next)(struct restore *x))
{
	struct problems *p = &x->each[x->next].problems;

	if (p->count && x->kind != RESTORE_JUDGE) {
		restore_fail(x, &p->each[0]);
		return;
	}
	x->next++;
	next(x);
}

static void look_next(struct restore *x)
{
	struct attach_wish *w;
	struct err e = ERR_INIT;

	while (x->next < x->s->attachment_count && x->each[x->next].is_lost)
		x->next++;
	if (x->next == x->s->attachment_count) {
		x->next = 0;
		if (x->kind == RESTORE_JUDGE)
			restore_judge(x);
		else
			restore_attach(x);
		return;
	}
	w = &x->each[x->next].wish;
	job_progress(
		x->job, 50 * x->next / x->s->attachment_count, "looking at %s", w->spec.device);
	if (problems_add(&x->each[x->next].problems, attach_paths[w->spec.path]->look(w, &e), &e))
		restore_next(x, look_next);
}

void restore_looked(struct attach_wish *w, const struct err *e)
{
	struct restoring *one = container_of(w, struct restoring, wish);
	struct restore *x = one->all;
	struct err own = ERR_INIT;

	if (e) {
		own = *e;
		problems_add(&one->problems, -1, &own);
	} else {
		restore_compare(x, one);
	}
	restore_next(x, look_next);
}

/* --- find ------------------------------------------------------------------------------------- */

static void find_next(struct restore *x);

static void restore_find(struct restore *x)
{
	restore_plan_device(x);
	restore_next(x, find_next);
}

/* A hand has looked where a path leads. */
static void restore_led(void *arg, const struct inventory_look *look, const struct err *e)
{
	struct restoring *one = arg;
	struct restore *x = one->all;
	struct inventory *inv = x->d->inventory; /* which outlives the restore */
	struct err own = ERR_INIT;

	if (e) {
		own = *e;
		one->is_lost = problems_add(&one->problems, -1, &own);
		restore_next(x, find_next);
		return;
	}
	inventory_set_look(inv, one->name, look);
	restore_find(x);
	inventory_set_look(inv, NULL, NULL);
}

static void find_next(struct restore *x)
{
	struct restoring *one = &x->each[x->next];
	struct err e = ERR_INIT;

	if (x->next == x->s->attachment_count) {
		x->next = 0;
		look_next(x);
	} else if (!inventory_wants_look(one->name)) {
		restore_find(x);
	} else if (file_look_begin(x->d->hands, one->name, restore_led, one, &e) < 0) {
		one->is_lost = problems_add(&one->problems, -1, &e);
		restore_next(x, find_next);
	}
}

/* --- the requests ----------------------------------------------------------------------------- */

/* What is locked is the VM; two who want one disk are told apart by the disk's own locks. */
static struct job *restore_job(struct request *rq, struct restore *x, struct err *e)
{
	char vm[REGISTRY_NAME_MAX + 8];
	const struct job_spec job = {.verb = restore_verbs[x->kind], .objects = {vm}};

	snprintf(vm, sizeof(vm), "vm:%s", x->vm);
	return job_start(x->d->jobs, rq, &job, e);
}

static int restore_ask(
	struct request *rq, const struct restore_args *args, enum restore_kind kind, struct err *e)
{
	struct restore *x = calloc(1, sizeof(*x));

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to restore");
	x->d = request_daemon(rq);
	x->kind = kind;
	if (restore_plan(x, args, e) == 0)
		x->job = restore_job(rq, x, e);
	if (!x->job) {
		restore_free(x);
		return -1;
	}
	find_next(x);
	return 0;
}

static void restore_begin(struct request *rq, const void *args, enum restore_kind kind)
{
	struct err e = ERR_INIT;

	if (restore_ask(rq, args, kind, &e) == 0)
		return;
	err_wrap(&e, "%s", restore_verbs[kind]);
	request_fail(rq, &e);
}

void do_restore(struct request *rq, const void *args)
{
	restore_begin(rq, args, RESTORE_NOW);
}

void do_reserve(struct request *rq, const void *args)
{
	restore_begin(rq, args, RESTORE_RESERVE);
}

void do_check_move(struct request *rq, const void *args)
{
	restore_begin(rq, args, RESTORE_JUDGE);
}
