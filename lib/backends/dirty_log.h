/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dirty log of a live migration: one bit per 4 KiB page of guest physical memory, set by
 * atomic OR in memory shared with the VMM (vhost-user, "Migration"). Order: the data is written
 * first, the bit is set next, and both are visible before the used index moves.
 *
 * A write outside the log marks nothing and counts as an overflow: the VMM gave a log that does not
 * cover its memory. One thread.
 */
#pragma once

#include "lib/err.h"

#define DIRTY_LOG_PAGE 4096u

struct dirty_log;

/*
 * Maps `size` bytes at `offset` of the descriptor (not consumed), which must really be that long.
 * `covers` is guest_mem_end(): a smaller log is refused.
 */
int dirty_log_open(struct dirty_log **log, int fd, uint64_t size, uint64_t offset, uint64_t covers,
	struct err *e);
void dirty_log_close(struct dirty_log *log);

/* Marks every page that [gpa, gpa+len) touches. NULL log: nothing. */
void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len);

/* Marks that fell outside since it was opened. */
uint64_t dirty_log_overflows(const struct dirty_log *log);

void *dirty_log_base(struct dirty_log *log, size_t *len);
