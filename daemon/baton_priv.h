/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the baton share: baton.c, baton_source.c, baton_there.c. */
#pragma once

#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "lib/list.h"

enum baton_wish { WISH_NONE, WISH_FINISH, WISH_ABORT };

struct baton {
	struct list_node node;
	struct daemon *d;
	char move[BATON_MOVE_SIZE];
	char vm[REGISTRY_NAME_MAX];
	enum baton_state state;
	uint64_t epoch;
	char peer[CHANNEL_URI_MAX];
	char *text; /* source: the I/O state that is on its way, or "" */

	/* of the source */
	struct channel *channel;
	bool calling;        /* an answer is awaited */
	bool passing;        /* the disks are synced, before it leaves */
	unsigned int syncs;  /* hands that still work; whoever comes last goes on */
	struct err sync_err; /* of the first that failed */
	struct watch *again; /* timer: try again */
	bool runs_there;     /* it was asked back, and runs */
	enum baton_wish wish;
	struct json *map;    /* of ASKING */
	baton_done_fn *done; /* who waits */
	void *arg;

	/* of the destination: an answer that waits for workers to die */
	baton_done_fn *answer;
	void *answer_arg;
	uint64_t revoked;
};

struct batons {
	struct daemon *d;
	struct list_node list;
};

struct baton *baton_by_move(struct daemon *d, const char *move);
/* The one that is under way for this VM, or NULL. */
struct baton *baton_by_vm(struct daemon *d, const char *vm);

struct baton *baton_new(struct daemon *d, const char *move, const char *vm, const char *peer,
	enum baton_state state, struct err *e);
void baton_free(struct baton *b);

/* The row; within a transaction or without. */
int baton_keep(
	struct baton *b, enum baton_state state, uint64_t epoch, const char *text, struct err *e);
int baton_unkeep(const struct baton *b, struct err *e);
/* The same, and so in memory, and told. */
int baton_set(
	struct baton *b, enum baton_state state, uint64_t epoch, const char *text, struct err *e);
void baton_now(struct baton *b, enum baton_state state, uint64_t epoch);

/* The attachments of the VM, one after the other. */
struct attachment *baton_next(struct baton *b, struct attachment *after);
/* What its state makes of each of them: who may do I/O, the gate, the worker. */
void baton_apply(struct baton *b);

/* baton_source.c */
void baton_step(struct baton *b);
/* Tells the one who waits, once. */
void baton_tell(struct baton *b, const char *reply, size_t len, const struct err *e);
