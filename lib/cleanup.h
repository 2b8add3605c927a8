/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ownership in declarations: a variable marked auto_free, auto_close, ... is released when its
 * scope ends; a result leaves by steal_ptr() or steal_fd(). For what only this process can see:
 * what the kernel or a guest can see is undone by written, ordered code.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

/* Closes and sets to -1; keeps errno; an fd below 0 is nothing to close. */
static inline void close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

static inline void cleanup_closedir_p(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static inline void cleanup_fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define auto_free     __attribute__((cleanup(cleanup_free_p)))
#define auto_close    __attribute__((cleanup(close_fd)))
#define auto_closedir __attribute__((cleanup(cleanup_closedir_p)))
#define auto_fclose   __attribute__((cleanup(cleanup_fclose_p)))

/* Takes the value out of an owner: the caller owns it now, the variable is empty. */
static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define steal_ptr(pp)                                                                              \
	({                                                                                         \
		__typeof__(*(pp)) taken_ = *(pp);                                                  \
		*(pp) = NULL;                                                                      \
		taken_;                                                                            \
	})
