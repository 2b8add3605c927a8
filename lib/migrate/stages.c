/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	UNDECIDED --fails--> UNDOING --stage 0 undone--> over (rolled back)
 *	    |  commits
 *	    v
 *	COMMITTED --last stage--> over (done)
 *
 * The journal's row holds the direction and the last stage begun. A crash therefore leaves:
 *	no row			never begun, or over
 *	UNDECIDED, n		0..n-1 done, n anything: undo n..0
 *	COMMITTED, n		up to n-1 done, n anything: run n..
 *	UNDOING, n		above n undone, n anything: undo n..0
 *
 * Undoing and finishing must not give up: what fails there is tried again every RETRY_MS, and at
 * the next start. The one who waits is told the first time (PARTLY_DONE).
 */
#include "lib/migrate/stages.h"

#include <stdlib.h>
#include <string.h>

#include "lib/fault.h"
#include "lib/log.h"

#define RETRY_MS 2000

struct stages {
	const struct stages_table *table;
	struct stages_owner owner;
	struct journal_op op;
	struct watch *step; /* timer: the next step is due */
	struct err cause;   /* why it is undone */
	bool told;          /* done() knows of the trouble */
	bool waiting;       /* for stages_continue() */
};

static void stages_free(struct stages *x)
{
	x->owner.loop->ops->remove(x->step);
	free(x);
}

void stages_abandon(struct stages *x)
{
	stages_free(x);
}

static void stages_tell(struct stages *x, const struct err *e)
{
	if (!x->told || !e)
		x->owner.done(x->owner.arg, e);
	x->told = x->told || e;
}

static bool stages_commit_ahead(const struct stages *x)
{
	for (unsigned int i = x->op.stage; i < x->table->count; i++)
		if (x->table->stages[i].commits)
			return true;
	return false;
}

/* What cannot be given up has failed: tell, and try again. */
static void stages_retry(struct stages *x, struct err *e)
{
	log_error("%s %s: %s: tried again later: %s", x->table->verb, x->op.subject,
		x->table->stages[x->op.stage].name, e->msg);
	if (x->cause.kind != ERR_NONE) {
		char undo[sizeof(e->msg)];

		memcpy(undo, e->msg, sizeof(undo));
		*e = x->cause;
		err_wrap(e, "not undone yet (%.200s), after", undo);
	}
	e->kind = ERR_PARTLY_DONE;
	stages_tell(x, e);
	x->owner.loop->ops->set_timer(x->step, RETRY_MS);
}

static void stages_over(struct stages *x)
{
	struct err e = ERR_INIT;
	bool undone = x->op.direction == JOURNAL_UNDOING;

	fault_point("%s.end", x->table->verb);
	if (journal_close(x->owner.store, &x->op, &e) < 0) {
		stages_retry(x, &e);
		return;
	}
	fault_point("%s.over", x->table->verb);
	if (undone && !x->told && x->cause.kind != ERR_NONE) {
		x->cause.kind = ERR_ROLLED_BACK;
		x->owner.done(x->owner.arg, &x->cause);
	} else {
		x->owner.done(x->owner.arg, NULL);
	}
	stages_free(x);
}

/* One stage is over: on to the next one of its direction. */
static void stages_advance(struct stages *x)
{
	struct err e = ERR_INIT;
	bool undoing = x->op.direction == JOURNAL_UNDOING;

	fault_point("%s.%s.%s", x->table->verb, x->table->stages[x->op.stage].name,
		undoing ? "undone" : "done");
	if (undoing ? x->op.stage == 0 : x->op.stage + 1 == x->table->count) {
		stages_over(x);
		return;
	}
	x->op.stage += undoing ? -1u : 1u;
	if (journal_write(x->owner.store, &x->op, &e) == 0) {
		fault_point("%s.%s.%s", x->table->verb, x->table->stages[x->op.stage].name,
			undoing ? "undo" : "begun");
		x->owner.loop->ops->set_timer(x->step, 0);
		return;
	}
	/* Not written, so not begun. */
	x->op.stage += undoing ? 1u : -1u;
	stages_continue(x, &e);
}

static void stages_undo(struct stages *x, const struct err *cause)
{
	struct err e = ERR_INIT;

	x->cause = *cause;
	x->op.direction = JOURNAL_UNDOING;
	/* A crash while it cannot be written comes to the same: undecided is undone. */
	if (journal_write(x->owner.store, &x->op, &e) < 0)
		log_warning("%s %s: %s", x->table->verb, x->op.subject, e.msg);
	x->owner.loop->ops->set_timer(x->step, 0);
}

void stages_continue(struct stages *x, const struct err *e)
{
	struct err copy;

	x->waiting = false;
	if (!e) {
		stages_advance(x);
		return;
	}
	copy = *e;
	err_wrap(&copy, "%s", x->table->stages[x->op.stage].name);
	if (x->op.direction == JOURNAL_UNDECIDED && stages_commit_ahead(x))
		stages_undo(x, &copy);
	else
		stages_retry(x, &copy);
}

/* The point of no return: the stage and the journal's word for it are one transaction. */
static int stages_commit(struct stages *x, const struct stage *stage, struct err *e)
{
	struct store *s = x->owner.store;

	if (store_begin(s, e) < 0)
		return -1;
	x->op.direction = JOURNAL_COMMITTED;
	if (stage->run(x, x->owner.arg, e) == STAGE_DONE && journal_write(s, &x->op, e) == 0 &&
		store_commit(s, e) == 0)
		return STAGE_DONE;
	store_rollback(s);
	x->op.direction = JOURNAL_UNDECIDED;
	return -1;
}

static void stages_step(void *arg, unsigned int events)
{
	struct stages *x = arg;
	const struct stage *stage = &x->table->stages[x->op.stage];
	bool undoing = x->op.direction == JOURNAL_UNDOING;
	stage_fn *fn = undoing ? stage->undo : stage->run;
	struct err e = ERR_INIT;
	int rc;

	(void)events;
	if (x->owner.progress)
		x->owner.progress(x->owner.arg, x->table, x->op.stage, undoing);
	x->waiting = true;
	if (stage->commits && x->op.direction == JOURNAL_UNDECIDED)
		rc = stages_commit(x, stage, &e);
	else if (stage->commits && undoing)
		rc = STAGE_DONE; /* its transaction never was */
	else
		rc = fn ? fn(x, x->owner.arg, &e) : STAGE_DONE;
	if (rc != STAGE_WAITS)
		stages_continue(x, rc < 0 ? &e : NULL);
}

static struct stages *stages_new(
	const struct stages_table *table, const struct stages_owner *owner, struct err *e)
{
	struct stages *x = calloc(1, sizeof(*x));

	if (!x) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an operation");
		return NULL;
	}
	x->table = table;
	x->owner = *owner;
	x->step = owner->loop->ops->add_timer(owner->loop, 0, stages_step, x, e);
	if (!x->step) {
		free(x);
		return NULL;
	}
	return x;
}

int stages_start(const struct stages_table *table, const char *subject,
	const struct stages_owner *owner, struct err *e)
{
	struct stages *x = stages_new(table, owner, e);

	if (!x)
		return -1;
	str_copy(x->op.verb, sizeof(x->op.verb), table->verb);
	str_copy(x->op.subject, sizeof(x->op.subject), subject);
	if (journal_open(owner->store, &x->op, e) < 0) {
		stages_free(x);
		return -1;
	}
	fault_point("%s.%s.begun", table->verb, table->stages[0].name);
	return 0;
}

int stages_resume(const struct stages_table *table, const struct journal_op *op,
	const struct stages_owner *owner, struct err *e)
{
	struct stages *x;

	if (op->stage >= table->count)
		return err_set(
			e, ERR_FAILED, "JOURNAL", "%s has no stage %u", table->verb, op->stage);
	x = stages_new(table, owner, e);
	if (!x)
		return -1;
	x->op = *op;
	if (x->op.direction == JOURNAL_UNDECIDED)
		x->op.direction = JOURNAL_UNDOING;
	return 0;
}
