/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The executor: every change to the host is a table of stages, each of which is journaled before it
 * acts. When one fails, it and those before it are undone, last first. One stage may be the point
 * of no return ("commits"): from its end on the operation is finished, however often it takes.
 *
 * run() and undo() may be called again for work that was done, half done or not begun: a crash does
 * not tell. Both return STAGE_DONE, STAGE_WAITS (stages_continue() will say how it ended), or -1.
 */
#pragma once

#include "lib/journal.h"
#include "lib/watch.h"

struct stages;

enum { STAGE_DONE = 0, STAGE_WAITS = 1 };

typedef int stage_fn(struct stages *x, void *arg, struct err *e);

struct stage {
	const char *name; /* for people ("start the worker") and for tests */
	stage_fn *run;    /* NULL: nothing to do on the way there */
	stage_fn *undo;   /* NULL: nothing to undo */
	/*
	 * No way back after this. Its run() may only write to the store, and does so in one
	 * transaction with the journal: it is over, or was never begun.
	 */
	bool commits;
};

struct stages_table {
	const char *verb; /* at most 15 bytes */
	const struct stage *stages;
	unsigned int count;
};

/*
 * How it ended: e is NULL, or the failure -- of kind ERR_ROLLED_BACK when something had been done
 * and is undone, ERR_PARTLY_DONE when what could not be undone or finished is tried again later;
 * then done() is called a second time, without e, when that has come to an end.
 */
typedef void stages_done_fn(void *arg, const struct err *e);

struct stages_owner {
	struct watch_loop *loop;
	struct store *store;
	stages_done_fn *done;
	/* Stage n of it begins; `undoing`: its undo. May be NULL. */
	void (*progress)(void *arg, const struct stages_table *table, unsigned int n, bool undoing);
	void *arg; /* of run, undo, done and progress */
};

/*
 * Begins `table` for `subject`. 0: done() will be called, from the loop; -1: nothing was done.
 */
int stages_start(const struct stages_table *table, const char *subject,
	const struct stages_owner *owner, struct err *e);

/* Goes on with what the journal has open since a crash. */
int stages_resume(const struct stages_table *table, const struct journal_op *op,
	const struct stages_owner *owner, struct err *e);

/* The stage that waits has ended; e is NULL, or why it failed. */
void stages_continue(struct stages *x, const struct err *e);

/* Forgets it, wherever it is; the journal knows. For the end of the daemon. */
void stages_abandon(struct stages *x);
