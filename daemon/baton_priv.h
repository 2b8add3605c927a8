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
	uint64_t nowhere_ms; /* since when neither side has a VMM for it; 0: one has */
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
/* Its domain's libvirt is there, and has no VMM for it (any more). */
bool baton_has_no_vmm(struct baton *b);
/* What its state makes of each of them: who may do I/O, the gate, the worker. */
void baton_apply(struct baton *b);

/* baton_wish.c: a name that no other move has. */
int baton_name_move(char move[BATON_MOVE_SIZE], struct err *e);

/* baton_source.c */
void baton_step(struct baton *b);

/* --- baton_call.c: asking the destination ------------------------------------------------------ */

#define BATON_CHECK_MS 60000 /* for a verdict or a reservation: disks are opened, workers started */
#define BATON_AGAIN_MS 1000  /* until something is tried again */

/* Tells the one who waits, once. */
void baton_tell(struct baton *b, const char *reply, size_t len, const struct err *e);

/* baton_step() again, in a while. */
void baton_try_later(struct baton *b, uint64_t delay_ms);

/* Begins a document with the name of the move. */
void baton_put_move(const struct baton *b, struct json_out *o);

/* The same, with all that the destination has to know of the VM; `state`: as iostate_to_text(). */
void baton_put_description(struct baton *b, const char *state, struct json_out *o);

/* Closes the document and sends it. -1: done() is not called. */
int baton_call(struct baton *b, const char *method, struct json_out *o, uint64_t deadline_ms,
	channel_done_fn *done, struct err *e);

/* The same; what cannot be sent is tried again later, by another step. */
void baton_ask(struct baton *b, const char *method, struct json_out *o, channel_done_fn *done);

/* An answer has come. True if nothing is known from it: it is asked again. */
bool baton_is_no_answer(struct baton *b, const char *method, const struct err *e);
