/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of owner.c: what a command has, and the commands that are about memory. */
#pragma once

#include "lib/iommu/dma_map.h"

extern struct iommu_space *owner_space; /* NULL before the first device */

/* A command's words; words[0] is its name, the last is followed by NULL. 0, or -1 with e set. */
typedef int owner_command_fn(char **words, struct err *e);

/* Adds to what is answered behind "ok". Returns 0. */
int owner_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

int owner_number(const char *word, uint64_t max, uint64_t *value, struct err *e);
bool owner_word_is(const char *word, const char *wanted);

owner_command_fn owner_limits, owner_buffer, owner_unmap, owner_map, owner_unmap_at, owner_poke,
	owner_peek, owner_fill, owner_differ, owner_physical, owner_fragments, owner_limit;
