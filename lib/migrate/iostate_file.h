/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O states in files. The caller's privileges are used, so whoever names the file opens it. May
 * block as long as the file system does; thread safe.
 */
#pragma once

#include "lib/migrate/iostate.h"

/* Code of refusals: there is something of that name that is no regular file. */
#define IOSTATE_NO_FILE "STATE-FILE"

/*
 * Replaces `path`, or makes it (0600), with these bytes: after 0 they are there for ever; after -1,
 * or a crash at any point, there is what was there before.
 */
int iostate_file_write(const char *path, const void *data, size_t len, struct err *e);

/* Appends the bytes of a regular file, at most IOSTATE_MAX_BYTES, to an empty buffer. 0 or -1. */
int iostate_file_load(const char *path, struct buf *bytes, struct err *e);

/* Loads and decodes. NULL with e set, which names the file. */
struct iostate *iostate_file_read(const char *path, struct err *e);

/* Whether there is a regular file of that name that begins like an I/O state. */
bool iostate_file_is(const char *path);
