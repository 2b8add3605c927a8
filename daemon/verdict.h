/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verdict on a move, device by device, with all that is in the way of each. verdict.c has what the
 * source makes of it; the destination's part is restore_judge.c's.
 */
#pragma once

#include "daemon/baton.h"
#include "proto/json.h"

#define PROBLEMS_MAX 6

/* What is in the way of one device; of kind ERR_NONE from `count` on. */
struct problems {
	struct err each[PROBLEMS_MAX];
	unsigned int count;
};

/* True if rc says that something failed: then *e is one more of them (if it is not too many), and clean. */
bool problems_add(struct problems *p, int rc, struct err *e);

/* A device of the verdict, into an open array. */
void verdict_put_device(
	struct json_out *o, const char *name, const char *device, const struct problems *p);

/*
 * What a move of the VM to the iovd at `uri` would come to: a document, iovd.verdict/1. Devices that
 * cannot leave are judged here, all others there; where there are none of these nobody is asked. `map` (or
 * NULL): names there. -1: done() is not called.
 */
int verdict_ask(struct daemon *d, const char *vm, const char *uri, const struct json *map,
	baton_done_fn *done, void *arg, struct err *e);
