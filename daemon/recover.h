/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recover: the end of a hold. What the disk could not do is done again, in order, on the same device
 * opened anew, or on another one. Asked for by clients (daemon/do_recover.c), and gone on with
 * after a crash.
 */
#pragma once

#include "daemon/backing.h"
#include "daemon/registry.h"
#include "lib/device.h"
#include "lib/migrate/stages.h"

struct daemon;

struct recover_caller {
	void (*done)(void *arg, struct attachment *a, const struct err *e); /* as stages_done_fn */
	void (*progress)(void *arg, const char *stage, unsigned int percent); /* may be NULL */
	void *arg;
};

/* What an attachment is to go on with: its spec, with another device perhaps. */
struct recover_wish {
	struct attachment_spec spec;
	enum device_class class;
	struct backing_facts facts;
	int fd; /* open; -1: to be opened */
};

/* Whether there is anything to recover: requests are held, or no worker can serve. */
bool recover_is_due(const struct attachment *a);

/*
 * May the disk that was opened take over? It must have the size that the guest knows (DEV-SIZE), be
 * another path to the same volume (STALE-SPARE), and nothing of the old path may be written late
 * (LATE-WRITE). `allow` lists codes that are waived, with commas; NULL: none. 0 or -1.
 */
int recover_check(const struct attachment *a, const struct recover_wish *wish, const char *allow,
	struct err *e);

/* Goes on with wish->fd, which is consumed. -1: nothing was done. */
int recover_start(struct daemon *d, struct attachment *a, struct recover_wish *wish,
	const struct recover_caller *caller, struct err *e);

/* What the journal has open for `a`. */
extern const char recover_verb[];
int recover_go_on(struct daemon *d, struct attachment *a, const struct journal_op *op,
	const struct recover_caller *caller, struct err *e);
