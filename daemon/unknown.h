/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions of which nobody knows who has them. Where the store was damaged, what it knew of
 * pass-through is lost: a function that a VFIO driver has may be a running guest's, or kept for one.
 * It is in state `unknown` then, and refused (DEV-UNKNOWN) until an administrator has released it,
 * or attached it again saying so, or the host was booted, which ends all guests and bindings.
 */
#pragma once

#include "daemon/inventory.h"

struct daemon;

/* As part of the store's schema. */
#define UNKNOWN_SCHEMA                                                                             \
	"CREATE TABLE unknown ("                                                                   \
	"	device TEXT PRIMARY KEY,"                                                                \
	"	fingerprint TEXT NOT NULL,"                                                              \
	"	driver TEXT NOT NULL,"                                                                   \
	"	boot TEXT NOT NULL,"                                                                     \
	"	damaged TEXT NOT NULL);" /* the store that knew */                                 \
	"ALTER TABLE counter ADD COLUMN looked INTEGER NOT NULL DEFAULT 0;"                        \
	"UPDATE counter SET looked = next_number > 1 OR EXISTS (SELECT 1 FROM binding);"

/*
 * When all attachments are known that can be rebuilt. A store that is new, beside one that was put
 * aside: everything that a VFIO driver has and no attachment, is unknown from now on.
 */
int unknown_begin(struct daemon *d, struct err *e);
void unknown_end(void);

bool unknown_is(struct daemon *d, const char *id);

/* Tells of those that no attachment has. */
void unknown_tell(struct daemon *d, inventory_visit_fn *visit, void *visit_arg);

/*
 * Somebody takes the responsibility: it is a binding that is kept, before which the device had what
 * the kernel gives it.
 */
int unknown_claim(struct daemon *d, const char *id, struct err *e);
