/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a path leads, found out by a hand: a file server that is gone must not hold up the loop. */
#pragma once

#include "daemon/inventory.h"

struct hands;

/* `look` is NULL where the hand failed (e says how); a file that is not there is a look's error. */
typedef void file_look_fn(void *arg, const struct inventory_look *look, const struct err *e);

/* 0: done() will be called from the loop; -1. */
int file_look_begin(
	struct hands *hands, const char *path, file_look_fn *done, void *arg, struct err *e);

/* The work "look PATH" (struct inventory_look). */
#define FILE_LOOK_WORK "look"
int file_look_work(char **words, void *result, int *fd, struct err *e);
