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
	[ATTACHMENT_PASSTHROUGH] = &attach_passthrough,
	[ATTACHMENT_EMULATED] = &attach_emulated,
};
static_assert(ARRAY_SIZE(attach_paths) == ATTACHMENT_PATHS, "a row for each path");

void attach_wish_release(struct attach_wish *w)
{
	close_fd(&w->disk_fd);
	if (w->is_coming)
		close_fd(&w->coming.lease_fd);
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
	if (late) {
		op->timer = op->d->loop->ops->add_timer(op->d->loop, delay_ms, late, op, e);
		if (!op->timer)
			return -1;
	}
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

void op_begin_attached(struct attach_op *op)
{
	op->a->kept = KEPT_ATTACHED;
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
	op->a->renewal = NULL;
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

/* It could not be undone or finished yet: the one who waits hears it, and that is his end. */
static void op_goes_on(struct attach_op *op, const struct err *e)
{
	if (op->caller.done)
		op->caller.done(op->caller.arg, op->a, e);
	op->caller.done = NULL;
	op->caller.progress = NULL;
	op->undone = op->a->kept == KEPT_PREPARING;
}

static void op_keep_up(const struct attach_op *op, const struct err *e)
{
	const struct attach_path *path = attach_paths[op->a->spec.path];

	if (op->resumed && path->adopt)
		path->adopt(op->d, op->a);
	else if (path->keep_up)
		path->keep_up(op->d, op->a, e);
}

/* For the one who asked while it was renewed. */
static void op_detach_next(const struct attach_op *op)
{
	struct err e = ERR_INIT;

	if (detach_start(op->d, op->a, &op->next, &e) < 0)
		op->next.done(op->next.arg, op->a, &e);
}

static void op_done(void *arg, const struct err *e)
{
	struct attach_op *op = arg, last = *op;
	bool gone;

	if (e && e->kind == ERR_PARTLY_DONE) {
		op_goes_on(op, e);
		return;
	}
	op_free(op);
	if ((last.verb == ATTACH_ATTACH || last.verb == ATTACH_ATTACH_DOMAIN) && !e && !last.undone)
		op_begin_attached(&last);
	gone = op_is_gone(&last, e);
	if (!gone)
		op_keep_up(&last, e);
	if (last.caller.done)
		last.caller.done(last.caller.arg, last.a, e);
	if (gone)
		registry_remove(last.d->registry, last.a);
	else if (last.next.done)
		op_detach_next(&last);
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

static const struct stages_table *op_table(const struct attachment *a, enum attach_verb verb)
{
	const struct attach_path *path = attach_paths[a->spec.path];
	const struct stages_table *const tables[] = {
		[ATTACH_ATTACH] = path->attach,
		[ATTACH_RENEW] = path->renew,
		[ATTACH_DETACH] = path->detach,
		[ATTACH_ATTACH_DOMAIN] = path->attach_domain,
		[ATTACH_DETACH_DOMAIN] = path->detach_domain,
		[ATTACH_LEAVE] = path->leave,
		[ATTACH_JOIN] = path->join,
	};

	return tables[verb];
}

bool op_takes_back(const struct attach_op *op)
{
	return op->verb == ATTACH_DETACH || op->verb == ATTACH_DETACH_DOMAIN ||
	       op->verb == ATTACH_LEAVE;
}

static int op_begin(struct attach_op *op, enum attach_verb verb, struct err *e)
{
	struct stages_owner owner = op_owner(op);

	op->verb = verb;
	if (verb == ATTACH_RENEW || verb == ATTACH_LEAVE || verb == ATTACH_JOIN)
		op->a->renewal = op;
	if (stages_start(op_table(op->a, verb), op->a->spec.id, &owner, e) == 0)
		return 0;
	op_free(op);
	return -1;
}

static int op_start(struct daemon *d, struct attachment *a, enum attach_verb verb,
	const struct attach_caller *caller, struct err *e)
{
	struct attach_op *op = op_new(d, a, caller, e);

	return op ? op_begin(op, verb, e) : -1;
}

int attach_leave(struct daemon *d, struct attachment *a, bool quarantine,
	const struct attach_caller *caller, struct err *e)
{
	struct attach_op *op = op_new(d, a, caller, e);

	if (!op)
		return -1;
	op->quarantines = quarantine;
	return op_begin(op, ATTACH_LEAVE, e);
}

int attach_join(struct daemon *d, struct attachment *a, const struct attachment_spec *spec,
	const struct attach_caller *caller, struct err *e)
{
	struct attach_op *op = op_new(d, a, caller, e);

	if (!op)
		return -1;
	op->joins = *spec;
	return op_begin(op, ATTACH_JOIN, e);
}

int attach_start(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e)
{
	return op_start(d, a, ATTACH_ATTACH, caller, e);
}

int attach_start_domain(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e)
{
	return op_start(d, a, ATTACH_ATTACH_DOMAIN, caller, e);
}

/*
 * A domain that libvirt does not have any more has no definition that it could be taken out of; nor is
 * one that has moved away, or did not arrive, to be changed for that.
 */
static enum attach_verb detach_verb(const struct daemon *d, const struct attachment *a)
{
	if (!a->spec.domain[0] || a->baton == BATON_AWAY || a->restoring ||
		(domains_are_known(d->domains) && !domains_find(d->domains, a->spec.domain)))
		return ATTACH_DETACH;
	return ATTACH_DETACH_DOMAIN;
}

int detach_start(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e)
{
	if (!a->renewal)
		return op_start(d, a, detach_verb(d, a), caller, e);
	if (a->renewal->next.done)
		return err_set(e, ERR_BUSY, "BUSY", "%s is about to be detached", a->spec.id);
	a->renewal->next = *caller;
	return 0;
}

void attach_renew(struct daemon *d, struct attachment *a)
{
	static const struct attach_caller nobody;
	struct err e = ERR_INIT;

	registry_set_state(d->registry, a, ATTACHMENT_RECOVERING, NULL);
	if (op_start(d, a, ATTACH_RENEW, &nobody, &e) < 0)
		attach_paths[a->spec.path]->keep_up(d, a, &e);
}

static int op_resume(struct attach_op *op, const struct journal_op *journal, struct err *e)
{
	struct stages_owner owner = op_owner(op);

	for (unsigned int verb = 0; verb < ATTACH_VERBS; verb++) {
		const struct stages_table *table = op_table(op->a, (enum attach_verb)verb);

		if (!table || strcmp(journal->verb, table->verb) != 0)
			continue;
		op->verb = (enum attach_verb)verb;
		op->undone = journal->direction != JOURNAL_COMMITTED;
		op->resumed = true;
		return stages_resume(table, journal, &owner, e);
	}
	return err_set(e, ERR_FAILED, "JOURNAL", "nobody knows how to %s it", journal->verb);
}

int attach_resume(struct daemon *d, struct attachment *a, const struct journal_op *journal,
	const struct attach_caller *caller, struct err *e)
{
	struct attach_op *op = op_new(d, a, caller, e);

	if (!op)
		return -1;
	if (op_resume(op, journal, e) == 0)
		return 0;
	op_free(op);
	return -1;
}
