/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the baton share. */
#pragma once

#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "lib/list.h"
#include "lib/migrate/iostate.h"

enum baton_wish { WISH_NONE, WISH_FINISH, WISH_ABORT };

/* The peer of a move that goes by lease: nobody is asked. */
#define BATON_PEER_LEASE "lease"

/* What hands have seen of the VM's volumes. */
enum lease_count { LEASE_VOLUMES, LEASE_CLAIMED, LEASE_OTHERS, LEASE_FAILED, LEASE_COUNTS };

struct baton {
	struct list_node node;
	struct daemon *d;
	char move[BATON_MOVE_SIZE];
	char vm[REGISTRY_NAME_MAX];
	enum baton_state state;
	uint64_t epoch;
	char peer[CHANNEL_URI_MAX];
	/*
	 * An I/O state, or "". Source: in READY, of what is carried, and stored there; in LEFT, what is on its
	 * way. Destination: in RESERVED, what is carried there.
	 */
	char *text;

	/* of the source */
	struct channel *channel;
	bool calling;        /* an answer is awaited */
	bool passing;        /* the disks are synced, before it leaves */
	unsigned int syncs;  /* hands that still work; whoever comes last goes on */
	struct err sync_err; /* of the first that failed */
	struct watch *again; /* timer: try again */
	uint64_t carry_ms;   /* how long requests may end by themselves; 0: they are not carried */
	char *carried;       /* an I/O state that the destination is asked to store, or NULL */
	bool is_stuck;       /* it cannot leave with what is in flight */
	bool is_let_in;      /* nor any more: its VMM was sent off, and gates are open for it */
	struct err stuck;    /* why that was so, now or before; else of kind ERR_NONE */
	bool runs_there;     /* it was asked back, and runs */
	uint64_t nowhere_ms; /* since when neither side has a VMM for it; 0: one has */
	enum baton_wish wish;
	struct json *map;    /* of ASKING */
	baton_done_fn *done; /* who waits */
	void *arg;

	/* by lease (baton_lease.c) */
	unsigned int acts; /* hands that are at it; whoever comes last goes on */
	unsigned int counts[LEASE_COUNTS];
	bool refused;    /* one of them is another host's */
	bool has_passed; /* all of them, since LEFT */
	void (*after)(struct baton *b);
	uint64_t begun_ms; /* of RESERVED */

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

/* One that goes by lease; it has a name nobody else knows. */
struct baton *baton_new_lease(
	struct daemon *d, const char *vm, enum baton_state state, struct err *e);

/* The row; within a transaction or without. */
int baton_keep(
	struct baton *b, enum baton_state state, uint64_t epoch, const char *text, struct err *e);
int baton_unkeep(const struct baton *b, struct err *e);
/* The same, and so in memory, and told. */
int baton_set(
	struct baton *b, enum baton_state state, uint64_t epoch, const char *text, struct err *e);
void baton_now(struct baton *b, enum baton_state state, uint64_t epoch);

/* The row, in the state that it has, with another text; in memory, too. */
int baton_keep_text(struct baton *b, const char *text, struct err *e);

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
/* All that the VM has has stopped, and at least one of them because the VM moves. */
bool baton_has_stopped(struct baton *b);
/* The VMM has started a ring: while the baton is elsewhere, or after the gate has tripped. */
bool baton_goes_on_here(struct baton *b);
/* It goes on here, or is to. */
bool baton_is_wanted_back(struct baton *b);
/* It stays here, whatever else comes. */
void baton_keep_here(struct baton *b);
/* It runs there, and is frozen here. */
void baton_refuse_back(struct baton *b);
/* It has moved: what the VM had here goes, one by one, and the move is over then. */
void baton_take_away(struct baton *b);
/*
 * Neither side has a VMM for it, as far as libvirt here and the other side (is_elsewhere) know: both have
 * died before one of them had all of the VM. Libvirt's news may be late, so that this has to be so for a
 * while; then whoever waits is told, and the baton comes back to where the VM is defined.
 */
void baton_note_nowhere(struct baton *b, bool is_elsewhere);
/* It stays here: whoever waits for its end there hears why. Before baton_keep_here(). */
void baton_tell_stays(struct baton *b, const struct err *e);
/* The one who waits hears that nothing is left here. */
void baton_tell_empty(struct baton *b);

/* baton_lease.c: the same where the lease is the baton. */
bool baton_is_lease(const struct baton *b);
void baton_lease_step(struct baton *b);
/* An attachment whose VM has no move under way was looked at: is it about to leave? */
void baton_lease_look(struct daemon *d, struct attachment *a);

/* baton_there.c */
int baton_refuse_reserved(struct baton *b, struct err *e);
int baton_end_granted(struct baton *b, struct err *e);
/* What its page says, if it has one and can move. */
bool baton_look_at(const struct attachment *a, struct session_status *status);

/* --- baton_carry.c: with READY, requests that do not end --------------------------------------- */

/* The VMM may have stopped, and waits. */
void baton_carry(struct baton *b);
/* Whatever is under way: gives up what has lasted too long. */
void baton_carry_late(struct baton *b);
/* The VM goes on here: as if nothing had been. 0, or -1: it is in the row still. */
int baton_carry_forget(struct baton *b, struct err *e);
/*
 * The VM goes on here. If its VMM was sent off, all gates open, so that it is let in again; whoever began
 * the move has to end it. False: it was not.
 */
bool baton_carry_let_in(struct baton *b);
/* Its VMM was sent off, and it goes on here. */
bool baton_carry_is_lost(struct baton *b);
/* The same as baton_carry_forget(), but for the row: there is a new one. */
void baton_carry_reset(struct baton *b);
/* Some of its requests are carried, and stored there. */
bool baton_is_stored(const struct attachment *a);
/* Of those attachments, what was stored is what leaves. */
int baton_carry_into(const struct baton *b, struct iostate *s, struct err *e);
/* After a start of the daemon: what its gate was told, and should be. */
unsigned int baton_carry_gate(const struct baton *b, struct attachment *a);

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
