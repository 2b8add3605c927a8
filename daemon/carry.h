/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that are carried instead of done: what shows that nobody does them any more. For quiesce
 * (daemon/quiesce.c) and for moves (daemon/baton_carry.c), whose gates say "carry".
 */
#pragma once

#include "daemon/registry.h"

struct daemon;

/* Some of its requests are over only if the path is ended, and that is not proven. */
bool carry_lacks_proof(const struct attachment *a, const struct session_status *status);

/* How it ended: a->fencing says so, too. Not called if that was set to something else meanwhile. */
typedef void carry_ended_fn(void *arg, struct attachment *a, const struct err *e);

/*
 * Ends the path of `a`, which has a command for that: its worker is told first, so that what fails is
 * kept, and not reported. `arg` has to be good as long as a->fencing is FENCING_RUNS.
 */
int carry_end_path(
	struct daemon *d, struct attachment *a, carry_ended_fn *ended, void *arg, struct err *e);
