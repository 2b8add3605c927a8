/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A storm is STORM_FAULTS of one attachment within STORM_MS, at least STORM_SEEN of
 * them told by the kernel, the others left out by it while nobody else had any. Then, with --on-fault
 * block, and while the machine goes on to have the device:
 *
 *	a hand:	bus master off, reset, bus master looked at	(daemon/faults_hand.c)
 *	it worked			the device is back with its machine, whose driver begins anew
 *	it did not, or it was the	given up: the device is quarantined; its machine can switch it on
 *	GIVE_UP'th within CALM_MS	again, and a hand looks every GUARD_MS, and switches it off
 *
 * A device that does not answer is given up, too: it is blocked as soon as it does again.
 *
 * What was done is an entry of its own. Given up ends with a renewal that works (attach_renew(), after
 * the machine), as for a device that could not be reset; that is an entry, too, so that the next daemon
 * knows by them who is given up.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/faults_hand.h"
#include "daemon/faults_priv.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define STORM_MS     15000
#define STORM_FAULTS 50
#define STORM_SEEN   3
#define CALM_MS      300000
#define GIVE_UP      3
#define HAND_MS      30000
#define GUARD_MS     500

static void tell(struct faults *f, const struct attachment *a, const char *code, const char *reason)
{
	struct fault_entry like = {.source = "iovd", .count = 1, .stream = -1, .pasid = -1};

	like.time_ms = like.latest_ms = utc_now_ms();
	str_copy(like.code, sizeof(like.code), code);
	str_copy(like.device, sizeof(like.device), a->spec.device);
	str_copy(like.vm, sizeof(like.vm), a->spec.vm);
	str_copy(like.attachment, sizeof(like.attachment), a->spec.id);
	str_copy(like.reason, sizeof(like.reason), reason);
	faults_tell(f, &like);
}

/* --- blocking --------------------------------------------------------------------------------- */

/* What a hand was told, until it answers: the attachment may be gone by then. */
struct block {
	struct faults *f;
	char id[KEEPER_ID_SIZE];
	bool resets;
};

static void mark_given_up(struct faults *f, struct attachment *a, const char *reason)
{
	a->storm.is_given_up = a->is_untrusted = true;
	snprintf(a->storm.action, sizeof(a->storm.action), "end its machine: %.180s", reason);
	f->d->loop->ops->set_timer(f->guard, GUARD_MS);
}

static void give_up(struct faults *f, struct attachment *a, const char *why)
{
	char reason[FAULT_REASON_MAX + 64];

	snprintf(reason, sizeof(reason), "its DMA is blocked, and it was given up: %s", why);
	mark_given_up(f, a, reason);
	tell(f, a, "FAULT-GIVEN-UP", reason);
	inventory_wedge_changed(f->d->inventory, a->spec.device); /* its state is another one */
}

static void judge(struct faults *f, struct attachment *a, const struct faults_blocked *b)
{
	if (!b->is_blocked || !b->is_reset || !b->answers) {
		give_up(f, a, b->what);
	} else if (a->storm.blocks >= GIVE_UP) {
		give_up(f, a, "it goes on after each reset");
	} else {
		tell(f, a, "FAULT-BLOCKED",
			"its DMA was blocked, it was reset, and it answers: its machine's driver "
			"has to begin anew");
	}
}

static void block_done(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	auto_free struct block *block = arg;
	struct attachment *a = registry_by_id(block->f->d->registry, block->id);

	close_fd(&fd);
	if (!a)
		return;
	a->storm.is_being_blocked = false;
	a->storm.seen = a->storm.left_out = 0;
	a->storm.began_ms = now_ms();
	if (!block->resets)
		return; /* it is guarded: the next one tries again */
	if (e || len < sizeof(struct faults_blocked))
		give_up(block->f, a, e ? e->msg : "no answer");
	else
		judge(block->f, a, result);
}

static void block_device(struct faults *f, struct attachment *a, bool resets)
{
	char ids[FAULTS_IDS_MAX];
	const char *const words[HAND_WORDS] = {FAULTS_WORK_BLOCK, ids, resets ? "reset" : "block"};
	struct block *block = calloc(1, sizeof(*block));
	struct err e = ERR_INIT;

	if (!block)
		return; /* the next fault tries again */
	faults_ids_of(a, ids);
	*block = (struct block){.f = f, .resets = resets};
	str_copy(block->id, sizeof(block->id), a->spec.id);
	if (hands_do(f->d->hands, a->spec.device, words, HAND_MS, block_done, block, &e) < 0) {
		free(block);
		if (!a->storm.is_given_up) {
			log_error("%s: it cannot be blocked: %s", a->spec.id, e.msg);
			give_up(f, a, e.msg);
		}
		return;
	}
	a->storm.is_being_blocked = true;
	a->storm.blocked_ms = now_ms();
}

/* --- storms ----------------------------------------------------------------------------------- */

static void begin_storm(struct faults *f, struct attachment *a)
{
	struct attachment_storm *s = &a->storm;
	bool blocks = a->spec.passthrough.on_fault == ON_FAULT_BLOCK;
	char reason[FAULT_REASON_MAX + 64];

	snprintf(reason, sizeof(reason), "at least %" PRIu64 " faults within %d s: %s",
		s->seen + s->left_out, STORM_MS / 1000,
		blocks ? "it is being blocked and reset" : "nothing is done (--on-fault report)");
	tell(f, a, "FAULT-STORM", reason);
	s->seen = s->left_out = 0;
	if (!blocks)
		return;
	s->blocks = s->blocked_ms && now_ms() < s->blocked_ms + CALM_MS ? s->blocks + 1 : 1;
	block_device(f, a, true);
}

static void count(struct faults *f, struct attachment *a, uint64_t seen, uint64_t left_out)
{
	struct attachment_storm *s = &a->storm;

	/* Without a VMM nothing but the hand-over is going on, which resets it anyway. */
	if (s->is_being_blocked || a->busy || a->state != ATTACHMENT_ACTIVE ||
		a->spec.path != ATTACHMENT_PASSTHROUGH)
		return;
	if (s->is_given_up)
		return; /* it is guarded */
	if (now_ms() > s->began_ms + STORM_MS) {
		s->began_ms = now_ms();
		s->seen = s->left_out = 0;
	}
	s->seen += seen;
	s->left_out += left_out;
	if (s->seen >= STORM_SEEN && s->seen + s->left_out >= STORM_FAULTS)
		begin_storm(f, a);
}

/* --- given up --------------------------------------------------------------------------------- */

static void guard(void *arg, unsigned int events)
{
	struct faults *f = arg;
	bool goes_on = false;

	(void)events;
	list_for_each (node, registry_list(f->d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (!a->storm.is_given_up)
			continue;
		goes_on = true;
		if (!a->storm.is_being_blocked && !a->busy && a->state == ATTACHMENT_ACTIVE)
			block_device(f, a, false);
	}
	if (goes_on)
		f->d->loop->ops->set_timer(f->guard, GUARD_MS);
}

void faults_policy_dead(struct faults *f, struct attachment *a)
{
	if (a->spec.passthrough.on_fault == ON_FAULT_BLOCK && !a->storm.is_given_up &&
		!a->storm.is_being_blocked)
		give_up(f, a, "it does not answer");
}

void faults_renewed(struct faults *f, struct attachment *a)
{
	if (f && a->storm.is_given_up)
		tell(f, a, "FAULT-OVER", "it was given up; it was reset, and is as new");
}

/* The last word on an attachment is in its entries. */
static const struct fault_entry *last_word(const struct faults *f, const struct attachment *a)
{
	for (struct list_node *node = f->entries.prev; node != &f->entries; node = node->prev) {
		const struct fault_entry *x = list_entry(node, struct fault_entry, node);

		if (strcmp(x->attachment, a->spec.id) == 0 &&
			(strcmp(x->code, "FAULT-GIVEN-UP") == 0 ||
				strcmp(x->code, "FAULT-OVER") == 0))
			return x;
	}
	return NULL;
}

void faults_policy_begin(struct faults *f)
{
	list_for_each (node, registry_list(f->d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);
		const struct fault_entry *x = last_word(f, a);

		if (x && strcmp(x->code, "FAULT-GIVEN-UP") == 0)
			mark_given_up(f, a, x->reason);
	}
}

int faults_policy_new(struct faults *f, struct err *e)
{
	f->guard = f->d->loop->ops->add_timer(f->d->loop, GUARD_MS, guard, f, e);
	return f->guard ? 0 : -1;
}

void faults_policy_free(struct faults *f)
{
	f->d->loop->ops->remove(f->guard);
}

void faults_policy_fault(struct faults *f, struct attachment *a)
{
	count(f, a, 1, 0);
}

void faults_policy_left_out(struct faults *f, struct attachment *a, uint64_t left_out)
{
	count(f, a, 0, left_out);
}
