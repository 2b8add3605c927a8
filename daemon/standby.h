/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attachments with a standby: a virtual function for speed, a virtio card with the same MAC for safety.
 * What happens to the function is told to daemon/failover.h, and what that decides is begun.
 */
#pragma once

#include "daemon/registry.h"

struct daemon;

/*
 * An operation is over and it is attached, or the daemon has begun: it is looked after from now on. One
 * whose function has left gets its state here: a domain's, as long as that runs.
 */
void standby_keep_up(struct daemon *d, struct attachment *a);
void standby_forget(struct daemon *d, const struct attachment *a);
/* Listens to faults from now on. */
void standby_begin(struct daemon *d);
void standby_end(void);

/* --- what has happened; of an attachment without a standby nothing ------------------------------- */

/* a->link is another one. */
void standby_link(struct daemon *d, struct attachment *a);
/* Something about the host's devices may have changed. */
void standby_look(struct daemon *d);
/* The running machine has let go of its function, and nobody of ours told it to. */
void standby_let_go(struct daemon *d, struct attachment *a);

/* --- showing ------------------------------------------------------------------------------------ */

/* "redundant", "on standby", ...; NULL: it has no standby. */
const char *standby_word(const struct attachment *a);
/* Why no function has come yet; "" where there is nothing to say. */
const char *standby_waits_for(const struct attachment *a);
/* Members of an open object. */
void standby_put(const struct attachment *a, struct json_out *o);
