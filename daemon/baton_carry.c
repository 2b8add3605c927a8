/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The baton at the source: requests that do not end (baton.c).
 *
 * Theory of operation. The VMM has stopped the VM and asks where the rings stand, one after the other; it
 * hears that when the ring has nothing in flight any more, and until then stands still with all it is.
 * Where the move was begun with a time for that (carry_ms), what does not end is carried:
 *
 *	from the start		it may end by itself
 *	after an eighth of it	what can be cancelled is cancelled, and stays in flight ("carry")
 *	after a quarter		the path to the disk is ended, if there is a command for that ("fence")
 *	at its end		it is given up: libvirt is told so, the worker sends the VMM off when a
 *				drain has lasted too long, and when the move is undone the VM goes on
 *
 * As soon as the host has nothing of ours any more, and that is proven (carry.h), the destination is told
 * what is in flight and where the rings stand (Store). It keeps that and says so; then it is in our row
 * (READY with a text); then the worker hears "stored", and the VMM where the ring stands. All else is as
 * in any move: the rings have stopped, so the baton leaves. What is in the row leaves with it, whatever
 * has become of the VMM and its in-flight region meanwhile; it is done there, once, when the VM has come.
 *
 * A VMM that was sent off ("torn") cannot tell the other side where its rings stand: this move is lost. What
 * it had in flight is in its region alone, and is done when it brings that back; but while the gate has tripped
 * no VMM is let in. So as soon as the VM is seen to go on here, by another disk that runs, gates open and are not
 * armed any more; else when libvirt has ended its migration (domain_follow.c), or a person the move.
 *
 * All these words arm the gate as well, so that it stays shut (vu_gate.c). When the VM goes on here the
 * row forgets, and the next word opens the gate: this worker, or its successor by the VMM's region, does
 * what was carried. The other side may keep what it has: it is not granted, and void by the next Store or
 * Grant.
 *
 *	killed ...			the next daemon finds ...
 *	before "stored" is in the row	what the gate was told: from there all is tried anew, and the path
 *					ended once more if somebody had begun that
 *	after it			"stored" is told (again)
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/baton_priv.h"
#include "daemon/carry.h"
#include "daemon/domain_move.h"
#include "daemon/iostate.h"
#include "daemon/supervisor.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/log.h"

#define HOPELESS_MS 2000 /* a request that is with the disk for less may be merely slow */

#define CARRIES (SESSION_GATE_ARM | SESSION_GATE_CARRY)
#define STORED  (CARRIES | SESSION_GATE_STORED)

bool baton_is_stored(const struct attachment *a)
{
	return (a->gate & STORED) == STORED;
}

/* --- what stands in the way ------------------------------------------------------------------- */

/* Its VMM waits for a ring. */
static bool is_waited_for(const struct attachment *a)
{
	struct session_status status;

	return baton_look_at(a, &status) && status.tripped && status.started && !status.came_back &&
	       !status.torn && !baton_is_stored(a);
}

/* Nothing of it is with the host, for certain. */
static bool is_carried(const struct attachment *a)
{
	struct session_status status;

	if (baton_is_stored(a))
		return true;
	return a->gate & SESSION_GATE_CARRY && is_waited_for(a) &&
	       session_page_status(a->page_fd, &status, NULL) == 0 &&
	       status.gate_word == a->gate_word && status.settled && !carry_lacks_proof(a, &status);
}

/* --- storing ---------------------------------------------------------------------------------- */

/* The n-th of the state is this one. NULL: it has none so called. */
static struct attachment *find(struct baton *b, const struct iostate *s, uint32_t n)
{
	struct attachment *a = NULL;

	while ((a = baton_next(b, a)))
		if (strcmp(a->spec.name, s->attachments[n].identity.name) == 0)
			return a;
	return NULL;
}

static bool is_in(const struct iostate *s, const struct attachment *a)
{
	for (uint32_t n = 0; s && n < s->attachment_count; n++)
		if (strcmp(a->spec.name, s->attachments[n].identity.name) == 0)
			return true;
	return false;
}

static struct iostate *stored_here(const struct baton *b, struct err *e)
{
	return b->text[0] ? iostate_of_text(b->text, e) : NULL;
}

static void let_stop(struct baton *b)
{
	struct err e = ERR_INIT;
	auto_iostate struct iostate *s = stored_here(b, &e);

	for (uint32_t n = 0; s && n < s->attachment_count; n++) {
		struct attachment *a = find(b, s, n);

		if (!a || baton_is_stored(a))
			continue;
		log_info("%s: %u requests of %s are carried", b->vm,
			s->attachments[n].request_count, a->spec.id);
		supervisor_set_gate(b->d->supervisor, a, STORED);
	}
}

static void stored(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;
	auto_free char *text = b->carried;
	struct err own = ERR_INIT;

	(void)reply;
	b->carried = NULL;
	if (baton_is_no_answer(b, "Store", e) || b->is_stuck)
		return;
	if (baton_keep_text(b, text, &own) < 0) {
		log_error("%s: %s", b->vm, own.msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	fault_point("baton.stored");
	let_stop(b);
	baton_step(b);
}

/* All that is carried, also what was stored before: each word replaces the one before. */
static void ask_store(struct baton *b)
{
	struct err e = ERR_INIT;
	auto_iostate struct iostate *s = iostate_collect_some(b->d, b->vm, is_carried, &e);
	struct json_out o;

	if (s && baton_carry_into(b, s, &e) == 0) {
		b->carried = iostate_to_text(s);
		if (!b->carried)
			err_set(&e, ERR_FAILED, "MEMORY", "no memory for an I/O state");
	}
	if (!b->carried) {
		log_error("%s: cannot carry: %s", b->vm, e.msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	fault_point("baton.carried");
	baton_put_move(b, &o);
	json_out_str(&o, "state", b->carried);
	baton_ask(b, "Store", &o, stored);
	if (!b->calling) {
		free(b->carried);
		b->carried = NULL;
	}
}

int baton_carry_into(const struct baton *b, struct iostate *s, struct err *e)
{
	auto_iostate struct iostate *before = NULL;

	if (!b->text[0])
		return 0;
	before = stored_here(b, e);
	if (!before)
		return -1;
	for (uint32_t i = 0; i < before->attachment_count; i++)
		for (uint32_t n = 0; n < s->attachment_count; n++) {
			struct iostate_attachment *now = &s->attachments[n];
			struct iostate_attachment *then = &before->attachments[i], other = *now;

			if (strcmp(now->identity.name, then->identity.name) != 0)
				continue;
			*now = *then;
			*then = other; /* which goes with the rest */
		}
	return 0;
}

/* --- what is tried, and when ------------------------------------------------------------------ */

static void path_ended(void *arg, struct attachment *a, const struct err *e)
{
	if (e)
		log_warning("%s: its path is not ended: %s", a->spec.id, e->msg);
	baton_looked(arg, a);
}

static bool may_end_path(const struct attachment *a)
{
	return a->spec.rescue.fence[0] &&
	       (a->fencing == FENCING_NONE || a->fencing == FENCING_UNKNOWN);
}

/* What is due so long after the VMM began to wait. When the next thing is. */
static uint64_t press(struct baton *b, struct attachment *a, uint64_t waited_ms)
{
	struct err e = ERR_INIT;

	if (waited_ms < b->carry_ms / 8)
		return b->carry_ms / 8;
	if (!(a->gate & SESSION_GATE_CARRY))
		supervisor_set_gate(b->d->supervisor, a, CARRIES);
	if (waited_ms < b->carry_ms / 4)
		return b->carry_ms / 4;
	if (!is_carried(a) && may_end_path(a) && carry_end_path(b->d, a, path_ended, b->d, &e) < 0)
		log_warning("%s: its path is not ended: %s", a->spec.id, e.msg);
	return b->carry_ms;
}

static uint64_t waited(struct attachment *a)
{
	if (!a->tripped_ms)
		a->tripped_ms = now_ms();
	return now_ms() - a->tripped_ms;
}

void baton_carry(struct baton *b)
{
	struct attachment *a = NULL;
	bool any = false;

	if (b->is_stuck)
		return;
	while ((a = baton_next(b, a))) {
		uint64_t now, due;

		if (!is_waited_for(a))
			continue;
		now = waited(a);
		due = press(b, a, now);
		any |= is_carried(a);
		baton_try_later(b, due - MIN(now, due));
	}
	if (any)
		ask_store(b);
}

/* --- giving it up ----------------------------------------------------------------------------- */

static const char *why_stuck(const struct attachment *a)
{
	if (is_carried(a))
		return "the destination has not stored them";
	if (!a->spec.rescue.fence[0])
		return "no command ends its path";
	return a->fencing == FENCING_FAILED ? "its path could not be ended"
					    : "its path has not ended in that time";
}

static void say_stuck(struct err *e, const struct attachment *a)
{
	err_set(e, ERR_FAILED, "MIG-STUCK", "requests of %s neither end nor can be carried",
		a->spec.id);
	err_fix(e, "the VM goes on here: look at the disk, or attach it with --fence");
}

/* Until the move is undone nothing further is tried. */
static void give_up(struct baton *b, const struct attachment *a)
{
	struct err *e = &b->stuck;

	b->is_stuck = true;
	say_stuck(e, a);
	err_evidence(e, "not within %llu ms: %s", (unsigned long long)b->carry_ms, why_stuck(a));
	log_error("%s: %s: %s", b->vm, e->msg, e->evidence);
	domain_move_give_up(b->d, b->vm);
	baton_tell(b, NULL, 0, e);
}

void baton_carry_late(struct baton *b)
{
	struct attachment *a = NULL;

	while (!b->is_stuck && (a = baton_next(b, a)))
		if (is_waited_for(a) && waited(a) >= b->carry_ms)
			give_up(b, a);
}

/* Longer with the disk than they will be waited for, and nobody could end its path. */
static bool is_hopeless(const struct attachment *a, uint64_t carry_ms, struct err *e)
{
	struct session_request requests[SESSION_REQUESTS_MAX];
	int count = a->page_fd >= 0 ? session_page_requests(a->page_fd, requests, NULL) : 0;

	for (int i = 0; i < count && !a->spec.rescue.fence[0]; i++) {
		if (requests[i].parked || requests[i].age_ms < MAX(carry_ms, HOPELESS_MS))
			continue;
		say_stuck(e, a);
		err_evidence(e, "a %s is with the disk for %llu ms, and no command ends its path",
			session_request_names[requests[i].what],
			(unsigned long long)requests[i].age_ms);
		return true;
	}
	return false;
}

int baton_carry_check(struct daemon *d, const char *vm, uint64_t carry_ms, struct err *e)
{
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (carry_ms && strcmp(a->spec.vm, vm) == 0 && is_hopeless(a, carry_ms, e))
			return -1;
	}
	return 0;
}

/* --- the end of it ---------------------------------------------------------------------------- */

void baton_carry_reset(struct baton *b)
{
	struct attachment *a = NULL;

	b->is_stuck = b->is_let_in = false;
	while ((a = baton_next(b, a))) {
		a->tripped_ms = 0;
		a->fencing = FENCING_NONE;
	}
}

/* The first of its disks that has sent its VMM off, or NULL. */
static struct attachment *torn(struct baton *b)
{
	struct attachment *a = NULL;
	struct session_status status;

	while ((a = baton_next(b, a)))
		if (a->gate & SESSION_GATE_ARM && baton_look_at(a, &status) && status.torn)
			break;
	return a;
}

/* Some disk of it runs: not one that has tripped and was not started again. */
static bool runs_here(struct baton *b)
{
	struct attachment *a = NULL;
	struct session_status status;

	while ((a = baton_next(b, a)))
		if (baton_look_at(a, &status) && status.started &&
			status.gate_word == a->gate_word && (!status.tripped || status.came_back))
			return true;
	return false;
}

bool baton_carry_is_lost(struct baton *b)
{
	return torn(b) && runs_here(b);
}

bool baton_carry_let_in(struct baton *b)
{
	struct attachment *a = torn(b);

	if (!a)
		return false;
	log_info("%s: goes on here, and cannot move before this move has ended", b->vm);
	if (b->stuck.kind == ERR_NONE) {
		say_stuck(&b->stuck, a);
		err_evidence(&b->stuck, "its VMM was sent off, since they took too long to end");
	}
	b->is_stuck = b->is_let_in = true;
	for (a = baton_next(b, NULL); a; a = baton_next(b, a))
		supervisor_set_gate(b->d->supervisor, a, 0);
	return true;
}

bool baton_is_torn(struct daemon *d, const char *vm)
{
	struct baton *b = baton_by_vm(d, vm);

	return b && b->state == BATON_READY && (b->is_let_in || torn(b));
}

int baton_carry_forget(struct baton *b, struct err *e)
{
	if (b->text[0] && baton_keep_text(b, "", e) < 0)
		return -1;
	baton_carry_reset(b);
	return 0;
}

unsigned int baton_carry_gate(const struct baton *b, struct attachment *a)
{
	struct err e = ERR_INIT;
	auto_iostate struct iostate *s = stored_here(b, &e);
	struct session_status status;
	unsigned int told = 0;

	if (is_in(s, a))
		return STORED;
	if (a->page_fd >= 0 && session_page_status(a->page_fd, &status, NULL) == 0)
		told = session_gate_flags(status.gate_word);
	if (!(told & SESSION_GATE_ARM))
		return SESSION_GATE_ARM;
	if (told & SESSION_GATE_FENCE)
		a->fencing = FENCING_UNKNOWN;
	return told & ~SESSION_GATE_STORED; /* which was said of another list */
}
