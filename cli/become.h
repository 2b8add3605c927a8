/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this process has to become before it executes a VMM: another user, without privileges. */
#pragma once

#include "lib/err.h"

#define BECOME_FIRST_FD 3
#define BECOME_MAX_FDS  64
#define BECOME_USER_MAX 64

struct become {
	char user[BECOME_USER_MAX]; /* "": nobody was named */
	int fds[BECOME_MAX_FDS];    /* that it is to have, as 3, 4, 5, ... */
	unsigned int fd_count;
	uint64_t locked_bytes; /* RLIMIT_MEMLOCK; 0: as it is, UINT64_MAX: none */
};

/* Names the user; all who name one must mean the same. 0 or -1. */
int become_as(struct become *b, const char *user, struct err *e);

/* The next descriptors, which it owns then (also when this fails). */
int become_add_fds(struct become *b, const int *fds, unsigned int count, struct err *e);

/*
 * Becomes it, for good: user and groups, no capability, none to be gained by what is executed,
 * descriptors 0 to 2 and those of fds[] and no other. 0, or -1: then it may be half done, and the
 * process must end.
 */
int become_do(struct become *b, struct err *e);

/* Closes the descriptors. */
void become_release(struct become *b);
