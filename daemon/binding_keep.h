/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bindings that survive reboots: made and unmade by stages, so that a crash leaves the driver that
 * was there before or the one that was asked for; and applied again at the next boot.
 */
#pragma once

#include "daemon/binding.h"
#include "lib/migrate/stages.h"

extern const struct stages_table bind_table;
extern const struct stages_table release_table;

struct binding_caller {
	binding_done_fn *done;
	void (*progress)(void *arg, const char *stage, unsigned int percent); /* may be NULL */
	void *arg;
};

/* Gives `ask->device` (and its group) `ask->driver` for good; the holder is ours to name. */
int bind_start(struct daemon *d, const struct binding_ask *ask, const struct binding_caller *caller,
	struct err *e);

/* Gives back what those of the plan that are kept had before. */
int release_start(struct daemon *d, const struct binding_plan *plan,
	const struct binding_caller *caller, struct err *e);

/*
 * ERR_BUSY while a bind or release of a member that was begun before is neither finished nor undone:
 * its job may have ended long ago, since what cannot be given up is tried again.
 */
int binding_check_over(struct daemon *d, const struct binding_plan *plan, struct err *e);

/* What would be released: the device, with `whole_group` also its companions that are kept. */
int release_plan(struct daemon *d, const char *device, bool whole_group, struct binding_plan *plan,
	struct err *e);

/* Whether the host or a VM uses any of it now: then its driver stays. */
int release_check(struct daemon *d, const struct binding_plan *plan, struct err *e);

/* Whether the journal's operation is one of ours / goes on with it. */
bool binding_owns(const struct journal_op *op);
int binding_resume(struct daemon *d, const struct journal_op *op,
	const struct binding_caller *caller, struct err *e);

/*
 * At boot, before anybody uses the devices: gives each its driver again that has one kept, or that
 * is attached; or `device` alone (NULL: all). Each that cannot have it is logged; done() gets the
 * last failure.
 */
int binding_apply(
	struct daemon *d, const char *device, binding_done_fn *done, void *arg, struct err *e);

/*
 * Hot plug (daemon/binding_follow.c): devices that appear get the driver that is kept for them.
 * Those that are there at the beginning are as they should be, or as somebody wanted them.
 */
void binding_follow(struct daemon *d);
void binding_follow_end(void);

/* Told from within the inventory: something about the device of this id is news. */
void binding_news(struct daemon *d, const char *id);
