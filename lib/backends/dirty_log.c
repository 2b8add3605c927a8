/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Page n (of 4096 bytes, from guest physical address 0) is bit n%8 of byte n/8, counted from the
 * offset that came with the descriptor. The VMM fetches and clears words atomically while we set
 * bits, so every store is an atomic OR. Bytes, not words: the offset promises no alignment. A bit
 * that looks set already is set again: the VMM could be clearing it and about to copy the page
 * while our write to the page still waits in a store buffer, and only the OR is a full barrier.
 *
 * A killed worker can have changed a page without having marked it. Data is marked before the used
 * entry, so such a request is still in flight and is done and marked again; for the ring itself the
 * successor marks all of it when it is told of the log (virtq_set_log()).
 */
#include "lib/backends/dirty_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lib/backends/mapping.h"

struct dirty_log {
	struct mapping map;
	uint64_t pages; /* bits there are */
	uint64_t overflows;
};

static uint64_t pages_of(uint64_t bytes)
{
	return bytes / DIRTY_LOG_PAGE + (bytes % DIRTY_LOG_PAGE != 0);
}

int dirty_log_open(struct dirty_log **log, int fd, uint64_t size, uint64_t offset, uint64_t covers,
	struct err *e)
{
	uint64_t needed = (pages_of(covers) + 7) / 8;
	struct dirty_log *l;

	if (size < needed)
		return err_set(e, ERR_FAILED, "VU-LOG",
			"dirty log of %" PRIu64 " bytes: guest memory needs %" PRIu64, size,
			needed);
	l = calloc(1, sizeof(*l));
	if (!l)
		return err_sys(e, ENOMEM, "dirty log");
	if (mapping_open(&l->map, fd, offset, size, e) < 0) {
		free(l);
		return err_wrap(e, "dirty log");
	}
	l->pages = size * 8; /* within a file: no overflow */
	*log = l;
	return 0;
}

void dirty_log_close(struct dirty_log *log)
{
	if (!log)
		return;
	mapping_close(&log->map);
	free(log);
}

void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	uint64_t page, last;

	if (!log || !len)
		return;
	if (!u64_add(gpa, len - 1, &last) || last / DIRTY_LOG_PAGE >= log->pages) {
		log->overflows++;
		return;
	}
	page = gpa / DIRTY_LOG_PAGE;
	last /= DIRTY_LOG_PAGE;
	while (page <= last) {
		unsigned int first_bit = page % 8;
		unsigned int count = MIN(last - page + 1, 8 - first_bit);

		__atomic_fetch_or(&log->map.data[page / 8],
			(uint8_t)(((1u << count) - 1) << first_bit), __ATOMIC_SEQ_CST);
		page += count;
	}
}

uint64_t dirty_log_overflows(const struct dirty_log *log)
{
	return log->overflows;
}

void *dirty_log_base(struct dirty_log *log, size_t *len)
{
	*len = log->map.len_bytes;
	return log->map.base;
}
