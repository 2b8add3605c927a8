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
