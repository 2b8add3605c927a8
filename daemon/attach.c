/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operation that attaches or detaches, whatever the path: its life from the first stage to the
 * last, and the stages that all paths have.
 */
#include "daemon/attach_op.h"

#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"

const struct attach_path *const attach_paths[] = {
	[ATTACHMENT_PARAVIRT] = &attach_paravirt,
};
static_assert(ARRAY_SIZE(attach_paths) == ATTACHMENT_PATHS, "a row for each path");

void attach_wish_release(struct attach_wish *w)
{
	close_fd(&w->disk_fd);
}

/* --- waiting ---------------------------------------------------------------------------------- */

void op_wake(struct attach_op *op, const struct err *e)
{
	struct stages *x = op->waits;

	op->waits = NULL;
	op->a->on_worker = NULL;
	op->d->loop->ops->remove(op->timer);
	op->timer = NULL;
	stages_continue(x, e);
}

int op_wait(struct attach_op *op, struct stages *x, void (*on_worker)(void *arg), watch_fn *late,
	uint64_t delay_ms, struct err *e)
{
	op->timer = op->d->loop->ops->add_timer(op->d->loop, delay_ms, late, op, e);
	if (!op->timer)
		return -1;
	op->waits = x;
	op->a->on_worker = on_worker;
	op->a->on_worker_arg = op;
	return STAGE_WAITS;
}

/* --- stages of every path ---------------------------------------------------------------------- */

int op_keep(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	(void)x;
	return registry_keep(op->d->registry, op->a, e);
}

int op_unkeep(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	(void)x;
	return registry_unkeep(op->d->registry, op->a, e);
}

int op_keep_attached(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	(void)x;
	return registry_keep_as(op->d->registry, op->a, KEPT_ATTACHED, e);
}

int op_keep_detaching(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	(void)x;
	return registry_keep_as(op->d->registry, op->a, KEPT_DETACHING, e);
}

void op_begin_detaching(struct attach_op *op)
{
	op->a->kept = KEPT_DETACHING;
	registry_set_state(op->d->registry, op->a, ATTACHMENT_DETACHING, NULL);
}

/* --- the operation ---------------------------------------------------------------------------- */

static void op_free(struct attach_op *op)
{
	op->d->loop->ops->remove(op->timer);
	op->a->on_worker = NULL;
	op->a->busy = false;
	close_fd(&op->listen_fd);
	free(op);
}

/* Whether it exists no more: never was, or is no longer. */
static bool op_is_gone(const struct attach_op *op, const struct err *e)
{
	if (e)
		return e->kind == ERR_ROLLED_BACK && op->a->kept == KEPT_PREPARING;
	return op->a->kept != KEPT_ATTACHED;
}

static void op_done(void *arg, const struct err *e)
{
	struct attach_op *op = arg;
	struct attachment *a = op->a;
	struct daemon *d = op->d;
	bool gone;

	if (op->attaching && !e) {
		a->kept = KEPT_ATTACHED;
		a->busy = false;
		attach_paths[a->spec.path]->keep_up(d, a);
	}
	gone = op_is_gone(op, e);
	if (op->caller.done)
		op->caller.done(op->caller.arg, a, e);
	if (e && e->kind == ERR_PARTLY_DONE) {
		op->caller.done = NULL; /* the second end is nobody's, */
		op->caller.progress = NULL;
		op->attaching = false; /* and can only be that of the undo */
		return;
	}
	op_free(op);
	if (gone)
		registry_remove(d->registry, a);
}

static void op_progress(void *arg, const struct stages_table *table, unsigned int n, bool undoing)
{
	struct attach_op *op = arg;
	char text[64];

	snprintf(text, sizeof(text), "%s%s", undoing ? "undo: " : "", table->stages[n].name);
	if (op->caller.progress)
		op->caller.progress(op->caller.arg, text, 100 * n / table->count);
}

static struct attach_op *op_new(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e)
{
	struct attach_op *op = calloc(1, sizeof(*op));

	if (!op) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an operation");
		return NULL;
	}
	*op = (struct attach_op){.d = d, .a = a, .caller = *caller, .listen_fd = -1};
	a->busy = true;
	return op;
}

static struct stages_owner op_owner(struct attach_op *op)
{
	return (struct stages_owner){
		.loop = op->d->loop,
		.store = registry_store(op->d->registry),
		.done = op_done,
		.progress = op_progress,
		.arg = op,
	};
}

static int op_start(struct daemon *d, struct attachment *a, bool attaching,
	const struct attach_caller *caller, struct err *e)
{
	const struct attach_path *path = attach_paths[a->spec.path];
	struct attach_op *op = op_new(d, a, caller, e);
	struct stages_owner owner;

	if (!op)
		return -1;
	op->attaching = attaching;
	owner = op_owner(op);
	if (stages_start(attaching ? path->attach : path->detach, a->spec.id, &owner, e) == 0)
		return 0;
	op_free(op);
	return -1;
}

int attach_start(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e)
{
	return op_start(d, a, true, caller, e);
}

int detach_start(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e)
{
	return op_start(d, a, false, caller, e);
}

int attach_resume(struct daemon *d, struct attachment *a, const struct journal_op *journal,
	const struct attach_caller *caller, struct err *e)
{
	const struct attach_path *path = attach_paths[a->spec.path];
	const struct stages_table *table =
		strcmp(journal->verb, path->attach->verb) == 0 ? path->attach : path->detach;
	struct attach_op *op = op_new(d, a, caller, e);
	struct stages_owner owner;

	if (!op)
		return -1;
	op->attaching = table == path->attach && journal->direction == JOURNAL_COMMITTED;
	owner = op_owner(op);
	if (stages_resume(table, journal, &owner, e) == 0)
		return 0;
	op_free(op);
	return -1;
}
