/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restoring: attachment after attachment, all of them or none (do_restore.c has the theory). */
#include <stdlib.h>
#include <string.h>

#include "daemon/restore.h"
#include "lib/cleanup.h"
#include "lib/fault.h"

/* --- the end ---------------------------------------------------------------------------------- */

void restore_free(struct restore *x)
{
	for (uint32_t i = 0; x->each && i < x->s->attachment_count; i++)
		attach_wish_release(&x->each[i].wish);
	free(x->each);
	iostate_free(x->s);
	free(x);
}

void restore_fail(struct restore *x, const struct err *e)
{
	struct err words = *e;

	err_wrap(&words, "%s %s", restore_verbs[x->kind], x->vm);
	job_fail(x->job, &words);
	restore_free(x);
}

static void restore_done(struct restore *x)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.attachments/1");
	json_out_array(&o, "attachments");
	for (uint32_t i = 0; i < x->s->attachment_count; i++) {
		struct attachment *a = registry_by_id(x->d->registry, x->each[i].id);

		if (a)
			registry_look(x->d->registry, a);
		if (a)
			attachment_put(x->d->registry, a, &o, NULL);
	}
	json_out_end(&o);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!text) {
		err_set(&e, ERR_FAILED, "MEMORY", "it is done, but there is no memory to say so");
		restore_fail(x, &e);
		return;
	}
	job_done(x->job, text, len);
	restore_free(x);
}

/* --- back ------------------------------------------------------------------------------------- */

static void undo_step(struct restore *x);

static void undo_detached(void *arg, struct attachment *a, const struct err *e)
{
	struct restore *x = arg;

	if (e) { /* tried again later by itself; but it is not as it was */
		x->why.kind = ERR_PARTLY_DONE;
		err_evidence(&x->why, "%s cannot be detached again: %.200s", a->spec.id, e->msg);
	}
	undo_step(x);
}

/* Takes away the last one that is there. */
static void undo_step(struct restore *x)
{
	const struct attach_caller caller = {.done = undo_detached, .arg = x};

	while (x->next > 0) {
		struct restoring *one = &x->each[--x->next];
		struct attachment *a = registry_by_id(x->d->registry, one->id);
		struct err e = ERR_INIT;

		if (!a)
			continue;
		if (detach_start(x->d, a, &caller, &e) == 0)
			return;
		x->why.kind = ERR_PARTLY_DONE;
		err_evidence(&x->why, "%s cannot be detached again: %.200s", a->spec.id, e.msg);
	}
	restore_fail(x, &x->why);
}

static void restore_undo(struct restore *x, const struct err *why)
{
	x->why = *why;
	if (x->next > 0 && x->why.kind != ERR_PARTLY_DONE)
		x->why.kind = ERR_ROLLED_BACK;
	undo_step(x);
}

/* --- there ------------------------------------------------------------------------------------ */

static void one_attached(void *arg, struct attachment *a, const struct err *e)
{
	struct restore *x = arg;

	(void)a;
	if (e) {
		restore_undo(x, e);
		return;
	}
	x->next++;
	restore_attach(x);
}

static int attach_one(struct restore *x, struct restoring *one, struct err *e)
{
	const struct attach_caller caller = {.done = one_attached, .arg = x};
	struct registry *r = x->d->registry;
	struct attach_wish *w = &one->wish;
	struct attachment *a;

	registry_next_id(r, w->spec.id);
	a = registry_add(r, &w->spec, e);
	if (!a)
		return -1;
	str_copy(one->id, sizeof(one->id), w->spec.id);
	attach_paths[w->spec.path]->take(a, w);
	a->restoring = true;
	if (x->kind == RESTORE_RESERVE) {
		a->baton = BATON_COMING;
		a->gate = SESSION_GATE_SHUT | SESSION_GATE_IDLE;
	}
	a->incoming = incoming_new(x->s, (uint32_t)(one - x->each), e);
	if (a->incoming && attach_start(x->d, a, &caller, e) == 0)
		return 0;
	registry_remove(r, a);
	return -1;
}

static int keep_all(struct restore *x, struct err *e)
{
	struct store *store = x->d->store;

	if (store_begin(store, e) < 0)
		return -1;
	if (registry_keep_restored(x->d->registry, x->vm, e) == 0 &&
		(x->kind != RESTORE_RESERVE || baton_keep_reserved(x->d, x->move, x->vm, e) == 0) &&
		store_commit(store, e) == 0)
		return 0;
	store_rollback(store);
	return -1;
}

/* The point of no return. */
static void restore_commit(struct restore *x)
{
	struct err e = ERR_INIT;

	fault_point("restore.all");
	if (keep_all(x, &e) < 0) {
		restore_undo(x, &e);
		return;
	}
	fault_point("restore.kept");
	for (uint32_t i = 0; i < x->s->attachment_count; i++) {
		struct attachment *a = registry_by_id(x->d->registry, x->each[i].id);

		if (a)
			a->restoring = false;
	}
	if (x->kind == RESTORE_RESERVE)
		baton_reserved(x->d, x->move, x->vm);
	restore_done(x);
}

void restore_attach(struct restore *x)
{
	struct err e = ERR_INIT;

	if (x->next == x->s->attachment_count) {
		restore_commit(x);
		return;
	}
	job_progress(x->job, 50 + 50 * x->next / x->s->attachment_count, "attaching %s",
		x->each[x->next].wish.spec.name);
	if (attach_one(x, &x->each[x->next], &e) < 0)
		restore_undo(x, &e);
}
