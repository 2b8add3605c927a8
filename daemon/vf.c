/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * vf-create, from `count` VFs (which are ours, or none) to `wanted`, which is not 0:
 *	keep it (changing)		| undo: as it was, with the mark of those made again
 *	keep drivers from new VFs	| undo: as it was
 *					| undo: set those made again as they were
 *	remove the VFs there are	| undo: make them again
 *	share the controller's queues	| undo: all for the PF	  (NVMe: lib/nvme_virt.h)
 *	make the VFs			| undo: remove them
 *	give them their queues					  (NVMe)
 *	set them as they were
 *	let drivers have new VFs	| undo: not yet
 *	keep it as made			  commits
 *
 * vf-remove:
 *	keep it as removing		  commits
 *	remove the VFs
 *	take back their queues		  (NVMe)
 *	forget it
 *
 * vf-set:
 *	keep it				| undo: forget it
 *	set it				| undo: as it was
 *	keep it as set			  commits
 *
 * The kernel has no way from one number of VFs to another but by none. Its drivers would be given
 * the new VFs as they are born, and later whenever a driver is loaded: sriov_drivers_autoprobe stops
 * the first, a driver_override that names none, which each VF gets before autoprobe is on again, the
 * second. What somebody else made meanwhile (VF-FOREIGN) is left alone by undoing and finishing:
 * then ours are gone anyway.
 *
 * The VFs of an NVMe controller work only with queues that their PF shares, for which it is reset:
 * not while the host uses it. VFs without queues are still VFs, so what goes wrong there is logged
 * and not undone.
 *
 * A start of the host leaves no VFs, and the store's wish: it is then made again by vf-create, from
 * the state VF_REMAKING, in which undoing keeps the wish for the next start.
 */
#include "daemon/vf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "lib/log.h"
#include "lib/nvme_virt.h"

/* One change that goes on. */
struct vf_op {
	struct daemon *d;
	struct vf_caller caller;
	struct stages *waits;      /* the executor, while a hand works */
	struct vf_row row;         /* of a change of the count */
	bool again;                /* the host was started anew */
	uint32_t next;             /* of the settings that are set: the index after the last one */
	struct vf_setting_row set; /* of a change of settings */
};

/* --- hands ------------------------------------------------------------------------------------ */

static void op_continue(struct vf_op *op, const struct err *e)
{
	struct stages *x = op->waits;

	op->waits = NULL;
	stages_continue(x, e);
}

static int op_waits(struct vf_op *op, struct stages *x, int rc)
{
	if (rc < 0)
		return -1;
	op->waits = x;
	return STAGE_WAITS;
}

static void op_looked(void *arg, const struct sriov_facts *facts, const struct err *e)
{
	struct vf_op *op = arg;

	if (facts && facts->count) {
		op->row.mark = facts->mark;
		str_copy(op->row.boot, sizeof(op->row.boot), facts->boot);
	}
	op_continue(op, e);
}

/* What is somebody else's now is over for us. */
static void op_left(void *arg, const struct sriov_facts *facts, const struct err *e)
{
	struct vf_op *op = arg;
	bool foreign = e && strcmp(e->code, "VF-FOREIGN") == 0;

	(void)facts;
	if (foreign)
		log_warning("%s: %s: left alone", op->row.pf, e->msg);
	op_continue(op, foreign ? NULL : e);
}

static int op_probes(struct vf_op *op, struct stages *x, bool on, struct err *e)
{
	if (!op->row.probes)
		return STAGE_DONE;
	return op_waits(op, x, vf_probes(op->d, op->row.pf, on, op_left, op, e));
}

/* --- vf-create -------------------------------------------------------------------------------- */

static int create_keep(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	(void)x;
	op->row.kept = op->again ? VF_REMAKING : VF_CHANGING;
	return vf_row_keep(op->d->store, &op->row, e);
}

static int create_unkeep(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;
	struct vf_row *row = &op->row;

	(void)x;
	if (!op->again && !row->count)
		return vf_row_forget(op->d->store, row->pf, e);
	if (op->again) {
		row->count = row->wanted;
		row->boot[0] = '\0';
	}
	row->kept = VF_MADE;
	return vf_row_keep(op->d->store, row, e);
}

static int create_hold(struct stages *x, void *arg, struct err *e)
{
	return op_probes(arg, x, false, e);
}

static int create_let(struct stages *x, void *arg, struct err *e)
{
	return op_probes(arg, x, true, e);
}

static int create_remove_old(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;
	const struct vf_row *row = &op->row;

	if (!row->count)
		return STAGE_DONE;
	return op_waits(
		op, x, vf_count(op->d, row->pf, row->count, 0, row->mark, op_looked, op, e));
}

static int create_make_old(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	if (!op->row.count)
		return STAGE_DONE;
	return op_waits(op, x, vf_count(op->d, op->row.pf, 0, op->row.count, 0, op_looked, op, e));
}

static void op_shared(void *arg, const struct sriov_facts *facts, const struct err *e)
{
	struct vf_op *op = arg;

	(void)facts;
	if (e)
		log_warning("%s: queues for its virtual functions: %s%s%s", op->row.pf, e->msg,
			e->evidence[0] ? ": " : "", e->evidence);
	op_continue(op, NULL);
}

/* Its reset would be felt by who uses it. */
static bool may_reset(struct daemon *d, const char *pf)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, pf);

	return device && host_use_check(d->inventory, device, NULL) == 0;
}

static int op_share(struct vf_op *op, struct stages *x, uint32_t vfs, struct err *e)
{
	char name[32];

	if (!nvme_virt_find(inventory_sysroot(op->d->inventory), op->row.pf, name, sizeof(name)))
		return STAGE_DONE;
	return op_waits(op, x,
		vf_share(op->d, op->row.pf, vfs, may_reset(op->d, op->row.pf), op_shared, op, e));
}

static int create_share(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	return op_share(op, x, op->row.wanted, e);
}

static int take_back_queues(struct stages *x, void *arg, struct err *e)
{
	return op_share(arg, x, 0, e);
}

static int create_online(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;
	char name[32];

	if (!nvme_virt_find(inventory_sysroot(op->d->inventory), op->row.pf, name, sizeof(name)))
		return STAGE_DONE;
	return op_waits(op, x, vf_online(op->d, op->row.pf, op->row.wanted, op_shared, op, e));
}

static int create_make(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	return op_waits(op, x, vf_count(op->d, op->row.pf, 0, op->row.wanted, 0, op_looked, op, e));
}

static int create_unmake(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	return op_waits(op, x, vf_count(op->d, op->row.pf, op->row.wanted, 0, 0, op_left, op, e));
}

/* The next VF that was set: 1 when a hand is at it, 0 when there is none, -1. */
static int op_set_next(struct vf_op *op, struct err *e);

static void op_set_one(void *arg, const struct vf_settings *s, const struct err *e)
{
	struct vf_op *op = arg;
	struct err own = ERR_INIT;
	int rc;

	(void)s;
	if (e) {
		op_continue(op, e);
		return;
	}
	rc = op_set_next(op, &own);
	if (rc <= 0)
		op_continue(op, rc < 0 ? &own : NULL);
}

static int op_set_next(struct vf_op *op, struct err *e)
{
	struct vf_setting_row row;
	bool found;

	if (vf_setting_next(op->d->store, op->row.pf, op->next, &row, &found, e) < 0)
		return -1;
	if (!found)
		return 0;
	op->next = row.index + 1;
	return vf_settings_do(op->d, row.pf, row.index, &row.kept, op_set_one, op, e) < 0 ? -1 : 1;
}

static int create_set(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;
	int rc;

	op->next = 0;
	rc = op_set_next(op, e);
	return rc > 0 ? op_waits(op, x, 0) : rc;
}

static int create_set_old(struct stages *x, void *arg, struct err *e)
{
	return ((struct vf_op *)arg)->row.count ? create_set(x, arg, e) : STAGE_DONE;
}

static int create_commit(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;
	struct vf_row made = op->row;

	(void)x;
	made.kept = VF_MADE;
	made.count = made.wanted;
	return vf_row_keep(op->d->store, &made, e);
}

static const struct stage create_stages[] = {
	{"keep it in the store", .run = create_keep, .undo = create_unkeep},
	{"keep drivers from new VFs", .run = create_hold, .undo = create_let},
	{"look after the old ones", .undo = create_set_old},
	{"remove the VFs there are", .run = create_remove_old, .undo = create_make_old},
	{"share the controller's queues", .run = create_share, .undo = take_back_queues},
	{"make the VFs", .run = create_make, .undo = create_unmake},
	{"give them their queues", .run = create_online},
	{"set them as they were", .run = create_set},
	{"let drivers have new VFs", .run = create_let, .undo = create_hold},
	{"keep it as made", .run = create_commit, .commits = true},
};
const struct stages_table vf_create_table = {"vf-create", create_stages, ARRAY_SIZE(create_stages)};

/* --- vf-remove -------------------------------------------------------------------------------- */

static int remove_commit(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	(void)x;
	op->row.kept = VF_REMOVING;
	return vf_row_keep(op->d->store, &op->row, e);
}

static int remove_do(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	return op_waits(
		op, x, vf_count(op->d, op->row.pf, op->row.count, 0, op->row.mark, op_left, op, e));
}

static int remove_forget(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	(void)x;
	return vf_row_forget(op->d->store, op->row.pf, e);
}

static const struct stage remove_stages[] = {
	{"keep it as removing", .run = remove_commit, .commits = true},
	{"remove the VFs", .run = remove_do},
	{"take back their queues", .run = take_back_queues},
	{"forget them", .run = remove_forget},
};
const struct stages_table vf_remove_table = {"vf-remove", remove_stages, ARRAY_SIZE(remove_stages)};

/* --- vf-set ----------------------------------------------------------------------------------- */

static int set_keep(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;

	(void)x;
	return vf_setting_keep(op->d->store, &op->set, e);
}

/* What is not set and not being set is not kept. */
static int keep_or_forget(struct vf_op *op, struct err *e)
{
	op->set.wanted.has = op->set.before.has = 0;
	return op->set.kept.has ? vf_setting_keep(op->d->store, &op->set, e)
				: vf_setting_forget(op->d->store, op->set.vf, e);
}

static int set_unkeep(struct stages *x, void *arg, struct err *e)
{
	(void)x;
	return keep_or_forget(arg, e);
}

static void set_done(void *arg, const struct vf_settings *s, const struct err *e)
{
	(void)s;
	op_continue(arg, e);
}

static int set_do(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;
	const struct vf_setting_row *set = &op->set;

	return op_waits(
		op, x, vf_settings_do(op->d, set->pf, set->index, &set->wanted, set_done, op, e));
}

/* After a start of the host the VF may be gone, and its settings with it. */
static int set_undo(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;
	const struct vf_setting_row *set = &op->set;
	const struct sysroot *root = inventory_sysroot(op->d->inventory);
	const struct vf_settings old = vf_settings_of(&set->before, &set->wanted);

	if (sriov_index(root, set->pf, set->vf) != (int)set->index || !old.has)
		return STAGE_DONE;
	return op_waits(op, x, vf_settings_do(op->d, set->pf, set->index, &old, set_done, op, e));
}

/* Only VFs that iovd made are made again by it, and then set so. */
static int set_commit(struct stages *x, void *arg, struct err *e)
{
	struct vf_op *op = arg;
	struct vf_row row;

	(void)x;
	if (vf_row_load(op->d->store, op->set.pf, &row, e) < 0)
		return -1;
	if (row.kept == VF_MADE)
		vf_settings_merge(&op->set.kept, &op->set.wanted);
	return keep_or_forget(op, e);
}

static const struct stage set_stages[] = {
	{"keep it in the store", .run = set_keep, .undo = set_unkeep},
	{"set it", .run = set_do, .undo = set_undo},
	{"keep it as set", .run = set_commit, .commits = true},
};
const struct stages_table vf_set_table = {"vf-set", set_stages, ARRAY_SIZE(set_stages)};

/* --- an operation ----------------------------------------------------------------------------- */

static void op_done(void *arg, const struct err *e)
{
	struct vf_op *op = arg;

	if (op->caller.done)
		op->caller.done(op->caller.arg, e);
	if (e && e->kind == ERR_PARTLY_DONE) {
		op->caller.done = NULL; /* the second end is nobody's */
		op->caller.progress = NULL;
		return;
	}
	free(op);
}

static void op_progress(void *arg, const struct stages_table *table, unsigned int n, bool undoing)
{
	struct vf_op *op = arg;
	char text[64];

	snprintf(text, sizeof(text), "%s%s", undoing ? "undo: " : "", table->stages[n].name);
	if (op->caller.progress)
		op->caller.progress(op->caller.arg, text, 100 * n / table->count);
}

static struct vf_op *op_new(struct daemon *d, const struct vf_caller *caller, struct err *e)
{
	struct vf_op *op = calloc(1, sizeof(*op));

	if (!op) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an operation");
		return NULL;
	}
	op->d = d;
	op->caller = *caller;
	return op;
}

static int op_start(struct vf_op *op, const struct stages_table *table, const char *subject,
	const struct journal_op *journal, struct err *e)
{
	const struct stages_owner owner = {.loop = op->d->loop,
		.store = op->d->store,
		.done = op_done,
		.progress = op_progress,
		.arg = op};
	int rc = journal ? stages_resume(table, journal, &owner, e)
			 : stages_start(table, subject, &owner, e);

	if (rc < 0)
		free(op);
	return rc;
}

/* The row of a change that begins; a PF that is gone has no fingerprint, and will fail. */
static struct vf_row first_row(
	struct daemon *d, const char *pf, const struct sriov_facts *now, uint32_t to)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, pf);
	struct vf_row row = {
		.count = now->count, .wanted = to, .probes = now->probes, .mark = now->mark};

	str_copy(row.pf, sizeof(row.pf), pf);
	str_copy(row.boot, sizeof(row.boot), now->boot);
	str_copy(row.fingerprint, sizeof(row.fingerprint), device ? device->fingerprint : "");
	return row;
}

int vf_change_count(struct daemon *d, const char *pf, const struct sriov_facts *now, uint32_t to,
	const struct vf_caller *caller, struct err *e)
{
	struct vf_op *op = op_new(d, caller, e);

	if (!op)
		return -1;
	op->row = first_row(d, pf, now, to);
	return op_start(op, to ? &vf_create_table : &vf_remove_table, pf, NULL, e);
}

int vf_change_again(struct daemon *d, const struct vf_row *row, const struct sriov_facts *now,
	const struct vf_caller *caller, struct err *e)
{
	struct vf_op *op = op_new(d, caller, e);

	if (!op)
		return -1;
	op->row = first_row(d, row->pf, now, row->count);
	op->again = true;
	return op_start(op, &vf_create_table, row->pf, NULL, e);
}

int vf_change_settings(struct daemon *d, const struct vf_setting_row *row,
	const struct vf_caller *caller, struct err *e)
{
	struct vf_op *op = op_new(d, caller, e);

	if (!op)
		return -1;
	op->set = *row;
	return op_start(op, &vf_set_table, row->vf, NULL, e);
}

/* --- after a crash ---------------------------------------------------------------------------- */

/* Fills op from the store. 1, or 0 if nothing of it was kept, or -1. */
static int resume_load(
	struct vf_op *op, const struct stages_table *table, const char *subject, struct err *e)
{
	bool found = false;
	int rc;

	if (table == &vf_set_table) {
		rc = vf_setting_load(op->d->store, subject, &op->set, &found, e);
	} else {
		rc = vf_row_load(op->d->store, subject, &op->row, e);
		found = op->row.kept != VF_NONE;
		op->again = op->row.kept == VF_REMAKING;
	}
	return rc < 0 ? -1 : found;
}

static int resume_table(struct daemon *d, const struct stages_table *table,
	const struct journal_op *journal, const struct vf_caller *caller, struct err *e)
{
	struct vf_op *op = op_new(d, caller, e);
	int rc = op ? resume_load(op, table, journal->subject, e) : -1;

	if (rc > 0)
		return op_start(op, table, journal->subject, journal, e) < 0 ? -1 : 1;
	free(op);
	return rc;
}

int vf_resume(struct daemon *d, const struct journal_op *journal, const struct vf_caller *caller,
	struct err *e)
{
	static const struct stages_table *const tables[] = {
		&vf_create_table, &vf_remove_table, &vf_set_table};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (strcmp(tables[i]->verb, journal->verb) == 0)
			return resume_table(d, tables[i], journal, caller, e);
	return 0;
}
