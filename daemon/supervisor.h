/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps the workers of all attachments alive: speaks with the keeper, starts the next generation
 * when one has died, gives up on one that dies before it serves, again and again (for a while), and
 * tells workers when their disk changed its size.
 */
#pragma once

#include "daemon/registry.h"
#include "lib/backends/vault.h"

struct conf;
struct supervisor;

struct supervisor_owner {
	/* The keeper is gone: so must we be. */
	void (*lost)(void *arg);
	/* A worker that no attachment knows. */
	void (*unknown)(void *arg, const char *id, const struct keeper_item *item);
	/* The worker is dead, and its gate is about to let it be idle no more (or idle): the page is
	 * nobody's. -1: not yet. */
	int (*turn)(void *arg, struct attachment *a, struct err *e);
	/* The attachment has no vault, or its start failed: try to make it serve from nothing. */
	void (*revive)(void *arg, struct attachment *a);
	/* What is known of the attachment may have changed; and every now and then. */
	void (*looked)(void *arg, struct attachment *a);
	/* What is in the vault of the attachment could not be looked at before (disk_unknown): now? */
	void (*check)(void *arg, struct attachment *a);
	void *arg;
};

/* keeper_fd becomes the supervisor's. */
struct supervisor *supervisor_new(struct watch_loop *loop, struct registry *registry,
	const struct conf *conf, int keeper_fd, const struct supervisor_owner *owner,
	struct err *e);
void supervisor_free(struct supervisor *s);

/* What the keeper has: for each, the attachment is brought up to date, or owner->unknown() called. */
int supervisor_list(struct supervisor *s, struct err *e);

/* From now on deaths are answered (until then an attachment just knows). */
void supervisor_begin(struct supervisor *s);

/* The keeper may restart us from now on. */
int supervisor_up(struct supervisor *s, struct err *e);

int supervisor_fill(struct supervisor *s, const struct attachment *a, enum vault_slot slot, int fd,
	struct err *e);
int supervisor_fetch(struct supervisor *s, const char *id, enum vault_slot slot, struct err *e);
int supervisor_spawn(struct supervisor *s, struct attachment *a, struct err *e);
int supervisor_kill(struct supervisor *s, const struct attachment *a, int sig, struct err *e);
int supervisor_forget(struct supervisor *s, const struct attachment *a, struct err *e);

/* Tells the worker that this hold is over. */
int supervisor_release(
	struct supervisor *s, const struct attachment *a, uint32_t hold, struct err *e);

/*
 * What the gate of its worker is to be, SESSION_GATE_...: told again until it has heard, its
 * successors too. Where that makes an idle worker of one that is not, or the other way round, it is
 * a successor that will be so, and it finds the word in its page. a->on_gate() is told of news.
 */
void supervisor_set_gate(struct supervisor *s, struct attachment *a, unsigned int flags);

/* Acts on what is known of its worker, when an operation that did that is over. */
void supervisor_look(struct supervisor *s, struct attachment *a);

/* Its start did not work out: failed, with these words, and tried again after a while. */
void supervisor_give_up(struct supervisor *s, struct attachment *a, const char *reason);
