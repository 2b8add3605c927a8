/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults: what the hardware reports of the host's devices, told as it comes (event kind "fault"), kept
 * in the store with a bound, listed by `iovctl list faults`.
 */
#pragma once

#include "proto/json.h"

struct attachment;
struct daemon;
struct faults;

/* As part of the store's schema. */
#define FAULTS_SCHEMA                                                                              \
	"CREATE TABLE fault ("                                                                     \
	"	seq INTEGER PRIMARY KEY,"                                                                \
	"	time INTEGER NOT NULL," /* ms since 1970 */                                        \
	"	latest INTEGER NOT NULL,"                                                                \
	"	source TEXT NOT NULL,"                                                                   \
	"	code TEXT NOT NULL,"                                                                     \
	"	device TEXT NOT NULL,"                                                                   \
	"	vm TEXT NOT NULL,"                                                                       \
	"	attachment TEXT NOT NULL,"                                                               \
	"	stream INTEGER NOT NULL," /* -1: none */                                           \
	"	pasid INTEGER NOT NULL,"  /* -1: none */                                           \
	"	iova TEXT NOT NULL,"                                                                     \
	"	class TEXT NOT NULL,"                                                                    \
	"	access TEXT NOT NULL,"                                                                   \
	"	reason TEXT NOT NULL,"                                                                   \
	"	raw TEXT NOT NULL,"                                                                      \
	"	count INTEGER NOT NULL,"                                                                 \
	"	suppressed INTEGER NOT NULL);"                                                           \
	"CREATE TABLE fault_log (boot TEXT NOT NULL, number INTEGER NOT NULL);"

/* With what the store has of earlier times. NULL with e set. */
struct faults *faults_new(struct daemon *d, struct err *e);
void faults_free(struct faults *f); /* NULL is allowed */

/* Attachments are known: reads the kernel's log from where the last daemon stopped. */
void faults_begin(struct faults *f);

/* A device was "added", "removed", "changed". NULL is allowed. */
void faults_news(struct faults *f, const char *event, const char *id);

/*
 * What the listener is told of the device of an attachment, or of what it is part of: its PF, a port above.
 * Only what is news: nothing that happened before this daemon began.
 */
enum faults_what {
	FAULTS_DMA,     /* the IOMMU stopped `count` accesses or interrupts of its */
	FAULTS_ERROR,   /* `count` errors of PCI Express that were not corrected (AER) */
	FAULTS_REQUEST, /* the host wants it back */
	FAULTS_LINK,    /* its link is down, or it was pulled out */
	FAULTS_DEAD,    /* it does not answer any more, or cannot be recovered */
	FAULTS_GONE,    /* it is not there any more */
	FAULTS_BACK,    /* there is a device at its address again: perhaps another one */
	FAULTS_WHATS
};

extern const char *const faults_what_names[FAULTS_WHATS];

/* Called from the loop. May do anything but end the attachment at once. */
typedef void faults_listener_fn(
	void *arg, struct attachment *a, enum faults_what what, uint64_t count);
void faults_set_listener(struct faults *f, faults_listener_fn *fn, void *arg);

/* The kernel tries to recover, or did ("BEGIN_RECOVERY", ...), a function from an error. NULL is allowed. */
void faults_recovery(struct faults *f, const char *id, const char *what);

/* It was reset, and is as new: whatever was held against it is over. NULL is allowed. */
void faults_renewed(struct faults *f, struct attachment *a);

/* NULL, or why no fault can be seen (code FAULT-BLIND). */
const struct err *faults_blind(const struct faults *f);

/*
 * Which are shown: NULL is all; `since`: those with a larger number. Adds members "faults" and
 * "log": what can be said of those that nobody saw.
 */
struct faults_filter {
	const char *vm, *device;
	uint64_t since;
};
void faults_put_list(
	const struct faults *f, const struct faults_filter *filter, struct json_out *o);

/* Adds member "faults": those of a device, the latest last; nothing if it has none. */
void faults_put_of(const struct faults *f, const char *device, struct json_out *o);
