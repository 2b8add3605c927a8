/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the store keeps, done again: after a boot, by `iovd --apply-bindings`, or for one device that
 * appears. One that cannot have its driver, or hangs, does not keep the others from theirs.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/binding_internal.h"
#include "daemon/binding_keep.h"
#include "daemon/daemon.h"
#include "daemon/inventory.h"
#include "lib/log.h"

struct apply {
	struct daemon *d;
	binding_done_fn *done;
	void *arg;
	struct watch *step;
	struct binding_rows rows;
	size_t at;
	struct err last; /* failure */
};

static void apply_end(struct apply *a)
{
	struct apply copy = *a;

	a->d->loop->ops->remove(a->step);
	free(a->rows.rows);
	free(a);
	copy.done(copy.arg, copy.last.kind == ERR_NONE ? NULL : &copy.last);
}

static void apply_failed(struct apply *a, const struct err *e)
{
	const struct binding_row *row = &a->rows.rows[a->at];

	log_error("%s: does not get its driver %s: %s [%s]%s%s", row->device, row->driver, e->msg,
		e->code, e->evidence[0] ? ": " : "", e->evidence);
	a->last = *e;
}

static void apply_next(struct apply *a)
{
	a->at++;
	a->d->loop->ops->set_timer(a->step, 0);
}

static void apply_made(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct apply *a = arg;

	(void)result, (void)len, (void)fd;
	if (e)
		apply_failed(a, e);
	else
		log_info("%s: has driver %s", a->rows.rows[a->at].device,
			a->rows.rows[a->at].driver);
	apply_next(a);
}

static int apply_check(struct apply *a, const struct binding_row *row, struct err *e)
{
	const struct device *device = inventory_find(a->d->inventory, DEVICE_PCI, row->device);
	const struct binding_ask ask = {
		.device = row->device, .driver = row->driver, .holder = row->holder};

	if (!device)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is not there", row->device);
	if (strcmp(device->fingerprint, row->fingerprint) != 0)
		return err_set(e, ERR_HOST_CHANGED, "DEV-OTHER", "another device is in its place");
	return binding_check_member(a->d, &ask, row->device, e);
}

static void apply_step(void *arg, unsigned int events)
{
	struct apply *a = arg;
	const struct binding_row *row = &a->rows.rows[a->at];
	struct bind_state to = {0};
	struct err e = ERR_INIT;

	(void)events;
	if (a->at == a->rows.count) {
		apply_end(a);
		return;
	}
	str_copy(to.driver, sizeof(to.driver), row->driver);
	str_copy(to.override, sizeof(to.override), row->driver);
	if (apply_check(a, row, &e) == 0 &&
		binding_make(a->d, row->device, &to, apply_made, a, &e) == 0)
		return;
	apply_failed(a, &e);
	apply_next(a);
}

static void keep_only(struct binding_rows *rows, const char *device)
{
	size_t kept = 0;

	for (size_t i = 0; i < rows->count; i++)
		if (strcmp(rows->rows[i].device, device) == 0)
			rows->rows[kept++] = rows->rows[i];
	rows->count = kept;
}

int binding_apply(
	struct daemon *d, const char *device, binding_done_fn *done, void *arg, struct err *e)
{
	struct apply *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to apply bindings");
	*a = (struct apply){.d = d, .done = done, .arg = arg};
	a->step = d->loop->ops->add_timer(d->loop, 0, apply_step, a, e);
	if (a->step && binding_load_latest(d->store, &a->rows, e) == 0) {
		if (device)
			keep_only(&a->rows, device);
		return 0;
	}
	d->loop->ops->remove(a->step);
	free(a);
	return -1;
}
