/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions that have failed with a machine and were taken out of it: in state `quarantined`, and
 * refused (DEV-QUARANTINED) until an administrator has released them. Kept in the store; another
 * device at the same address is not meant.
 */
#pragma once

#include "daemon/inventory.h"
#include "lib/list.h"
#include "lib/pci.h"
#include "proto/json.h"

struct daemon;

/* As part of the store's schema. */
#define QUARANTINE_SCHEMA                                                                          \
	"CREATE TABLE quarantine ("                                                                \
	"	device TEXT PRIMARY KEY,"                                                                \
	"	fingerprint TEXT NOT NULL,"                                                              \
	"	attachment TEXT NOT NULL,"                                                               \
	"	reason TEXT NOT NULL);"

/* All that are kept. 0 or -1. */
int quarantine_load(struct daemon *d, struct err *e);
void quarantine_end(void);

bool quarantine_is(struct daemon *d, const char *id);

/* The device that attachment `of` had is in it from now on; in a transaction of the caller's, if any. */
int quarantine_add(struct daemon *d, const char *id, const char *fingerprint, const char *of,
	const char *reason, struct err *e);

/* Somebody says that it is well. Nothing where it is not in it. */
int quarantine_release(struct daemon *d, const char *id, struct err *e);

/* Tells the inventory of all of them. */
void quarantine_tell(struct daemon *d, inventory_visit_fn *visit, void *visit_arg);

/* Member "quarantined": those that attachment `of` has left, with why. */
void quarantine_put(const char *of, struct json_out *o);
