/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of binding: what daemon/binding*.c share. Not for others. */
#pragma once

#include "daemon/binding.h"
#include "daemon/hands.h"

#define BINDING_HAND_MS 15000 /* a slow driver's probe takes seconds; nothing takes this long */

struct binding_rows {
	struct binding_row *rows;
	size_t count;
};

/* All of a holder, first come first; to be freed by free(rows->rows). */
int binding_load(struct store *s, const char *holder, struct binding_rows *rows, struct err *e);

/* Of each device the latest holder that is not on its way in or out ("+", "-"). */
int binding_load_latest(struct store *s, struct binding_rows *rows, struct err *e);

/* All rows in one transaction; one that is there stays as it is. */
int binding_add(struct store *s, const struct binding_rows *rows, struct err *e);

/* What comes of a row that goes: a later holder of the device inherits what it had before. */
bool binding_has_heir(struct store *s, const struct binding_row *row);
int binding_forget(struct store *s, const struct binding_row *row, struct err *e);

/* As binding_plan(), for one member: may it be touched now? */
int binding_check_member(
	struct daemon *d, const struct binding_ask *ask, const char *id, struct err *e);

/* Where hands find /sys. */
const char *binding_root(const struct daemon *d);

/* Has a hand give the device this driver and override. */
int binding_make(struct daemon *d, const char *id, const struct bind_state *to, hand_done_fn *done,
	void *arg, struct err *e);
