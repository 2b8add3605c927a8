/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * bind:	take it as "+ID"	| undo: give back all that "+ID" has
 *		keep it			  commits: "+ID" becomes "bind"
 *
 * release:	let go of it		  commits: "bind" becomes "-ID", for what is asked
 *		give it back		  all that "-ID" has
 *
 * The holder's name in the store is thus the state, and its device the journal's subject. Binding
 * what is bound already changes the driver and keeps what was there before the first time.
 */
#include "daemon/binding_keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/binding_internal.h"
#include "daemon/daemon.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "daemon/unknown.h"
#include "lib/iommu/group.h"

/* One bind or release that goes on. */
struct keep_op {
	struct daemon *d;
	struct binding_caller caller;
	struct stages *waits;
	char device[BINDING_ID_MAX], driver[BIND_DRIVER_MAX], holder[BINDING_HOLDER_MAX];
	bool whole_group;
	struct binding_plan plan; /* of a release that begins */
};

/* --- the stages ------------------------------------------------------------------------------- */

static void keep_wake(void *arg, const struct err *e)
{
	struct keep_op *op = arg;

	stages_continue(op->waits, e);
}

static int bind_take(struct stages *x, void *arg, struct err *e)
{
	struct keep_op *op = arg;
	const struct binding_ask ask = {.device = op->device,
		.driver = op->driver,
		.holder = op->holder,
		.whole_group = op->whole_group};

	op->waits = x;
	return binding_take(op->d, &ask, keep_wake, op, e) < 0 ? -1 : STAGE_WAITS;
}

static int keep_give_back(struct stages *x, void *arg, struct err *e)
{
	struct keep_op *op = arg;

	op->waits = x;
	return binding_give_back(op->d, op->holder, keep_wake, op, e) < 0 ? -1 : STAGE_WAITS;
}

static int bind_commit(struct stages *x, void *arg, struct err *e)
{
	static const char *const steps[] = {
		"UPDATE binding SET driver = (SELECT new.driver FROM binding AS new"
		"  WHERE new.device = binding.device AND new.holder = ?1)"
		" WHERE holder = '" BINDING_KEPT "'"
		"  AND device IN (SELECT device FROM binding WHERE holder = ?1)",
		"DELETE FROM binding WHERE holder = ?1"
		"  AND device IN (SELECT device FROM binding WHERE holder = '" BINDING_KEPT "')",
		"UPDATE binding SET holder = '" BINDING_KEPT "' WHERE holder = ?1",
	};
	const struct keep_op *op = arg;

	(void)x;
	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++)
		if (store_run(op->d->store, steps[i], STORE_BIND(STORE_TEXT(op->holder)), NULL,
			    NULL, e) < 0)
			return -1;
	return STAGE_DONE;
}

static int release_commit(struct stages *x, void *arg, struct err *e)
{
	static const char sql[] = "UPDATE binding SET holder = ?"
				  " WHERE holder = '" BINDING_KEPT "' AND device = ?";
	const struct keep_op *op = arg;

	(void)x;
	for (size_t i = 0; i < op->plan.count; i++)
		if (store_run(op->d->store, sql,
			    STORE_BIND(STORE_TEXT(op->holder), STORE_TEXT(op->plan.members[i].id)),
			    NULL, NULL, e) < 0)
			return -1;
	return STAGE_DONE;
}

static const struct stage bind_stages[] = {
	{"change the driver", .run = bind_take, .undo = keep_give_back},
	{"keep the binding", .run = bind_commit, .commits = true},
};
const struct stages_table bind_table = {"bind", bind_stages, ARRAY_SIZE(bind_stages)};

static const struct stage release_stages[] = {
	{"forget the binding", .run = release_commit, .commits = true},
	{"give the driver back", .run = keep_give_back},
};
const struct stages_table release_table = {"release", release_stages, ARRAY_SIZE(release_stages)};

/* --- the operation ---------------------------------------------------------------------------- */

static void keep_done(void *arg, const struct err *e)
{
	struct keep_op *op = arg;
	struct binding_caller caller = op->caller;

	op->caller =
		(struct binding_caller){0}; /* a second end, of what was tried again, is nobody's */
	if (!e || e->kind != ERR_PARTLY_DONE)
		free(op);
	if (caller.done)
		caller.done(caller.arg, e);
}

static void keep_progress(void *arg, const struct stages_table *table, unsigned int n, bool undoing)
{
	struct keep_op *op = arg;
	char text[64];

	snprintf(text, sizeof(text), "%s%s", undoing ? "undo: " : "", table->stages[n].name);
	if (op->caller.progress)
		op->caller.progress(op->caller.arg, text, 100 * n / table->count);
}

static struct keep_op *keep_new(struct daemon *d, const char *device,
	const struct stages_table *table, const struct binding_caller *caller, struct err *e)
{
	struct keep_op *op = calloc(1, sizeof(*op));

	if (!op) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an operation");
		return NULL;
	}
	op->d = d;
	op->caller = *caller;
	str_copy(op->device, sizeof(op->device), device);
	snprintf(op->holder, sizeof(op->holder), "%c%s", table == &bind_table ? '+' : '-', device);
	return op;
}

/* Begins it, or goes on with what the journal has; `op` is freed where that fails. */
static int keep_run(struct keep_op *op, const struct stages_table *table,
	const struct journal_op *journal, struct err *e)
{
	const struct stages_owner owner = {.loop = op->d->loop,
		.store = op->d->store,
		.done = keep_done,
		.progress = keep_progress,
		.arg = op};
	int rc = journal ? stages_resume(table, journal, &owner, e)
			 : stages_start(table, op->device, &owner, e);

	if (rc < 0)
		free(op);
	return rc;
}

int bind_start(struct daemon *d, const struct binding_ask *ask, const struct binding_caller *caller,
	struct err *e)
{
	struct keep_op *op = keep_new(d, ask->device, &bind_table, caller, e);

	if (!op)
		return -1;
	str_copy(op->driver, sizeof(op->driver), ask->driver);
	op->whole_group = ask->whole_group;
	return keep_run(op, &bind_table, NULL, e);
}

int release_start(struct daemon *d, const struct binding_plan *plan,
	const struct binding_caller *caller, struct err *e)
{
	struct keep_op *op = keep_new(d, plan->members[0].id, &release_table, caller, e);

	if (!op)
		return -1;
	op->plan = *plan;
	return keep_run(op, &release_table, NULL, e);
}

bool binding_owns(const struct journal_op *op)
{
	return strcmp(op->verb, bind_table.verb) == 0 || strcmp(op->verb, release_table.verb) == 0;
}

int binding_resume(struct daemon *d, const struct journal_op *journal,
	const struct binding_caller *caller, struct err *e)
{
	const struct stages_table *table =
		strcmp(journal->verb, bind_table.verb) == 0 ? &bind_table : &release_table;
	struct keep_op *op = keep_new(d, journal->subject, table, caller, e);

	return op ? keep_run(op, table, journal, e) : -1;
}

/* --- what may begin ---------------------------------------------------------------------------- */

static int see_open(void *arg, const struct store_row *row)
{
	const char *holder = store_row_text(row, 0);

	str_copy(arg, BINDING_HOLDER_MAX, holder ? holder : "");
	return 1;
}

static int check_member(struct daemon *d, const char *id, struct err *e)
{
	static const char sql[] = "SELECT holder FROM binding WHERE device = ?"
				  " AND substr(holder, 1, 1) IN ('+', '-') LIMIT 1";
	char holder[BINDING_HOLDER_MAX] = "";

	if (store_run(d->store, sql, STORE_BIND(STORE_TEXT(id)), see_open, holder, e) < 0)
		return -1;
	if (!holder[0])
		return 0;
	err_set(e, ERR_BUSY, "BUSY", "a %s of %s is not finished yet",
		holder[0] == '+' ? "bind" : "release", holder + 1);
	err_evidence(e, "the store has %s as \"%s\"", id, holder);
	return err_fix(e, "it is tried again every few seconds; iovctl show %s tells what it is at",
		holder + 1);
}

int binding_check_over(struct daemon *d, const struct binding_plan *plan, struct err *e)
{
	for (size_t i = 0; i < plan->count; i++)
		if (check_member(d, plan->members[i].id, e) < 0)
			return -1;
	return 0;
}

/* --- what would be released ------------------------------------------------------------------- */

int release_check(struct daemon *d, const struct binding_plan *plan, struct err *e)
{
	const struct host_use_own own = {.unknown = true}; /* this is how that ends */

	for (size_t i = 0; i < plan->count; i++) {
		const char *id = plan->members[i].id;
		const struct device *device = inventory_find(d->inventory, DEVICE_PCI, id);

		if (!device)
			return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", id);
		if (host_use_check_own(d->inventory, device, &own, e) < 0)
			return -1;
	}
	return 0;
}

static int release_add_companions(struct daemon *d, struct binding_plan *plan, struct err *e)
{
	struct iommu_group group;
	char number[24];

	snprintf(number, sizeof(number), "%lld", (long long)plan->group);
	if (iommu_group_read(inventory_sysroot(d->inventory), number, &group, e) < 0)
		return -1;
	for (size_t i = 0; i < group.member_count && plan->count < BINDING_MAX; i++) {
		const struct iommu_member *m = &group.members[i];

		if (strcmp(m->id, plan->members[0].id) == 0 ||
			!(binding_find(d, m->id, BINDING_KEPT, NULL) || unknown_is(d, m->id)))
			continue;
		str_copy(plan->members[plan->count].id, BINDING_ID_MAX, m->id);
		str_copy(plan->members[plan->count++].driver, BIND_DRIVER_MAX, m->driver);
	}
	iommu_group_release(&group);
	return 0;
}

int release_plan(struct daemon *d, const char *id, bool whole_group, struct binding_plan *plan,
	struct err *e)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, id);

	*plan = (struct binding_plan){.group = device ? device->iommu_group : -1, .count = 1};
	str_copy(plan->members[0].id, BINDING_ID_MAX, id);
	if (device)
		str_copy(plan->members[0].driver, BIND_DRIVER_MAX, device->driver);
	if (whole_group && plan->group >= 0 && release_add_companions(d, plan, e) < 0)
		return -1;
	return 0;
}
