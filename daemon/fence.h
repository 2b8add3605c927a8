/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fencing: what an administrator's command makes of a path to a volume, so that nothing which was on
 * its way there lands any more: a reservation pre-empted, a server ended. Its exit status 0 is the
 * proof. fence.c has the theory of operation.
 */
#pragma once

#include "daemon/hands.h"
#include "daemon/registry.h"

#define FENCE_WORK "fence"

struct daemon;

/* It is proven (e is NULL), or not. */
typedef void fence_done_fn(void *arg, const struct err *e);

/* Runs the command of the attachment, which has one, for its device. done(), or -1: never. */
int fence_begin(struct daemon *d, const struct attachment_spec *spec, fence_done_fn *done,
	void *arg, struct err *e);

/* The work "fence COMMAND ATTACHMENT VM NAME DEVICE". */
int fence_work_run(char **words, void *result, int *fd, struct err *e);
