/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The baton at the destination: the words that it keeps before it says them (baton.c).
 *
 * "Back" is said only when no worker of ours can do I/O any more: all are killed, which stops the VMM
 * at its next message, and then the pages are looked at. If a ring has arrived, the VM runs here, and
 * the workers are started as they were; else RESERVED is kept, and their successors are idle.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/baton_priv.h"
#include "daemon/iostate.h"
#include "daemon/supervisor.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/log.h"

bool baton_move_is_valid(const char *move)
{
	return strlen(move) == BATON_MOVE_SIZE - 1 &&
	       strspn(move, "0123456789abcdef") == BATON_MOVE_SIZE - 1;
}

/* --- reserving -------------------------------------------------------------------------------- */

int baton_may_reserve(struct daemon *d, const char *move, const char *vm, struct err *e)
{
	const struct baton *there = baton_by_vm(d, vm);

	if (!baton_move_is_valid(move))
		return err_set(e, ERR_USAGE, JSON_CODE_PARAM, "this is no name of a move");
	if (baton_by_move(d, move))
		return err_set(e, ERR_REFUSED, "MIG-REFUSED", "the move of %s is over", vm);
	if (there)
		return err_set(
			e, ERR_BUSY, "MIG-UNDER-WAY", "%s is about to move, or has moved", vm);
	return 0;
}

int baton_keep_reserved(struct daemon *d, const char *move, const char *vm, struct err *e)
{
	struct baton b = {.d = d};

	str_copy(b.move, sizeof(b.move), move);
	str_copy(b.vm, sizeof(b.vm), vm);
	return baton_keep(&b, BATON_RESERVED, 0, "", e);
}

void baton_reserved(struct daemon *d, const char *move, const char *vm)
{
	struct err e = ERR_INIT;
	struct baton *b = baton_new(d, move, vm, "", BATON_RESERVED, &e);

	if (b)
		baton_now(b, BATON_RESERVED, 0);
	else
		log_error("%s: %s", vm, e.msg); /* the store knows; the next daemon does */
}

/* They go, one by one; who comes for them meanwhile finds a shut gate. */
static void take_away(struct baton *b)
{
	static const struct attach_caller nobody;
	struct attachment *a = NULL;
	struct err e = ERR_INIT;

	while ((a = baton_next(b, a))) {
		a->restoring = true;
		if (!a->busy && a->kept == KEPT_ATTACHED && detach_start(b->d, a, &nobody, &e) < 0)
			log_error("%s: %s", a->spec.id, e.msg);
	}
}

static int keep_refused(struct baton *b, struct err *e)
{
	struct store *store = registry_store(b->d->registry);

	if (store_begin(store, e) < 0)
		return -1;
	if (registry_keep_half_restored(b->d->registry, b->vm, e) == 0 &&
		baton_keep(b, BATON_REFUSED, b->epoch, "", e) == 0 && store_commit(store, e) == 0)
		return 0;
	store_rollback(store);
	return -1;
}

/* Whatever is asked from now on: no. What was reserved goes. */
int baton_refuse_reserved(struct baton *b, struct err *e)
{
	if (keep_refused(b, e) < 0)
		return -1;
	fault_point("baton.refused");
	baton_now(b, BATON_REFUSED, b->epoch);
	take_away(b);
	return 0;
}

/* The same for a move of which nothing is known. */
static int refuse_unknown(struct daemon *d, const char *move, struct err *e)
{
	struct baton *b = baton_new(d, move, "-", "", BATON_REFUSED, e);

	return b ? baton_set(b, BATON_REFUSED, 0, "", e) : -1;
}

/* --- storing, and granting --------------------------------------------------------------------------------- */

/* The n-th of the state, by its name. */
static struct attachment *find_by_name(struct baton *b, const struct iostate *s, uint32_t n)
{
	struct attachment *a = NULL;

	while ((a = baton_next(b, a)))
		if (strcmp(a->spec.name, s->attachments[n].identity.name) == 0)
			return a;
	return NULL;
}

static int check_one(struct baton *b, const struct iostate *s, uint32_t n, struct err *e)
{
	const struct iostate_attachment *saved = &s->attachments[n];
	const struct attachment *a = find_by_name(b, s, n);

	if (!a || a->kept != KEPT_ATTACHED)
		return err_set(e, ERR_REFUSED, "MIG-DIFFERS", "%s is not reserved here",
			saved->identity.name);
	if (a->spec.queues != iostate_queues(saved) || a->spec.readonly != saved->disk.readonly)
		return err_set(e, ERR_REFUSED, "MIG-DIFFERS", "%s was reserved otherwise",
			saved->identity.name);
	return 0;
}

static int check_all(struct baton *b, const struct iostate *s, struct err *e)
{
	struct attachment *a = NULL;
	uint32_t count = 0;

	while ((a = baton_next(b, a)))
		count++;
	if (count != s->attachment_count)
		return err_set(e, ERR_REFUSED, "MIG-DIFFERS",
			"%u are handed over, and %u were reserved", s->attachment_count, count);
	for (uint32_t n = 0; n < s->attachment_count; n++)
		if (check_one(b, s, n, e) < 0)
			return -1;
	return 0;
}

int baton_store(struct daemon *d, const char *move, const char *state, struct err *e)
{
	struct baton *b = baton_by_move(d, move);
	auto_iostate struct iostate *s = NULL;

	if (!b || b->state != BATON_RESERVED)
		return err_set(e, ERR_REFUSED, "MIG-REFUSED", "nothing is reserved for this move");
	s = iostate_of_text(state, e);
	if (!s)
		return -1;
	for (uint32_t n = 0; n < s->attachment_count; n++)
		if (check_one(b, s, n, e) < 0)
			return -1;
	fault_point("baton.storing");
	return baton_keep_text(b, state, e);
}

/* The state to each attachment, here and in the store: half of it is nothing (a rollback follows). */
static int keep_granted(struct baton *b, const struct iostate *s, struct incoming **each,
	uint64_t epoch, struct err *e)
{
	for (uint32_t n = 0; n < s->attachment_count; n++) {
		struct attachment copy = *find_by_name(b, s, n);

		copy.incoming = each[n];
		if (registry_keep_incoming(b->d->registry, &copy, e) < 0)
			return -1;
	}
	return baton_keep(b, BATON_GRANTED, epoch, "", e);
}

static void take_over(struct baton *b, const struct iostate *s, struct incoming **each)
{
	for (uint32_t n = 0; n < s->attachment_count; n++) {
		struct attachment *a = find_by_name(b, s, n);

		incoming_free(a->incoming);
		a->incoming = each[n];
		each[n] = NULL;
	}
}

static int prepare(const struct iostate *s, struct incoming **each, struct err *e)
{
	for (uint32_t n = 0; n < s->attachment_count; n++) {
		each[n] = incoming_new(s, n, e);
		if (!each[n])
			return -1;
	}
	return 0;
}

static int grant_now(struct baton *b, const struct iostate *s, uint64_t epoch, struct err *e)
{
	struct store *store = registry_store(b->d->registry);
	struct incoming *each[IOSTATE_MAX_ATTACHMENTS] = {0};
	int rc = prepare(s, each, e);

	if (rc == 0)
		rc = store_begin(store, e);
	if (rc == 0) {
		rc = keep_granted(b, s, each, epoch, e);
		if (rc == 0)
			rc = store_commit(store, e);
		if (rc < 0)
			store_rollback(store);
	}
	fault_point("baton.granted");
	if (rc == 0) {
		take_over(b, s, each);
		baton_now(b, BATON_GRANTED, epoch);
	}
	for (uint32_t n = 0; n < s->attachment_count; n++)
		incoming_free(each[n]);
	return rc;
}

static int grant_reserved(struct baton *b, uint64_t epoch, const char *text, struct err *e)
{
	auto_iostate struct iostate *s = NULL;

	if (epoch <= b->epoch) {
		err_set(e, ERR_REFUSED, "MIG-REFUSED", "epoch %llu was given back",
			(unsigned long long)epoch);
		return 0;
	}
	if (b->answer) { /* it is just being given back */
		err_set(e, ERR_BUSY, "BUSY", "the baton is being given back");
		return -1;
	}
	s = iostate_of_text(text, e);
	if (!s || check_all(b, s, e) < 0)
		return baton_refuse_reserved(b, NULL) < 0 ? -1 : 0;
	return grant_now(b, s, epoch, e) < 0 ? -1 : 1;
}

int baton_grant(
	struct daemon *d, const char *move, uint64_t epoch, const char *state, struct err *e)
{
	struct baton *b = baton_by_move(d, move);

	if (!b) {
		err_set(e, ERR_REFUSED, "MIG-REFUSED", "nothing is reserved for this move");
		return refuse_unknown(d, move, NULL) < 0 ? -1 : 0;
	}
	if (b->state == BATON_RESERVED)
		return grant_reserved(b, epoch, state, e);
	if (b->state == BATON_GRANTED && b->epoch == epoch)
		return 1;
	err_set(e, ERR_REFUSED, "MIG-REFUSED", "the move is over");
	return 0;
}

/* --- giving back ------------------------------------------------------------------------------ */

/* Its VMM has started a ring: from then on the guest may have seen what was done. */
static bool has_arrived(struct baton *b)
{
	struct attachment *a = NULL;

	while ((a = baton_next(b, a))) {
		struct session_status status;

		if (a->page_fd >= 0 && session_page_status(a->page_fd, &status, NULL) == 0 &&
			(status.started || !status.incoming))
			return true;
	}
	return false;
}

static void say_back(baton_done_fn *done, void *arg, bool back)
{
	const char *text = back ? "{\"back\":true}" : "{\"back\":false}";

	done(arg, text, strlen(text), NULL);
}

static void answer_revoke(struct baton *b, bool back, const struct err *e)
{
	baton_done_fn *answer = b->answer;
	struct attachment *a = NULL;

	b->answer = NULL;
	while ((a = baton_next(b, a)))
		a->on_worker = NULL;
	if (e)
		answer(b->answer_arg, NULL, 0, e);
	else
		say_back(answer, b->answer_arg, back);
	a = NULL;
	while ((a = baton_next(b, a)))
		supervisor_look(b->d->supervisor, a); /* their deaths are answered now */
}

/* All workers are dead: what the pages say is what there is. */
static void decide_revoke(struct baton *b)
{
	struct err e = ERR_INIT;
	bool back = !has_arrived(b);

	if (back && baton_set(b, BATON_RESERVED, b->revoked, "", &e) < 0)
		answer_revoke(b, false, &e);
	else
		answer_revoke(b, back, NULL);
}

static void revoke_news(void *arg)
{
	struct baton *b = arg;
	struct attachment *a = NULL;

	if (!b->answer)
		return;
	while ((a = baton_next(b, a)))
		if (a->worker.pid != 0)
			return;
	decide_revoke(b);
}

static void stop_all(struct baton *b)
{
	struct attachment *a = NULL;

	while ((a = baton_next(b, a))) {
		a->on_worker = revoke_news;
		a->on_worker_arg = b;
		supervisor_kill(b->d->supervisor, a, SIGKILL, NULL);
	}
	revoke_news(b);
}

static int revoke_granted(
	struct baton *b, uint64_t epoch, baton_done_fn *done, void *arg, struct err *e)
{
	struct attachment *a = NULL;

	if (b->answer)
		return err_set(e, ERR_BUSY, "BUSY", "it is just being given back");
	while ((a = baton_next(b, a)))
		if (a->busy || a->on_worker)
			return err_set(e, ERR_BUSY, "BUSY", "%s is busy", a->spec.id);
	if (has_arrived(b)) {
		say_back(done, arg, false);
		return 0;
	}
	b->answer = done;
	b->answer_arg = arg;
	b->revoked = epoch;
	stop_all(b);
	return 0;
}

int baton_revoke(struct daemon *d, const char *move, uint64_t epoch, baton_done_fn *done, void *arg,
	struct err *e)
{
	struct baton *b = baton_by_move(d, move);

	if (b && b->state == BATON_GRANTED && epoch >= b->epoch)
		return revoke_granted(b, epoch, done, arg, e);
	if (!b && refuse_unknown(d, move, e) < 0)
		return -1;
	if (b && b->state == BATON_RESERVED && epoch > b->epoch &&
		baton_set(b, BATON_RESERVED, epoch, "", e) < 0)
		return -1;
	say_back(done, arg, !b || b->state != BATON_GRANTED);
	return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

int baton_end_granted(struct baton *b, struct err *e)
{
	struct daemon *d = b->d;
	char vm[REGISTRY_NAME_MAX];

	if (baton_unkeep(b, e) < 0)
		return -1;
	str_copy(vm, sizeof(vm), b->vm);
	baton_free(b);
	attach_domain_arrived(d, vm);
	return 0;
}

int baton_end(struct daemon *d, const char *move, baton_done_fn *done, void *arg, struct err *e)
{
	struct baton *b = baton_by_move(d, move);

	if (b && b->state == BATON_GRANTED) {
		if (baton_end_granted(b, e) < 0)
			return -1;
	} else if (b && b->state == BATON_RESERVED && baton_refuse_reserved(b, e) < 0) {
		return -1;
	}
	done(arg, "{}", 2, NULL);
	return 0;
}

void baton_put(struct daemon *d, const char *move, struct json_out *o)
{
	struct baton *b = baton_by_move(d, move);
	struct attachment *a = b ? baton_next(b, NULL) : NULL;
	bool running = b && b->state == BATON_GRANTED;

	/* Where none is left, it has run, and ended (baton_keeps()). */
	for (; a; a = baton_next(b, a)) {
		registry_look(d->registry, a);
		running = running && a->state == ATTACHMENT_ACTIVE && !a->incoming;
	}
	json_out_bool(o, "gone", b && !running && baton_has_no_vmm(b));
	json_out_bool(o, "granted", b && b->state == BATON_GRANTED);
	json_out_u64(o, "epoch", b ? b->epoch : 0);
	json_out_bool(o, "running", running);
}
