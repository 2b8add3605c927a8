/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Quiesce and resume: shutting and opening the gates of one attachment, or of all that a VM has, as
 * one act, journaled. Asked for by clients (daemon/do_quiesce.c), and gone on with after a crash.
 */
#pragma once

#include "daemon/registry.h"
#include "lib/migrate/stages.h"

struct daemon;

#define QUIESCE_TIMEOUT_MS     5000u
#define QUIESCE_TIMEOUT_MAX_MS 3600000u

struct quiesce_caller {
	/* How it ended, as stages_done_fn; called from the loop. */
	void (*done)(void *arg, const struct err *e);
	/* What stage begins; may be NULL. */
	void (*progress)(void *arg, const char *stage, unsigned int percent);
	void *arg;
};

/* What a target means: one attachment (vm is ""), or all attachments of a VM. */
struct quiesce_target {
	struct attachment *a;
	char vm[REGISTRY_NAME_MAX];
};

/* By the names of an attachment or of a VM; ERR_NOT_FOUND, or ERR_USAGE when it could be both. */
int quiesce_find(
	struct registry *r, const char *name, struct quiesce_target *target, struct err *e);

/* The attachments that the target stands for come one after the other; NULL: no more. */
struct attachment *quiesce_next(
	struct registry *r, const struct quiesce_target *target, struct attachment *after);

/* Whether all of them are quiesced (or none of them). */
bool quiesce_is(struct registry *r, const struct quiesce_target *target, bool quiesced);

/*
 * Shuts all gates and waits until nothing is in flight; past timeout_ms all that were open are
 * opened again, and the failure (ERR_ROLLED_BACK) says which requests are stuck. -1: not begun,
 * since one of them cannot be quiesced (path), or another operation is at it.
 * `carry`: what can be shown to be cancelled is not waited for; it stays recorded in flight.
 */
int quiesce_start(struct daemon *d, const struct quiesce_target *target, uint64_t timeout_ms,
	bool carry, const struct quiesce_caller *caller, struct err *e);

/* Opens all gates. Waits for no worker that does not run: it will be told. */
int quiesce_undo(struct daemon *d, const struct quiesce_target *target,
	const struct quiesce_caller *caller, struct err *e);

/* What the journal has open. */
bool quiesce_is_verb(const char *verb);
int quiesce_go_on(struct daemon *d, const struct journal_op *op,
	const struct quiesce_caller *caller, struct err *e);
