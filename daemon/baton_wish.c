/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The baton at the source: what an operator asks for. What follows of it is baton_source.c's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/baton_priv.h"
#include "daemon/conf.h"
#include "daemon/iostate.h"
#include "lib/cleanup.h"
#include "lib/fault.h"

/* --- begin ------------------------------------------------------------------------------------ */

static int check_startable(struct daemon *d, const char *vm, struct err *e)
{
	struct baton *b = baton_by_vm(d, vm);

	if (b && b->state != BATON_GRANTED) {
		err_set(e, ERR_BUSY, "MIG-UNDER-WAY", "%s is about to move, or has moved", vm);
		return err_fix(e, "end that: iovctl migrate %s URI --end, or --abort", vm);
	}
	list_for_each (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, vm) != 0)
			continue;
		if (a->kept != KEPT_ATTACHED || a->busy || a->gating || a->quiesced || a->incoming)
			return err_set(e, ERR_BUSY, "BUSY", "%s is %s, and cannot begin to move so",
				a->spec.id, attachment_state_names[a->state]);
	}
	return 0;
}

int baton_name_move(char move[BATON_MOVE_SIZE], struct err *e)
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_sys(e, errno, "name a move");
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		snprintf(&move[(size_t)2 * i], 3, "%02x", bytes[i]);
	return 0;
}

struct baton *baton_new_lease(
	struct daemon *d, const char *vm, enum baton_state state, struct err *e)
{
	char move[BATON_MOVE_SIZE];

	return baton_name_move(move, e) < 0 ? NULL
					    : baton_new(d, move, vm, BATON_PEER_LEASE, state, e);
}

static struct baton *start_row(struct daemon *d, const char *vm, const char *uri,
	const struct json *map, uint64_t carry_ms, struct err *e)
{
	char move[BATON_MOVE_SIZE];
	struct baton *b, *old = baton_by_vm(d, vm);

	if (channel_check_uri(uri, e) < 0 || check_startable(d, vm, e) < 0 ||
		baton_name_move(move, e) < 0)
		return NULL;
	if (old) { /* it came from elsewhere, and lives here since */
		if (baton_unkeep(old, e) < 0)
			return NULL;
		baton_free(old);
	}
	b = baton_new(d, move, vm, uri, BATON_ASKING, e);
	if (!b)
		return NULL;
	b->map = json_share(map);
	b->carry_ms = carry_ms;
	return b;
}

int baton_start(struct daemon *d, const char *vm, const char *uri, const struct json *map,
	uint64_t carry_ms, baton_done_fn *done, void *arg, struct err *e)
{
	auto_iostate struct iostate *s = iostate_describe(d, vm, e);
	struct baton *b = s ? start_row(d, vm, uri, map, carry_ms, e) : NULL;

	if (!b)
		return -1;
	if (baton_keep(b, BATON_ASKING, 0, "", e) < 0) {
		baton_free(b);
		return -1;
	}
	fault_point("baton.asking");
	b->done = done;
	b->arg = arg;
	baton_try_later(b, 0);
	return 0;
}

/* --- finish and abort ------------------------------------------------------------------------- */

static struct baton *find_source(struct daemon *d, const char *vm, struct err *e)
{
	struct baton *b = baton_by_vm(d, vm);

	if (b && b->state < BATON_ENDING)
		return b;
	err_set(e, ERR_NOT_FOUND, "NO-MOVE", "%s is not about to move from here", vm);
	return NULL;
}

static int wish_for(struct daemon *d, const char *vm, enum baton_wish wish, baton_done_fn *done,
	void *arg, struct err *e)
{
	struct baton *b = find_source(d, vm, e);

	if (!b)
		return -1;
	if (b->done)
		return err_set(e, ERR_BUSY, "BUSY", "somebody waits for %s already", vm);
	b->wish = wish;
	b->done = done;
	b->arg = arg;
	b->runs_there = false; /* it may be asked again */
	baton_try_later(b, 0);
	return 0;
}

int baton_finish(struct daemon *d, const char *vm, baton_done_fn *done, void *arg, struct err *e)
{
	return wish_for(d, vm, WISH_FINISH, done, arg, e);
}

int baton_abort(struct daemon *d, const char *vm, baton_done_fn *done, void *arg, struct err *e)
{
	return wish_for(d, vm, WISH_ABORT, done, arg, e);
}

void baton_forget_waiter(struct daemon *d, const char *vm)
{
	struct baton *b = baton_by_vm(d, vm);

	if (b) {
		b->done = NULL;
		b->wish = WISH_NONE;
	}
}
