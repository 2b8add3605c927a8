/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The baton at the source: what is asked of the destination, and what its answers mean (baton.c has
 * the states). One step at a time: baton_step() looks at the state, the attachments and the wish,
 * and does the one thing that follows, if nothing is under way; whatever happens calls it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/attach.h"
#include "daemon/baton_priv.h"
#include "daemon/hands.h"
#include "daemon/iostate.h"
#include "daemon/tap_node.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/nbd_uri.h"

#define SYNC_MS    60000
#define NOWHERE_MS 10000 /* until a VM that is seen on neither side counts as lost */
#define LOOK_MS    100   /* while somebody waits for the VM to run there */

/* --- the end ---------------------------------------------------------------------------------- */

void baton_tell_empty(struct baton *b)
{
	static const char reply[] = "{\"schema\":\"iovd.attachments/1\",\"attachments\":[]}";

	baton_tell(b, reply, strlen(reply), NULL);
}

static void ended(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;
	struct err own = ERR_INIT;

	(void)reply;
	if (baton_is_no_answer(b, "EndMove", e))
		return;
	if (baton_unkeep(b, &own) < 0) {
		log_error("%s: %s", b->vm, own.msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	baton_tell_empty(b);
	baton_free(b);
}

static void end_there(struct baton *b)
{
	struct json_out o;

	baton_put_move(b, &o);
	baton_ask(b, "EndMove", &o, ended);
}

/* It stays here: the VM goes on at once, and the destination hears of it in time. */
void baton_keep_here(struct baton *b)
{
	struct err e = ERR_INIT;

	if (baton_set(b, BATON_ENDING, b->epoch, "", &e) < 0) {
		log_error("%s: %s", b->vm, e.msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	attach_domain_check(b->d, b->vm); /* its domain may have gone meanwhile */
	baton_step(b);
}

/* Who waits for just that is told when all is as before. */
void baton_tell_stays(struct baton *b, const struct err *e)
{
	if (b->wish == WISH_FINISH)
		baton_tell(b, NULL, 0, e);
}

/* --- reserving -------------------------------------------------------------------------------- */

static void reserve_failed(struct baton *b, const struct err *e)
{
	struct err own = ERR_INIT;

	baton_tell(b, NULL, 0, e);
	/* Unreachable, it may have reserved all the same. */
	if (e->kind == ERR_UNREACHABLE || baton_unkeep(b, &own) < 0)
		baton_keep_here(b);
	else
		baton_free(b);
}

static void reserved(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;
	auto_free char *text = NULL;
	struct json_out o;
	struct err own = ERR_INIT;
	size_t len = 0;

	b->calling = false;
	if (e) {
		reserve_failed(b, e);
		return;
	}
	json_out_init(&o);
	json_out_value(&o, NULL, reply);
	text = json_out_finish(&o, &len);
	if (!text || baton_set(b, BATON_READY, b->epoch, "", &own) < 0) {
		if (!text)
			err_set(&own, ERR_FAILED, "MEMORY", "no memory for the answer");
		baton_tell(b, NULL, 0, &own);
		baton_keep_here(b);
		return;
	}
	baton_tell(b, text, len, NULL);
}

static void ask_reserve(struct baton *b)
{
	struct err e = ERR_INIT;
	auto_iostate struct iostate *s = iostate_describe(b->d, b->vm, &e);
	auto_free char *state = s ? iostate_to_text(s) : NULL;
	struct json_out o;

	if (!state) {
		if (s)
			err_set(&e, ERR_FAILED, "MEMORY", "no memory for a description");
		reserve_failed(b, &e);
		return;
	}
	baton_put_description(b, state, &o);
	if (baton_call(b, "Reserve", &o, BATON_CHECK_MS, reserved, &e) < 0)
		reserve_failed(b, &e);
}

/* --- passing it ------------------------------------------------------------------------------- */

bool baton_look_at(const struct attachment *a, struct session_status *status)
{
	return a->kept == KEPT_ATTACHED && a->page_fd >= 0 &&
	       session_page_status(a->page_fd, status, NULL) == 0;
}

bool baton_has_stopped(struct baton *b)
{
	struct attachment *a = NULL;
	unsigned int tripped = 0;

	while ((a = baton_next(b, a))) {
		struct session_status status;

		if (!baton_look_at(a, &status) || status.started ||
			status.gate_word != a->gate_word ||
			(status.tripped && (!status.settled || status.torn)))
			return false;
		tripped += status.tripped;
	}
	return tripped > 0;
}

bool baton_goes_on_here(struct baton *b)
{
	struct attachment *a = NULL;

	while ((a = baton_next(b, a))) {
		struct session_status status;

		if (!baton_look_at(a, &status))
			continue;
		if (b->state == BATON_READY ? status.came_back && status.gate_word == a->gate_word
					    : status.started)
			return true;
	}
	return false;
}

static void leave(struct baton *b)
{
	struct err e = ERR_INIT;
	auto_iostate struct iostate *s = NULL;
	auto_free char *text = NULL;

	if (!baton_has_stopped(b)) /* it goes on here: nothing has happened */
		return;
	s = iostate_collect(b->d, b->vm, &e);
	text = s && baton_carry_into(b, s, &e) == 0 ? iostate_to_text(s) : NULL;
	if (s && !text && e.kind == ERR_NONE)
		err_set(&e, ERR_FAILED, "MEMORY", "no memory for the I/O state");
	if (!text || baton_set(b, BATON_LEFT, b->epoch + 1, text, &e) < 0) {
		log_error("%s: cannot leave: %s", b->vm, e.msg);
		baton_try_later(b, BATON_AGAIN_MS);
	}
}

static void synced(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct baton *b = arg;

	(void)result, (void)len, (void)fd;
	if (e && b->sync_err.kind == ERR_NONE)
		b->sync_err = *e;
	if (--b->syncs)
		return;
	b->passing = false;
	if (b->sync_err.kind == ERR_NONE) {
		leave(b);
		baton_step(b);
		return;
	}
	log_error("%s: stays: its disk cannot be synced: %s", b->vm, b->sync_err.msg);
	baton_try_later(b, BATON_AGAIN_MS);
}

/* Of a volume the open file, since another connection would have to ask the server anew. */
static void name_to_sync(const struct attachment *a, char path[PATH_MAX])
{
	if (nbd_uri_is(a->spec.node))
		snprintf(path, PATH_MAX, "/proc/%d/fd/%d", (int)getpid(), a->backing_fd);
	else
		str_copy(path, PATH_MAX, a->spec.node);
}

/*
 * What was written is on the disk before another host reads it; a network has nothing to sync. Where requests are carried the path
 * leads nowhere any more. Nothing that was written is in a cache of this host's there (MIG-CACHE), and
 * what the volume itself has not made durable, it does when the guest asks for it by the other path.
 */
static void sync_disks(struct baton *b)
{
	struct attachment *a = NULL;
	char path[PATH_MAX];

	b->passing = true;
	b->sync_err = (struct err)ERR_INIT;
	b->syncs = 1;
	while ((a = baton_next(b, a))) {
		const char *const words[HAND_WORDS] = {"sync", path, NULL};
		struct err e = ERR_INIT;

		if (tap_node_is(a->spec.node) || baton_is_stored(a))
			continue;
		name_to_sync(a, path);
		b->syncs++;
		if (hands_do(b->d->hands, a->spec.node, words, SYNC_MS, synced, b, &e) < 0)
			synced(b, NULL, 0, -1, &e);
	}
	synced(b, NULL, 0, -1, NULL);
}

static void refused(struct baton *b, const char *why)
{
	struct err e = ERR_INIT;

	log_error("%s: the destination does not take it: %.200s", b->vm, why);
	err_set(&e, ERR_REFUSED, "MIG-REFUSED", "%s has not moved", b->vm);
	err_evidence(&e, "the destination says: %.200s", why);
	err_fix(&e, "its disks are here again, and it may go on here");
	baton_tell_stays(b, &e);
	baton_keep_here(b);
}

static void granted(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;
	struct err own = ERR_INIT;

	if (baton_is_no_answer(b, "Grant", e))
		return;
	if (!json_is_true(json_member(reply, "granted"))) {
		refused(b, json_member_str(reply, "why") ?: "no");
		return;
	}
	if (baton_set(b, BATON_TAKEN, b->epoch, "", &own) < 0) {
		log_error("%s: %s", b->vm, own.msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	baton_step(b);
}

static void ask_grant(struct baton *b)
{
	struct json_out o;

	baton_put_move(b, &o);
	json_out_u64(&o, "epoch", b->epoch);
	json_out_str(&o, "state", b->text);
	baton_ask(b, "Grant", &o, granted);
}

/* --- getting it back -------------------------------------------------------------------------- */

void baton_refuse_back(struct baton *b)
{
	struct err e = ERR_INIT;

	b->runs_there = true;
	log_error("%s: the VM runs at %s: it stays frozen here", b->vm,
		baton_is_lease(b) ? "another host" : b->peer);
	err_set(&e, ERR_REFUSED, "MIG-RUNS", "%s runs at the destination already", b->vm);
	err_evidence(&e, "its VMM there has started its disks");
	err_fix(&e, "iovctl migrate %s URI --end; and end the VMM that is left here", b->vm);
	if (b->wish == WISH_ABORT)
		baton_tell(b, NULL, 0, &e);
}

static void revoked(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;
	struct err own = ERR_INIT;

	if (baton_is_no_answer(b, "Revoke", e))
		return;
	if (!json_is_true(json_member(reply, "back"))) {
		baton_refuse_back(b);
		baton_step(b);
		return;
	}
	if (baton_set(b, BATON_READY, b->epoch, "", &own) < 0) {
		log_error("%s: %s", b->vm, own.msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	baton_step(b);
}

static void ask_back(struct baton *b)
{
	struct json_out o;

	baton_put_move(b, &o);
	json_out_u64(&o, "epoch", b->epoch);
	baton_ask(b, "Revoke", &o, revoked);
}

/* --- it has moved ----------------------------------------------------------------------------- */

static void taken_away(void *arg, struct attachment *a, const struct err *e)
{
	struct baton *b = baton_by_vm(arg, a->spec.vm);

	if (!b)
		return;
	b->calling = false;
	if (e) {
		log_error("%s: %s cannot be taken away: %s", b->vm, a->spec.id, e->msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	baton_try_later(b, 0); /* `a` is still in the list */
}

/* One after the other; the row goes last, since without it they would be ours. */
void baton_take_away(struct baton *b)
{
	const struct attach_caller caller = {.done = taken_away, .arg = b->d};
	struct attachment *a = baton_next(b, NULL);
	struct err e = ERR_INIT;

	if (!a) {
		baton_keep_here(b); /* and nothing is left here: only the destination's row */
		return;
	}
	if (a->busy || detach_start(b->d, a, &caller, &e) < 0)
		baton_try_later(b, BATON_AGAIN_MS);
	else
		b->calling = true;
}

void baton_note_nowhere(struct baton *b, bool is_elsewhere)
{
	struct err e = ERR_INIT;

	if (is_elsewhere || b->runs_there || !baton_has_no_vmm(b)) {
		b->nowhere_ms = 0;
		return;
	}
	if (b->nowhere_ms == 0)
		b->nowhere_ms = now_ms();
	if (now_ms() < b->nowhere_ms + NOWHERE_MS)
		return;
	log_error("%s: runs on neither host: its VMMs have died while it moved", b->vm);
	err_set(&e, ERR_PARTLY_DONE, "MIG-LOST", "%s runs on neither host", b->vm);
	err_evidence(&e, "libvirt has no QEMU for it here, and %s",
		baton_is_lease(b) ? "nobody waits for its volumes" : "has none there");
	err_fix(&e, "its disks are as after a loss of power: start it again");
	baton_tell(b, NULL, 0, &e);
	b->wish = WISH_ABORT;
}

/* It ran there, which is why it did not come back, and has no VMM any more, nor has it one here. */
static bool has_ended_there(struct baton *b)
{
	return b->runs_there && baton_has_no_vmm(b);
}

static void shown(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;
	bool gone;

	if (baton_is_no_answer(b, "ShowMove", e))
		return;
	gone = json_is_true(json_member(reply, "gone"));
	if (json_is_true(json_member(reply, "running")) || (gone && has_ended_there(b))) {
		baton_take_away(b);
		return;
	}
	baton_note_nowhere(b, !gone);
	baton_try_later(b, b->wish == WISH_FINISH ? LOOK_MS : BATON_AGAIN_MS);
}

static void ask_running(struct baton *b)
{
	struct json_out o;

	baton_put_move(b, &o);
	baton_ask(b, "ShowMove", &o, shown);
}

/* --- one step --------------------------------------------------------------------------------- */

static void go_on_here(struct baton *b)
{
	struct err e = ERR_INIT;

	if (baton_carry_forget(b, &e) < 0) {
		log_error("%s: %s", b->vm, e.msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	if (baton_carry_let_in(b))
		return;
	log_info("%s: goes on here, and may move again", b->vm);
	baton_apply(b);
}

static void step_ready(struct baton *b)
{
	if (b->wish == WISH_FINISH && b->is_stuck)
		baton_tell(b, NULL, 0, &b->stuck);
	else if (b->wish == WISH_ABORT)
		baton_keep_here(b);
	else if (baton_goes_on_here(b) || baton_carry_is_lost(b))
		go_on_here(b);
	else if (baton_has_stopped(b))
		sync_disks(b);
	else if (b->carry_ms)
		baton_carry(b);
}

/* Somebody waits for it; or it is a domain, of which libvirt takes care on both sides. */
static bool is_to_end(struct baton *b)
{
	const struct attachment *a = baton_next(b, NULL);

	return b->wish == WISH_FINISH || (a && a->spec.domain[0]);
}

bool baton_is_wanted_back(struct baton *b)
{
	return !b->runs_there && (b->wish == WISH_ABORT || baton_goes_on_here(b));
}

void baton_step(struct baton *b)
{
	if (b->state == BATON_READY && b->carry_ms)
		baton_carry_late(b);
	if (b->calling || b->passing)
		return;
	if (baton_is_lease(b)) {
		baton_lease_step(b);
		return;
	}
	switch (b->state) {
	case BATON_ASKING:
		ask_reserve(b);
		return;
	case BATON_READY:
		step_ready(b);
		return;
	case BATON_LEFT:
		if (baton_is_wanted_back(b))
			ask_back(b);
		else
			ask_grant(b);
		return;
	case BATON_TAKEN:
		if (baton_is_wanted_back(b))
			ask_back(b);
		else if (!baton_next(b, NULL))
			baton_keep_here(b);
		else if (is_to_end(b))
			ask_running(b);
		return;
	case BATON_ENDING:
		end_there(b);
		return;
	case BATON_RESERVED:
	case BATON_GRANTED:
	case BATON_REFUSED:
	case BATON_STATES:
		return;
	}
}
