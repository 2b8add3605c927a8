/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device that an attachment may go on with: found by any of its names, used by nobody else, and
 * opened by a hand. Whether it may take over is recover_check()'s to say.
 */
#pragma once

#include "daemon/recover.h"

/* Found and open (*wish is the callee's from then on, with its descriptor), or e. */
typedef void candidate_done_fn(void *arg, struct recover_wish *wish, const struct err *e);

/*
 * `spec` is the attachment's (copied), with an empty id where there is none yet: what it has itself
 * is not in its way. done() is called once, from the loop or before this returns; -1: never.
 */
int candidate_begin(struct daemon *d, const struct attachment_spec *spec, const char *name,
	candidate_done_fn *done, void *arg, struct err *e);
