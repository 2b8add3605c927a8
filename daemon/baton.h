/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The baton: the right to do I/O for a VM, while the VM moves from one host to another. At every
 * instant one iovd has it, or neither; never both. baton.c has the theory of operation.
 */
#pragma once

#include "daemon/channel.h"
#include "daemon/registry.h"

struct daemon;

#define BATON_MOVE_SIZE    33    /* of a move's name: 32 digits, terminated */
#define BATON_CARRY_MAX_MS 8000u /* less than a worker lets its VMM wait */

#define BATON_SCHEMA                                                                               \
	"CREATE TABLE baton ("                                                                     \
	"	move TEXT PRIMARY KEY,"                                                                  \
	"	vm TEXT NOT NULL,"                                                                       \
	"	state INTEGER NOT NULL,"                                                                 \
	"	epoch INTEGER NOT NULL,"                                                                 \
	"	peer TEXT NOT NULL,"                                                                     \
	"	text TEXT NOT NULL);"

/* The numbers are in the store. */
enum baton_state {
	/* at the source */
	BATON_ASKING, /* the destination is asked to reserve */
	BATON_READY,  /* it has; ours until the VMM stops */
	BATON_LEFT,   /* on its way: nobody's, until the destination answers */
	BATON_TAKEN,  /* the destination's */
	BATON_ENDING, /* ours for good; the destination has to hear it */
	/* at the destination */
	BATON_RESERVED, /* the source's */
	BATON_GRANTED,  /* ours */
	BATON_REFUSED,  /* never ours, whatever is asked later */
	BATON_STATES
};

/* How what was asked for ended: `reply` is the text of a document, or e. */
typedef void baton_done_fn(void *arg, const char *reply, size_t len, const struct err *e);

struct batons *batons_new(struct daemon *d, struct err *e);
void batons_free(struct batons *all);

/* What the store has, to each attachment; then, when their pages are there, what follows of it. */
int batons_load(struct daemon *d, struct err *e);
void batons_begin(struct daemon *d);

/* The VM is about to move, or has moved away: nothing can be attached to it here. */
bool baton_is_under_way(struct daemon *d, const char *vm);

/* At the destination: it is ours, and the source has still to go. */
bool baton_is_arriving(struct daemon *d, const char *vm);

/* Whatever becomes of its domain, it is needed until the move has ended. */
bool baton_keeps(struct daemon *d, const struct attachment *a);

/* At the source: false if the VM is not about to leave (any more), else how far that is. */
bool baton_is_leaving(struct daemon *d, const char *vm, enum baton_state *state);

/* Why it could not leave, though its VMM had stopped; NULL: there was nothing of the kind. */
const struct err *baton_was_stuck(struct daemon *d, const char *vm);
/* Its VMM was sent off before it had stopped: it can only go on here, and nobody else has to say so. */
bool baton_is_torn(struct daemon *d, const char *vm);
/* Before its VMM stops: -1 when requests are with a disk for that long already, and will not be carried. */
int baton_carry_check(struct daemon *d, const char *vm, uint64_t carry_ms, struct err *e);

/* The supervisor has looked at it. */
void baton_looked(struct daemon *d, struct attachment *a);
/* Its worker is dead: the page, before the next one is idle, or is so no more. 0 or -1. */
int baton_turn(struct daemon *d, struct attachment *a, struct err *e);

/* --- at the source: for the operator ---------------------------------------------------------- */

/*
 * Reserves there and arms here: from then on the baton goes when the VMM stops the VM to move it,
 * and comes back when the VMM starts it again here. `map` (or NULL): names there. The document is what
 * the destination has: its attachments. -1: nothing was begun.
 * `carry_ms`: requests that do not end in that time after the VMM has stopped are carried, if it can be
 * shown that they are not done here; 0: they are waited for.
 */
int baton_start(struct daemon *d, const char *vm, const char *uri, const struct json *map,
	uint64_t carry_ms, baton_done_fn *done, void *arg, struct err *e);

/* Waits until the VM runs there, then takes away what it had here. */
int baton_finish(struct daemon *d, const char *vm, baton_done_fn *done, void *arg, struct err *e);

/* All as before; fails if the VM runs there (MIG-RUNS). */
int baton_abort(struct daemon *d, const char *vm, baton_done_fn *done, void *arg, struct err *e);

/* The one who waits has gone. */
void baton_forget_waiter(struct daemon *d, const char *vm);

/* --- by lease ---------------------------------------------------------------------------------- */

/* Its move, if one is under way, goes by the leases on its volumes (daemon/lease.h). */
bool baton_goes_by_lease(struct daemon *d, const char *vm);

/*
 * At the destination: all attachments of the VM are there, marked as half restored, and their volumes
 * are claimed. From now on they stay until the VM runs here, or its VMM has ended before.
 */
int baton_reserve_lease(struct daemon *d, const char *vm, struct err *e);

/* --- at the destination: for the peer --------------------------------------------------------- */

bool baton_move_is_valid(const char *move);

/* A move of this name may be reserved: it was never refused, and is not there. */
int baton_may_reserve(struct daemon *d, const char *move, const char *vm, struct err *e);
/* In the transaction that keeps the attachments; afterwards baton_reserved(). */
int baton_keep_reserved(struct daemon *d, const char *move, const char *vm, struct err *e);
void baton_reserved(struct daemon *d, const char *move, const char *vm);

/* What is in flight at the source, which cannot end there: kept from now on, in place of what was. */
int baton_store(struct daemon *d, const char *move, const char *state, struct err *e);

/*
 * 1: it is ours from now on, or was already; 0: not, and with this epoch never will be (e says why);
 * -1: not known, to be asked again.
 */
int baton_grant(
	struct daemon *d, const char *move, uint64_t epoch, const char *state, struct err *e);

/* The answer to "give it back": done(reply {"back": true or false}). */
int baton_revoke(struct daemon *d, const char *move, uint64_t epoch, baton_done_fn *done, void *arg,
	struct err *e);

/* The move is over: what was reserved goes, what was granted stays. */
int baton_end(struct daemon *d, const char *move, baton_done_fn *done, void *arg, struct err *e);

/* {"granted", "epoch", "running", "gone"}, into an open object. */
void baton_put(struct daemon *d, const char *move, struct json_out *o);
