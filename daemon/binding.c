/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	take:	plan			looks only
 *		look at each		by a hand: what it has, what it is to get
 *		keep all of them	one transaction
 *		check each, make it	by a hand, one after the other
 *		check the group		what /sys says now
 *
 *	give	for each row, last first:
 *	back:	give back		by a hand, unless a later holder has it
 *		forget			one transaction
 *
 * A crash of the daemon leaves rows of which some are made; either way is gone through again from
 * the top (lib/iommu/bind.h repeats what it must). A hand that is stuck makes the operation fail,
 * and each later one at the device, until it ends.
 */
#include "daemon/binding.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/binding_internal.h"
#include "daemon/binding_works.h"
#include "daemon/daemon.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/iommu/group.h"
#include "lib/log.h"

/* One take or give back that goes on. */
struct binding_op {
	struct daemon *d;
	binding_done_fn *done;
	void *arg;
	struct watch *begin; /* timer: it begins from the loop */
	struct binding_ask ask;
	char device[BINDING_ID_MAX], driver[BIND_DRIVER_MAX], holder[BINDING_HOLDER_MAX], vm[40];
	struct binding_plan plan;
	struct binding_rows rows;
	size_t at; /* the member that is looked at; the row that is made, or (counting down) undone */
};

static void op_free(struct binding_op *op)
{
	op->d->loop->ops->remove(op->begin);
	free(op->rows.rows);
	free(op);
}

static void op_end(struct binding_op *op, const struct err *e)
{
	binding_done_fn *done = op->done;
	void *arg = op->arg;

	op_free(op);
	done(arg, e);
}

static struct binding_op *op_new(struct daemon *d, const char *holder, watch_fn *begin,
	binding_done_fn *done, void *arg, struct err *e)
{
	struct binding_op *op = calloc(1, sizeof(*op));

	if (!op) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to change drivers");
		return NULL;
	}
	*op = (struct binding_op){.d = d, .done = done, .arg = arg};
	str_copy(op->holder, sizeof(op->holder), holder);
	op->begin = d->loop->ops->add_timer(d->loop, 0, begin, op, e);
	if (op->begin && binding_load(d->store, holder, &op->rows, e) == 0)
		return op;
	op_free(op);
	return NULL;
}

const char *binding_root(const struct daemon *d)
{
	const char *root = sysroot_path(inventory_sysroot(d->inventory));

	return root[0] ? root : "/";
}

static int op_look(struct binding_op *op, const char *id, hand_done_fn *done, struct err *e)
{
	const char *const words[HAND_WORDS] = {
		BINDING_WORK_LOOK, binding_root(op->d), id, op->ask.driver};

	return hands_do(op->d->hands, id, words, BINDING_HAND_MS, done, op, e);
}

int binding_make(struct daemon *d, const char *id, const struct bind_state *to, hand_done_fn *done,
	void *arg, struct err *e)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, id);
	const char *const words[HAND_WORDS] = {BINDING_WORK_MAKE, binding_root(d), id,
		binding_word(device ? device->driver : ""), binding_word(to->driver),
		binding_word(to->override)};

	return hands_do(d->hands, id, words, BINDING_HAND_MS, done, arg, e);
}

/* What /sys says of it now, for whoever asks next. */
static void op_refresh(struct binding_op *op, const char *id)
{
	const struct device *device = inventory_find(op->d->inventory, DEVICE_PCI, id);

	if (device)
		inventory_refresh(op->d->inventory, &device);
}

/* --- take ------------------------------------------------------------------------------------- */

/* A group that came to be, or changed, while its members changed hands. */
static int check_group(struct binding_op *op, struct err *e)
{
	const struct device *device = inventory_find(op->d->inventory, DEVICE_PCI, op->ask.device);
	struct iommu_group group;
	char number[24];
	int rc;

	if (!binding_is_for_vfio(&op->ask) || !device || device->iommu_group < 0)
		return 0;
	snprintf(number, sizeof(number), "%lld", (long long)device->iommu_group);
	if (iommu_group_read(inventory_sysroot(op->d->inventory), number, &group, e) < 0)
		return -1;
	rc = iommu_group_check_viable(&group, e);
	iommu_group_release(&group);
	return rc;
}

static void take_next(struct binding_op *op);
static void take_look(struct binding_op *op);

static bool op_has_row(const struct binding_op *op, const char *id)
{
	for (size_t i = 0; i < op->rows.count; i++)
		if (strcmp(op->rows.rows[i].device, id) == 0)
			return true;
	return false;
}

/* A group that came with the driver may have companions that nobody could name before. */
static void take_end(struct binding_op *op)
{
	struct err e = ERR_INIT;

	if (binding_is_for_vfio(&op->ask) && binding_plan(op->d, &op->ask, &op->plan, &e) < 0) {
		op_end(op, &e);
		return;
	}
	for (size_t i = 0; i < op->plan.count; i++) {
		if (op_has_row(op, op->plan.members[i].id))
			continue;
		op->at = 0;
		take_look(op);
		return;
	}
	op_end(op, check_group(op, &e) < 0 ? &e : NULL);
}

static void take_made(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct binding_op *op = arg;

	(void)result, (void)len, (void)fd;
	op_refresh(op, op->rows.rows[op->at].device);
	fault_point("binding.taken.%zu", op->at);
	if (e) {
		op_end(op, e);
		return;
	}
	op->at++;
	take_next(op);
}

static void take_next(struct binding_op *op)
{
	const struct binding_row *row = &op->rows.rows[op->at];
	struct bind_state to = {0};
	struct err e = ERR_INIT;

	if (op->at == op->rows.count) {
		take_end(op);
		return;
	}
	str_copy(to.driver, sizeof(to.driver), row->driver);
	str_copy(to.override, sizeof(to.override), row->driver);
	if (binding_check_member(op->d, &op->ask, row->device, &e) < 0 ||
		binding_make(op->d, row->device, &to, take_made, op, &e) < 0)
		op_end(op, &e);
}

static int add_row(
	struct binding_op *op, const char *id, const struct binding_look *look, struct err *e)
{
	const struct device *device = inventory_find(op->d->inventory, DEVICE_PCI, id);
	struct binding_row *row;

	if (!device)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", id);
	row = reallocarray(op->rows.rows, op->rows.count + 1, sizeof(*row));
	if (!row)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to remember %s", id);
	op->rows.rows = row;
	row += op->rows.count++;
	*row = (struct binding_row){.old = look->now};
	str_copy(row->device, sizeof(row->device), id);
	str_copy(row->holder, sizeof(row->holder), op->holder);
	str_copy(row->fingerprint, sizeof(row->fingerprint), device->fingerprint);
	str_copy(row->driver, sizeof(row->driver), look->driver);
	return 0;
}

static void take_looked(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct binding_op *op = arg;
	struct err own = ERR_INIT;

	(void)len, (void)fd;
	if (!e && add_row(op, op->plan.members[op->at].id, result, &own) < 0)
		e = &own;
	if (e) {
		op_end(op, e);
		return;
	}
	op->at++;
	take_look(op);
}

/* At the next member that is not remembered yet. */
static void take_look(struct binding_op *op)
{
	struct err e = ERR_INIT;

	while (op->at < op->plan.count && op_has_row(op, op->plan.members[op->at].id))
		op->at++;
	if (op->at < op->plan.count) {
		if (op_look(op, op->plan.members[op->at].id, take_looked, &e) < 0)
			op_end(op, &e);
		return;
	}
	if (binding_add(op->d->store, &op->rows, &e) < 0) {
		op_end(op, &e);
		return;
	}
	fault_point("binding.kept");
	op->at = 0;
	take_next(op);
}

static void take_begin(void *arg, unsigned int events)
{
	(void)events;
	take_look(arg);
}

static void op_copy_ask(struct binding_op *op, const struct binding_ask *ask)
{
	str_copy(op->device, sizeof(op->device), ask->device);
	str_copy(op->driver, sizeof(op->driver), ask->driver);
	str_copy(op->vm, sizeof(op->vm), ask->vm ? ask->vm : "");
	op->ask = (struct binding_ask){.device = op->device,
		.driver = op->driver,
		.holder = op->holder,
		.vm = ask->vm ? op->vm : NULL,
		.whole_group = ask->whole_group};
}

int binding_take(struct daemon *d, const struct binding_ask *ask, binding_done_fn *done, void *arg,
	struct err *e)
{
	struct binding_op *op = op_new(d, ask->holder, take_begin, done, arg, e);

	if (!op)
		return -1;
	op_copy_ask(op, ask);
	if (binding_plan(d, &op->ask, &op->plan, e) == 0)
		return 0;
	op_free(op);
	return -1;
}

/* --- give back -------------------------------------------------------------------------------- */

static void give_back_next(struct binding_op *op);

/* What is remembered of the row at hand is over. */
static void give_back_forget(struct binding_op *op)
{
	struct err e = ERR_INIT;

	if (binding_forget(op->d->store, &op->rows.rows[op->at], &e) < 0)
		op_end(op, &e);
	else
		give_back_next(op);
}

static void given_back(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct binding_op *op = arg;

	(void)result, (void)len, (void)fd;
	op_refresh(op, op->rows.rows[op->at].device);
	fault_point("binding.given.%zu", op->at);
	if (e && e->kind != ERR_NOT_FOUND)
		op_end(op, e);
	else
		give_back_forget(op);
}

/* Whether the device of the row is there, and still the same one. */
static bool is_there(struct binding_op *op, const struct binding_row *row)
{
	const struct device *device = inventory_find(op->d->inventory, DEVICE_PCI, row->device);

	if (!device || !inventory_refresh(op->d->inventory, &device))
		return false;
	return strcmp(device->fingerprint, row->fingerprint) == 0;
}

static void give_back_next(struct binding_op *op)
{
	const struct binding_row *row;
	struct err e = ERR_INIT;

	if (op->at == 0) {
		op_end(op, NULL);
		return;
	}
	row = &op->rows.rows[--op->at];
	if (!is_there(op, row))
		log_warning("%s: is not there to be given back", row->device);
	else if (!binding_has_heir(op->d->store, row)) {
		if (binding_make(op->d, row->device, &row->old, given_back, op, &e) < 0)
			op_end(op, &e);
		return;
	}
	give_back_forget(op);
}

static void give_back_begin(void *arg, unsigned int events)
{
	struct binding_op *op = arg;

	(void)events;
	op->at = op->rows.count;
	give_back_next(op);
}

int binding_give_back(
	struct daemon *d, const char *holder, binding_done_fn *done, void *arg, struct err *e)
{
	return op_new(d, holder, give_back_begin, done, arg, e) ? 0 : -1;
}
