/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A shared mapping of a part of somebody else's file: guest memory, a dirty log, an in-flight
 * region. The one place where an offset and a size from outside are held against the file's real
 * size. Offset and size need not be page multiples; huge pages are known.
 */
#pragma once

#include "lib/err.h"

struct mapping {
	uint8_t *data;    /* the first byte asked for */
	uint64_t size;    /* bytes asked for */
	uint8_t *base;    /* what is mapped around them: whole pages */
	size_t len_bytes; /* of base */
	size_t page_size; /* the file's: what can be replaced within the mapping */
};

/* Maps [offset, offset+size) of `fd` (not consumed), readable and writable. */
int mapping_open(struct mapping *m, int fd, uint64_t offset, uint64_t size, struct err *e);

/* Unmaps; nothing to do for a mapping that is all zeroes. */
void mapping_close(struct mapping *m);
