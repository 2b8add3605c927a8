/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which processes of the machine we run on have a file open for writing: VMMs that use a disk. */
#pragma once

#include <sys/types.h>

#include "lib/util.h"

struct opener {
	pid_t pid;
	int fd;
	char comm[32]; /* "qemu-system-x86" */
	size_t path;   /* which of the paths that were looked for */
};

/*
 * Looks through /proc for descriptors of the file that /proc calls `path` (absolute, no links). The
 * process `ours` (0: none), its children and the caller are passed over. Returns how many were found, at most
 * max; stops after some tens of thousands of descriptors. Never waits for the file itself.
 */
size_t openers_find(const char *path, pid_t ours, struct opener *found, size_t max);

/* The same for several files in one pass. */
size_t openers_find_any(
	const char *const *paths, size_t path_count, pid_t ours, struct opener *found, size_t max);

/* Codec: whether the text of a fdinfo file is of a descriptor that can write. */
bool openers_fdinfo_writes(const char *text);
