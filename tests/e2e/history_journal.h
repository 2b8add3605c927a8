/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must be there after a power cut: for each block the generation of a write that had been
 * acknowledged before a flush was submitted, which is acknowledged, too. It may have been overwritten
 * since: then a later write is there. It is kept in a file outside of what loses its power, written
 * whole by one call, below a page, each time that a flush has ended.
 *
 *	u64	requests that had ended by then
 *	u64[]	generations, by block
 *
 * The same as a line of text, for who sees it from outside of a guest, "promise" and these numbers, and
 * then their sum, by which one that was cut off shows.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOURNAL_BLOCKS_MAX 511u

struct journal {
	int fd, tell_fd; /* -1: there is none */
	uint64_t blocks;
	uint64_t acked[JOURNAL_BLOCKS_MAX]; /* the last write of each that was acknowledged */
	struct {
		uint64_t requests;
		uint64_t stable[JOURNAL_BLOCKS_MAX];
	} file;
};

/* One that was never written has zeroes: nothing was promised. No path: NULL. */
static inline int journal_open(
	struct journal *j, const char *path, const char *tell, uint64_t blocks)
{
	j->blocks = blocks;
	j->fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	j->tell_fd = tell ? open(tell, O_WRONLY | O_CLOEXEC) : -1;
	if (!path && !tell)
		return 0;
	if ((path && j->fd < 0) || (tell && j->tell_fd < 0))
		return -1;
	errno = E2BIG;
	if (blocks > JOURNAL_BLOCKS_MAX)
		return -1;
	if (path && pread(j->fd, &j->file, sizeof(j->file), 0) < 0)
		return -1;
	memcpy(j->acked, j->file.stable, sizeof(j->acked));
	return 0;
}

/* What a flush that begins now is going to promise; the journal's until journal_flushed(). */
static inline uint64_t *journal_snapshot(const struct journal *j)
{
	uint64_t *copy = malloc(sizeof(j->acked));

	return copy ? memcpy(copy, j->acked, sizeof(j->acked)) : NULL;
}

static inline int journal_tell(const struct journal *j)
{
	uint64_t sum = j->file.requests;
	char *line = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&line, &len);
	bool ok;

	if (!f)
		return -1;
	fprintf(f, "promise %" PRIu64, j->file.requests);
	for (uint64_t i = 0; i < j->blocks; i++) {
		fprintf(f, " %" PRIu64, j->file.stable[i]);
		sum += j->file.stable[i];
	}
	fprintf(f, " %" PRIu64 "\n", sum);
	ok = fclose(f) == 0 && write(j->tell_fd, line, len) == (ssize_t)len;
	free(line);
	return ok ? 0 : -1;
}

static inline int journal_flushed(struct journal *j, uint64_t *snapshot, uint64_t requests)
{
	size_t len = (1 + j->blocks) * sizeof(uint64_t);

	for (uint64_t i = 0; i < j->blocks; i++)
		if (snapshot[i] > j->file.stable[i])
			j->file.stable[i] = snapshot[i];
	free(snapshot);
	j->file.requests = requests;
	if (j->fd >= 0 && pwrite(j->fd, &j->file, len, 0) != (ssize_t)len)
		return -1;
	return j->tell_fd < 0 ? 0 : journal_tell(j);
}
