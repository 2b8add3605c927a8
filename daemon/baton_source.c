/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The baton at the source: what is asked of the destination, and what its answers mean (baton.c has
 * the states). One step at a time: baton_step() looks at the state, the attachments and the wish,
 * and does the one thing that follows, if nothing is under way; whatever happens calls it again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "daemon/attach.h"
#include "daemon/baton_priv.h"
#include "daemon/conf.h"
#include "daemon/hands.h"
#include "daemon/iostate.h"
#include "daemon/supervisor.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/log.h"

#define CALL_MS  20000
#define CHECK_MS 60000 /* a reservation opens disks and starts workers */
#define SYNC_MS  60000
#define AGAIN_MS 1000
#define LOOK_MS  100 /* while somebody waits for the VM to run there */

/* --- the one who waits ------------------------------------------------------------------------ */

void baton_tell(struct baton *b, const char *reply, size_t len, const struct err *e)
{
	baton_done_fn *done = b->done;

	b->done = NULL;
	b->wish = WISH_NONE;
	if (done)
		done(b->arg, reply, len, e);
}

static void tell_empty(struct baton *b)
{
	static const char reply[] = "{\"schema\":\"iovd.attachments/1\",\"attachments\":[]}";

	baton_tell(b, reply, strlen(reply), NULL);
}

/* --- calls ------------------------------------------------------------------------------------ */

static void step_again(void *arg, unsigned int events)
{
	(void)events;
	baton_step(arg);
}

static void try_later(struct baton *b, uint64_t delay_ms)
{
	struct err e = ERR_INIT;

	if (b->again)
		b->d->loop->ops->set_timer(b->again, delay_ms);
	else
		b->again = b->d->loop->ops->add_timer(b->d->loop, delay_ms, step_again, b, &e);
}

/* The channel is of no use any more; the next call opens another. */
static void drop_channel(struct baton *b)
{
	channel_close(b->channel);
	b->channel = NULL;
}

static void put_move(const struct baton *b, struct json_out *o)
{
	json_out_init(o);
	json_out_object(o, NULL);
	json_out_str(o, "move", b->move);
}

/* Closes the document and sends it; what cannot be sent is tried again later. */
static int call_peer(struct baton *b, const char *method, struct json_out *o, uint64_t deadline_ms,
	channel_done_fn *done, struct err *e)
{
	json_out_end(o);
	if (!b->channel)
		b->channel = channel_open(b->d->loop, b->peer, b->d->conf->ssh, e);
	if (b->channel && channel_call(b->channel, method, o, deadline_ms, done, b, e) == 0) {
		b->calling = true;
		return 0;
	}
	json_out_release(o);
	drop_channel(b);
	return -1;
}

static void ask_peer(struct baton *b, const char *method, struct json_out *o, channel_done_fn *done)
{
	struct err e = ERR_INIT;

	if (call_peer(b, method, o, CALL_MS, done, &e) == 0)
		return;
	log_warning("%s: %s: %s: tried again", b->vm, method, e.msg);
	try_later(b, AGAIN_MS);
}

/* An answer has come. True if nothing is known from it: it is asked again. */
static bool is_no_answer(struct baton *b, const char *method, const struct err *e)
{
	b->calling = false;
	if (!e)
		return false;
	log_warning("%s: %s: %s: tried again", b->vm, method, e->msg);
	if (e->kind == ERR_UNREACHABLE)
		drop_channel(b);
	try_later(b, AGAIN_MS);
	return true;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void ended(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;
	struct err own = ERR_INIT;

	(void)reply;
	if (is_no_answer(b, "EndMove", e))
		return;
	if (baton_unkeep(b, &own) < 0) {
		log_error("%s: %s", b->vm, own.msg);
		try_later(b, AGAIN_MS);
		return;
	}
	tell_empty(b);
	baton_free(b);
}

static void end_there(struct baton *b)
{
	struct json_out o;

	put_move(b, &o);
	ask_peer(b, "EndMove", &o, ended);
}

/* It stays here: the VM goes on at once, and the destination hears of it in time. */
static void keep_here(struct baton *b)
{
	struct err e = ERR_INIT;

	if (baton_set(b, BATON_ENDING, b->epoch, "", &e) < 0) {
		log_error("%s: %s", b->vm, e.msg);
		try_later(b, AGAIN_MS);
		return;
	}
	end_there(b);
}

/* --- reserving -------------------------------------------------------------------------------- */

static void reserve_failed(struct baton *b, const struct err *e)
{
	struct err own = ERR_INIT;

	baton_tell(b, NULL, 0, e);
	/* Unreachable, it may have reserved all the same. */
	if (e->kind == ERR_UNREACHABLE || baton_unkeep(b, &own) < 0)
		keep_here(b);
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
		keep_here(b);
		return;
	}
	baton_tell(b, text, len, NULL);
}

/* Which files they are, by the names of the attachments: on storage that is shared they are so there. */
static void put_inodes(struct baton *b, struct json_out *o)
{
	struct attachment *a = NULL;

	json_out_object(o, "inodes");
	while ((a = baton_next(b, a))) {
		struct stat st;

		if (a->backing_fd >= 0 && fstat(a->backing_fd, &st) == 0 && S_ISREG(st.st_mode))
			json_out_fmt(o, a->spec.name, "%llu", (unsigned long long)st.st_ino);
	}
	json_out_end(o);
}

static void put_description(struct baton *b, const char *state, struct json_out *o)
{
	put_move(b, o);
	json_out_str(o, "vm", b->vm);
	json_out_str(o, "state", state);
	put_inodes(b, o);
	if (b->map)
		json_out_value(o, "map", b->map);
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
	put_description(b, state, &o);
	if (call_peer(b, "Reserve", &o, CHECK_MS, reserved, &e) < 0)
		reserve_failed(b, &e);
}

/* --- passing it ------------------------------------------------------------------------------- */

static bool look_at(const struct attachment *a, struct session_status *status)
{
	return a->kept == KEPT_ATTACHED && a->page_fd >= 0 &&
	       session_page_status(a->page_fd, status, NULL) == 0;
}

/* All that the VM has has stopped, and at least one of them because the VM moves. */
static bool has_stopped(struct baton *b)
{
	struct attachment *a = NULL;
	unsigned int tripped = 0;

	while ((a = baton_next(b, a))) {
		struct session_status status;

		if (!look_at(a, &status) || status.started || status.gate_word != a->gate_word ||
			(status.tripped && (!status.settled || status.torn)))
			return false;
		tripped += status.tripped;
	}
	return tripped > 0;
}

/* The VMM has started a ring: while the baton is elsewhere, or after the gate has tripped. */
static bool goes_on_here(struct baton *b)
{
	struct attachment *a = NULL;

	while ((a = baton_next(b, a))) {
		struct session_status status;

		if (!look_at(a, &status))
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

	if (!has_stopped(b)) /* it goes on here: nothing has happened */
		return;
	s = iostate_collect(b->d, b->vm, &e);
	text = s ? iostate_to_text(s) : NULL;
	if (s && !text)
		err_set(&e, ERR_FAILED, "MEMORY", "no memory for the I/O state");
	if (!text || baton_set(b, BATON_LEFT, b->epoch + 1, text, &e) < 0) {
		log_error("%s: cannot leave: %s", b->vm, e.msg);
		try_later(b, AGAIN_MS);
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
	try_later(b, AGAIN_MS);
}

/* What was written is on the disk before another host reads it. */
static void sync_disks(struct baton *b)
{
	struct attachment *a = NULL;

	b->passing = true;
	b->sync_err = (struct err)ERR_INIT;
	b->syncs = 1;
	while ((a = baton_next(b, a))) {
		const char *const words[HAND_WORDS] = {"sync", a->spec.node, NULL};
		struct err e = ERR_INIT;

		b->syncs++;
		if (hands_do(b->d->hands, a->spec.node, words, SYNC_MS, synced, b, &e) < 0)
			synced(b, NULL, 0, -1, &e);
	}
	synced(b, NULL, 0, -1, NULL);
}

static void granted(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;
	struct err own = ERR_INIT;

	if (is_no_answer(b, "Grant", e))
		return;
	if (!json_is_true(json_member(reply, "granted"))) {
		const char *why = json_member_str(reply, "why");

		log_error("%s: the destination does not take it: %.200s", b->vm, why ? why : "?");
		keep_here(b);
		return;
	}
	if (baton_set(b, BATON_TAKEN, b->epoch, "", &own) < 0) {
		log_error("%s: %s", b->vm, own.msg);
		try_later(b, AGAIN_MS);
		return;
	}
	baton_step(b);
}

static void ask_grant(struct baton *b)
{
	struct json_out o;

	put_move(b, &o);
	json_out_u64(&o, "epoch", b->epoch);
	json_out_str(&o, "state", b->text);
	ask_peer(b, "Grant", &o, granted);
}

/* --- getting it back -------------------------------------------------------------------------- */

static void refuse_back(struct baton *b)
{
	struct err e = ERR_INIT;

	b->runs_there = true;
	log_error("%s: the VM runs at %s: it stays frozen here", b->vm, b->peer);
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

	if (is_no_answer(b, "Revoke", e))
		return;
	if (!json_is_true(json_member(reply, "back"))) {
		refuse_back(b);
		baton_step(b);
		return;
	}
	if (baton_set(b, BATON_READY, b->epoch, "", &own) < 0) {
		log_error("%s: %s", b->vm, own.msg);
		try_later(b, AGAIN_MS);
		return;
	}
	baton_step(b);
}

static void ask_back(struct baton *b)
{
	struct json_out o;

	put_move(b, &o);
	json_out_u64(&o, "epoch", b->epoch);
	ask_peer(b, "Revoke", &o, revoked);
}

/* --- it has moved ----------------------------------------------------------------------------- */

static void take_away(struct baton *b);

static void taken_away(void *arg, struct attachment *a, const struct err *e)
{
	struct baton *b = baton_by_vm(arg, a->spec.vm);

	if (!b)
		return;
	b->calling = false;
	if (e) {
		log_error("%s: %s cannot be taken away: %s", b->vm, a->spec.id, e->msg);
		try_later(b, AGAIN_MS);
		return;
	}
	try_later(b, 0); /* `a` is still in the list */
}

/* One after the other; the row goes last, since without it they would be ours. */
static void take_away(struct baton *b)
{
	const struct attach_caller caller = {.done = taken_away, .arg = b->d};
	struct attachment *a = baton_next(b, NULL);
	struct err e = ERR_INIT;

	if (!a) {
		keep_here(b); /* and nothing is left here: only the destination's row */
		return;
	}
	if (a->busy || detach_start(b->d, a, &caller, &e) < 0)
		try_later(b, AGAIN_MS);
	else
		b->calling = true;
}

static void shown(void *arg, const struct json *reply, const struct err *e)
{
	struct baton *b = arg;

	if (is_no_answer(b, "ShowMove", e))
		return;
	if (b->wish == WISH_FINISH && json_is_true(json_member(reply, "running")))
		take_away(b);
	else
		try_later(b, LOOK_MS);
}

static void ask_running(struct baton *b)
{
	struct json_out o;

	put_move(b, &o);
	ask_peer(b, "ShowMove", &o, shown);
}

/* --- one step --------------------------------------------------------------------------------- */

static void step_ready(struct baton *b)
{
	if (b->wish == WISH_ABORT) {
		keep_here(b);
	} else if (goes_on_here(b)) {
		log_info("%s: goes on here, and may move again", b->vm);
		baton_apply(b);
	} else if (has_stopped(b)) {
		sync_disks(b);
	}
}

static bool is_wanted_back(struct baton *b)
{
	return !b->runs_there && (b->wish == WISH_ABORT || goes_on_here(b));
}

void baton_step(struct baton *b)
{
	if (b->calling || b->passing)
		return;
	switch (b->state) {
	case BATON_ASKING:
		ask_reserve(b);
		return;
	case BATON_READY:
		step_ready(b);
		return;
	case BATON_LEFT:
		if (is_wanted_back(b))
			ask_back(b);
		else
			ask_grant(b);
		return;
	case BATON_TAKEN:
		if (is_wanted_back(b))
			ask_back(b);
		else if (!baton_next(b, NULL))
			keep_here(b);
		else if (b->wish == WISH_FINISH)
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

/* --- for the operator ------------------------------------------------------------------------- */

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

static int name_move(char move[BATON_MOVE_SIZE], struct err *e)
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_sys(e, errno, "name a move");
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		snprintf(&move[(size_t)2 * i], 3, "%02x", bytes[i]);
	return 0;
}

/* A copy of the map: the request's own goes with it. */
static struct json *copy_map(const struct json *map, struct err *e)
{
	auto_free char *text = NULL;
	struct json_out o;
	size_t len;

	json_out_init(&o);
	json_out_value(&o, NULL, map);
	text = json_out_finish(&o, &len);
	return text ? json_parse(text, len, e) : NULL;
}

static struct baton *start_row(
	struct daemon *d, const char *vm, const char *uri, const struct json *map, struct err *e)
{
	char move[BATON_MOVE_SIZE];
	struct baton *b, *old = baton_by_vm(d, vm);

	if (channel_check_uri(uri, e) < 0 || check_startable(d, vm, e) < 0 ||
		name_move(move, e) < 0)
		return NULL;
	if (old) { /* it came from elsewhere, and lives here since */
		if (baton_unkeep(old, e) < 0)
			return NULL;
		baton_free(old);
	}
	b = baton_new(d, move, vm, uri, BATON_ASKING, e);
	if (b && map)
		b->map = copy_map(map, e);
	if (b && map && !b->map) {
		baton_free(b);
		return NULL;
	}
	return b;
}

int baton_start(struct daemon *d, const char *vm, const char *uri, const struct json *map,
	baton_done_fn *done, void *arg, struct err *e)
{
	auto_iostate struct iostate *s = iostate_describe(d, vm, e);
	struct baton *b = s ? start_row(d, vm, uri, map, e) : NULL;

	if (!b)
		return -1;
	if (baton_keep(b, BATON_ASKING, 0, "", e) < 0) {
		baton_free(b);
		return -1;
	}
	fault_point("baton.asking");
	b->done = done;
	b->arg = arg;
	try_later(b, 0);
	return 0;
}

/* --- the verdict ------------------------------------------------------------------------------ */

struct verdict {
	struct channel *channel;
	baton_done_fn *done;
	void *arg;
};

static void judged(void *arg, const struct json *reply, const struct err *e)
{
	struct verdict *v = arg;
	auto_free char *text = NULL;
	struct err own = ERR_INIT;
	struct json_out o;
	size_t len = 0;

	json_out_init(&o);
	if (reply)
		json_out_value(&o, NULL, reply);
	text = json_out_finish(&o, &len);
	if (!e && !text) {
		err_set(&own, ERR_FAILED, "MEMORY", "no memory for the verdict");
		e = &own;
	}
	v->done(v->arg, text, len, e);
	channel_close(v->channel);
	free(v);
}

static int ask_verdict(struct verdict *v, struct baton *b, const char *state, struct err *e)
{
	struct daemon *d = b->d;
	struct json_out o;

	v->channel = channel_open(d->loop, b->peer, d->conf->ssh, e);
	if (!v->channel)
		return -1;
	put_description(b, state, &o);
	json_out_end(&o);
	return channel_call(v->channel, "CheckMove", &o, CHECK_MS, judged, v, e);
}

int baton_check(struct daemon *d, const char *vm, const char *uri, const struct json *map,
	baton_done_fn *done, void *arg, struct err *e)
{
	auto_iostate struct iostate *s = iostate_describe(d, vm, e);
	auto_free char *state = s ? iostate_to_text(s) : NULL;
	struct verdict *v = state ? calloc(1, sizeof(*v)) : NULL;
	char move[BATON_MOVE_SIZE];
	struct baton *b = NULL;
	int rc = -1;

	if (s && !v)
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a verdict");
	if (v && channel_check_uri(uri, e) == 0 && name_move(move, e) == 0)
		b = baton_new(d, move, vm, uri, BATON_REFUSED, e);
	if (b && (!map || (b->map = copy_map(map, e)))) {
		*v = (struct verdict){.done = done, .arg = arg};
		rc = ask_verdict(v, b, state, e);
	}
	if (b)
		baton_free(b); /* it was there for its words only */
	if (rc < 0 && v) {
		channel_close(v->channel);
		free(v);
	}
	return rc;
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
	try_later(b, 0);
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
