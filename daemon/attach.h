/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making and unmaking attachments: the stages (lib/migrate/stages.h), by which a crash at any
 * point leaves the host as before or as after. Asked for by clients (daemon/do_attachment.c), and
 * gone on with after a crash (daemon/reconcile.c).
 */
#pragma once

#include "daemon/registry.h"
#include "lib/migrate/stages.h"

struct backing_facts;
struct daemon;

extern const struct stages_table attach_table;
extern const struct stages_table detach_table;

/* How it ended, as stages_done_fn; afterwards a rolled back or detached one does not exist. */
typedef void attach_done_fn(void *arg, struct attachment *a, const struct err *e);

/* What stage begins; may be NULL. */
typedef void attach_progress_fn(void *arg, const char *stage, unsigned int percent);

struct attach_caller {
	attach_done_fn *done;
	attach_progress_fn *progress;
	void *arg;
};

/* The disk of `a`, as backing_open() found it; consumes fd. */
void attachment_set_disk(struct attachment *a, const struct backing_facts *facts, int fd);

/*
 * Attaches `a`, which is in the registry with its backing_fd, or takes it away. -1: nothing was
 * done; `a` is still there.
 */
int attach_start(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e);
int detach_start(
	struct daemon *d, struct attachment *a, const struct attach_caller *caller, struct err *e);

/* What the journal has open for `a`. */
int attach_resume(struct daemon *d, struct attachment *a, const struct journal_op *op,
	const struct attach_caller *caller, struct err *e);

/* Makes an attachment serve that has neither worker nor vault (any more): a new socket, a fresh
 * vault. The supervisor hears of what comes of it. */
void attach_revive(struct daemon *d, struct attachment *a);

/* The folders of sockets that no attachment has. */
void attach_sweep_sockets(struct daemon *d);
