/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The baton of a VM whose two iovds cannot talk: the leases on its volumes (daemon/lease.h).
 *
 * Theory of operation. The rows and gates are those of baton.c; but nobody is asked. Each side reads
 * the other's state from the volume: the lease (who has it), and the claim (somebody waits for it).
 *
 *	source			lease	claim	lease	destination
 *	------			-----	-----	-----	-----------
 *	(no row)		held
 *	(no row)		held	held		RESERVED: its hook was called, its gate is shut
 *	READY: the VMM logs	held	held		RESERVED
 *	   | the VMM stops its rings: gates shut, drain, and the disks are synced; with no claim on
 *	   v them it was no move, and all waits for the VM to go on here
 *	LEFT			passed	held		RESERVED
 *	LEFT				held	held	RESERVED: its VMM has started the rings
 *	LEFT				held	held	GRANTED: its gate opens; the row goes when it runs
 *	TAKEN: what is here goes	held	held
 *
 * The hook of the destination comes before libvirt sends anything: where there is no lease to wait for
 * (nothing written, or nobody who holds it) the machine does not even begin to leave.
 *
 * Who goes on, if both try -- libvirt has resumed the source, say, when the destination was about to
 * run -- is decided by the locks, and for good: the source gets the lease back only while nobody has
 * had it since (lease_hand.c), and the destination passes it back only before GRANTED is in its
 * store. Of several volumes each side takes one after the other in the order of their names: the first one
 * decides.
 *
 *	killed ...			the next daemon finds ...
 *	before READY is kept		the VMM logs, or has stopped: armed then (vu_gate.c)
 *	READY				gates as they are: shut ones are synced again
 *	LEFT, before or after passing	passed (again)
 *	LEFT, having it back		the same, and it is taken back again: nobody else may have had it
 *	RESERVED, with the leases	they are taken again, or passed back when the VMM has ended
 *	GRANTED				turned, and the row goes when it runs
 *
 * The VMM of the source may be gone when the destination has never come to run (both have died, or
 * the destination has): nobody claims the volumes then, and after a while they are taken back.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/baton_priv.h"
#include "daemon/lease.h"
#include "lib/fault.h"
#include "lib/log.h"

#define LOOK_MS   200
#define ARRIVE_MS 10
#define NOBODY_MS                                                                                  \
	500 /* it has stopped, and nobody waits for it: it may go on here, or be claimed */
#define COMES_MS 60000 /* from the hook to libvirt's starting a VMM */

bool baton_is_lease(const struct baton *b)
{
	return strcmp(b->peer, BATON_PEER_LEASE) == 0;
}

bool baton_goes_by_lease(struct daemon *d, const char *vm)
{
	const struct baton *b = baton_by_vm(d, vm);

	return b && baton_is_lease(b);
}

/* --- what workers say ------------------------------------------------------------------------- */

/* At least one of them, or all. */
static bool look(struct baton *b, bool all, bool (*is_so)(const struct session_status *status))
{
	struct attachment *a = NULL;
	struct session_status status;

	while ((a = baton_next(b, a))) {
		bool so = a->page_fd >= 0 && session_page_status(a->page_fd, &status, NULL) == 0 &&
			  is_so(&status);

		if (so != all)
			return so;
	}
	return all;
}

static bool is_moving(const struct session_status *status)
{
	return status->logging || status->moved_off || status->tripped;
}

static bool has_requests(const struct session_status *status)
{
	return status->in_flight > 0;
}

static bool is_started(const struct session_status *status)
{
	return status->started;
}

static bool is_connected(const struct session_status *status)
{
	return status->connected;
}

static bool was_connected(const struct session_status *status)
{
	return status->vmm_sessions > 0;
}

/* --- what volumes say: hands ------------------------------------------------------------------ */

static void count_seen(void *arg, const struct lease_seen *seen, const struct err *e)
{
	struct baton *b = arg;

	if (e) {
		log_warning("%s: its lease: %s (%s)", b->vm, e->msg, e->evidence);
		b->counts[LEASE_FAILED]++;
		b->refused = b->refused || strcmp(e->code, "LEASE-HELD") == 0;
	} else if (seen) {
		b->counts[LEASE_CLAIMED] += seen->is_claimed;
		b->counts[LEASE_OTHERS] += seen->is_locked;
	}
	if (--b->acts)
		return;
	b->passing = false;
	b->after(b);
}

static void begin_round(struct baton *b, void (*after)(struct baton *b))
{
	memset(b->counts, 0, sizeof(b->counts));
	b->refused = false;
	b->passing = true;
	b->after = after;
	b->acts = 1;
}

static void act_on(struct baton *b, struct attachment *a, enum lease_act act)
{
	struct err e = ERR_INIT;

	b->counts[LEASE_VOLUMES]++;
	b->acts++;
	if (lease_act(b->d, a, act, count_seen, b, &e) < 0)
		count_seen(b, NULL, &e);
}

/* At all volumes at once; then after(). */
static void act_on_all(struct baton *b, enum lease_act act, void (*after)(struct baton *b))
{
	struct attachment *a = NULL;

	begin_round(b, after);
	while ((a = baton_next(b, a)))
		if (lease_is_needed(a))
			act_on(b, a, act);
	count_seen(b, NULL, NULL);
}

/* The first by name that is not ours. */
static struct attachment *next_to_take(struct baton *b)
{
	struct attachment *a = NULL, *first = NULL;

	while ((a = baton_next(b, a)))
		if (lease_is_needed(a) && !a->lease.is_ours &&
			(!first || strcmp(a->spec.name, first->spec.name) < 0))
			first = a;
	return first;
}

/* One; after() says whether another one follows. */
static void act_on_next(struct baton *b, enum lease_act act, void (*after)(struct baton *b))
{
	begin_round(b, after);
	act_on(b, next_to_take(b), act);
	count_seen(b, NULL, NULL);
}

/* --- at the source ---------------------------------------------------------------------------- */

/* What cannot be kept is tried again. */
static void become(struct baton *b, enum baton_state state, uint64_t epoch)
{
	struct err e = ERR_INIT;

	if (baton_set(b, state, epoch, "", &e) == 0) {
		baton_step(b);
		return;
	}
	log_error("%s: %s", b->vm, e.msg);
	baton_try_later(b, BATON_AGAIN_MS);
}

static void synced(struct baton *b)
{
	if (b->counts[LEASE_FAILED])
		baton_try_later(b, BATON_AGAIN_MS);
	else if (!baton_has_stopped(b)) /* it goes on here: nothing has happened */
		baton_step(b);
	else if (b->counts[LEASE_CLAIMED] == b->counts[LEASE_VOLUMES] &&
		 !look(b, false, has_requests)) /* nobody could be told of them */
		become(b, BATON_LEFT, b->epoch + 1);
	else
		baton_try_later(b, NOBODY_MS);
}

/* Its VMM has given it up. */
static void given_up(struct baton *b)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_REFUSED, "MIG-GIVEN-UP", "%s has not moved", b->vm);
	err_evidence(&e, "its VMM does not send it any more");
	baton_tell_stays(b, &e);
	baton_keep_here(b);
}

static void step_ready(struct baton *b)
{
	b->has_passed = false;
	if (b->wish == WISH_ABORT) {
		baton_keep_here(b);
	} else if (!look(b, false, is_moving)) {
		given_up(b);
	} else if (baton_goes_on_here(b)) {
		log_info("%s: goes on here, and may move again", b->vm);
		baton_apply(b);
	} else if (baton_has_stopped(b)) {
		act_on_all(b, LEASE_ACT_SYNC, synced);
	}
}

static void passed(struct baton *b)
{
	b->has_passed = !b->counts[LEASE_FAILED];
	if (b->has_passed)
		baton_step(b);
	else
		baton_try_later(b, BATON_AGAIN_MS);
}

static void taken_back(struct baton *b)
{
	if (b->refused)
		baton_refuse_back(b);
	if (b->counts[LEASE_FAILED])
		baton_try_later(b, BATON_AGAIN_MS);
	else
		baton_step(b);
}

static void seen_left(struct baton *b)
{
	if (b->counts[LEASE_VOLUMES] && b->counts[LEASE_OTHERS] == b->counts[LEASE_VOLUMES]) {
		become(b, BATON_TAKEN, b->epoch);
		return;
	}
	baton_note_nowhere(b, b->counts[LEASE_CLAIMED]);
	baton_try_later(b, LOOK_MS);
}

static void step_left(struct baton *b)
{
	if (!baton_is_wanted_back(b) && !b->has_passed)
		act_on_all(b, LEASE_ACT_PASS, passed);
	else if (!baton_is_wanted_back(b))
		act_on_all(b, LEASE_ACT_LOOK, seen_left);
	else if (next_to_take(b))
		act_on_next(b, LEASE_ACT_TAKE, taken_back);
	else
		become(b, BATON_READY, b->epoch);
}

static void step_taken(struct baton *b)
{
	if (baton_is_wanted_back(b))
		baton_refuse_back(b);
	baton_take_away(b);
}

/* Nobody has to hear of it. */
static void step_ending(struct baton *b)
{
	struct err e = ERR_INIT;

	if (baton_unkeep(b, &e) < 0) {
		log_error("%s: %s", b->vm, e.msg);
		baton_try_later(b, BATON_AGAIN_MS);
		return;
	}
	baton_tell_empty(b);
	baton_free(b);
}

/* All that writes has its lease, and nothing is done to it just now. */
static bool may_leave(struct daemon *d, const char *vm)
{
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, vm) != 0)
			continue;
		if (a->spec.path != ATTACHMENT_PARAVIRT || a->kept != KEPT_ATTACHED || a->busy ||
			a->gating || a->quiesced || a->lease.is_busy || a->disk_changes ||
			(lease_is_needed(a) && !a->lease.is_ours))
			return false;
	}
	return true;
}

void baton_lease_look(struct daemon *d, struct attachment *a)
{
	struct session_status status;
	struct err e = ERR_INIT;
	struct baton *b;

	if (!a->lease.is_ours || a->page_fd < 0 ||
		session_page_status(a->page_fd, &status, NULL) < 0 || !is_moving(&status) ||
		!may_leave(d, a->spec.vm))
		return;
	b = baton_new_lease(d, a->spec.vm, BATON_READY, &e);
	if (!b || baton_keep(b, BATON_READY, a->lease.epoch, "", &e) < 0) {
		log_error("%s: %s", a->spec.vm, e.msg);
		if (b)
			baton_free(b);
		return;
	}
	fault_point("baton.ready");
	baton_now(b, BATON_READY, a->lease.epoch);
}

/* --- at the destination ----------------------------------------------------------------------- */

int baton_reserve_lease(struct daemon *d, const char *vm, struct err *e)
{
	struct store *store = registry_store(d->registry);
	struct baton *b;

	if (baton_by_vm(d, vm))
		return err_set(
			e, ERR_BUSY, "MIG-UNDER-WAY", "%s is about to move, or has moved", vm);
	b = baton_new_lease(d, vm, BATON_RESERVED, e);
	if (!b || store_begin(store, e) < 0)
		goto failed;
	if (registry_keep_restored(d->registry, vm, e) < 0 ||
		baton_keep(b, BATON_RESERVED, 0, "", e) < 0 || store_commit(store, e) < 0) {
		store_rollback(store);
		goto failed;
	}
	fault_point("baton.reserved");
	for (struct attachment *a = baton_next(b, NULL); a; a = baton_next(b, a))
		a->restoring = false;
	baton_now(b, BATON_RESERVED, 0);
	baton_try_later(b, LOOK_MS);
	return 0;
failed:
	if (b)
		baton_free(b);
	return -1;
}

static void arrived(struct baton *b)
{
	baton_try_later(b, b->counts[LEASE_FAILED] ? BATON_AGAIN_MS : ARRIVE_MS);
}

static void given_back(struct baton *b)
{
	struct err e = ERR_INIT;

	if (!b->counts[LEASE_FAILED] && baton_refuse_reserved(b, &e) < 0)
		log_error("%s: its reservation stays: %s", b->vm, e.msg);
	baton_try_later(b, BATON_AGAIN_MS);
}

/* Its VMM has been here, and has ended, or did not come at all. */
static bool comes_no_more(struct baton *b)
{
	bool came = look(b, false, was_connected);

	if (!b->begun_ms)
		b->begun_ms = now_ms();
	return baton_has_no_vmm(b) && !look(b, false, is_connected) &&
	       (came || now_ms() > b->begun_ms + COMES_MS);
}

static void step_reserved(struct baton *b)
{
	if (comes_no_more(b)) {
		log_info("%s: does not arrive: the lease goes back", b->vm);
		act_on_all(b, LEASE_ACT_PASS, given_back);
	} else if (!look(b, false, is_started)) {
		baton_try_later(b, LOOK_MS);
	} else if (next_to_take(b)) {
		act_on_next(b, LEASE_ACT_ARRIVE, arrived);
	} else {
		become(b, BATON_GRANTED, baton_next(b, NULL)->lease.epoch);
	}
}

/* From then on it is like any other. */
static void step_granted(struct baton *b)
{
	bool runs = true;
	struct err e = ERR_INIT;

	for (struct attachment *a = baton_next(b, NULL); a; a = baton_next(b, a)) {
		registry_look(b->d->registry, a);
		runs = runs && a->state == ATTACHMENT_ACTIVE;
	}
	if (!runs && !baton_has_no_vmm(b)) {
		baton_try_later(b, LOOK_MS);
		return;
	}
	if (baton_end_granted(b, &e) < 0) {
		log_error("%s: %s", b->vm, e.msg);
		baton_try_later(b, BATON_AGAIN_MS);
	}
}

/* What was reserved goes, and then the row. */
static void step_refused(struct baton *b)
{
	if (baton_next(b, NULL))
		baton_try_later(b, LOOK_MS);
	else
		step_ending(b);
}

void baton_lease_step(struct baton *b)
{
	static void (*const steps[])(struct baton * b) = {
		[BATON_READY] = step_ready,
		[BATON_LEFT] = step_left,
		[BATON_TAKEN] = step_taken,
		[BATON_ENDING] = step_ending,
		[BATON_RESERVED] = step_reserved,
		[BATON_GRANTED] = step_granted,
		[BATON_REFUSED] = step_refused,
	};

	if (steps[b->state])
		steps[b->state](b);
}
