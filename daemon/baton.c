/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the baton, who has it, and how it is passed.
 *
 * Two iovds, each with a store of its own, and a channel between them that may lose any message, or
 * only its answer. A VMM that moves a VM tells neither of them when it is done, starts the device again
 * here when it has failed, and even when it has succeeded (QEMU connects again and replays). So the
 * right to do I/O is held by rows in the two stores, and the gates follow them:
 *
 *	source			gates here		destination		gates there
 *	------			----------		-----------		-----------
 *	(no row)		open			(no row)
 *	ASKING			open			(no row)
 *	READY n			open, armed		RESERVED n		shut, idle
 *	   | the VMM stops its rings while it logs: the gate shuts by itself (vu_gate.c), drains,
 *	   v the disk is synced
 *	LEFT n+1, state		shut, idle		RESERVED n		shut, idle	nobody has it
 *	LEFT n+1			"	<-- granted --	GRANTED n+1		open
 *	TAKEN n+1			"		GRANTED n+1		open
 *
 * LEFT is the point of no return: one transaction that has the I/O state in it, before Grant is sent.
 * From then on only a word of the destination's moves the source, and the destination keeps each
 * word in its store before it says it:
 *
 *	Grant n		GRANTED, or "no, and never n" (not reserved, or n was revoked)
 *	Revoke n	"back": RESERVED again, and no Grant up to n is taken any more, however late it
 *			comes; or "it runs": its VMM has started a ring, the VM lives there
 *	EndMove		RESERVED: REFUSED for ever, and its attachments go. GRANTED: the row goes
 *
 * Each may be said any number of times. Unanswered, the source says it again; it never guesses. So
 * the owner is the destination while its row is GRANTED, else the source if its row is not LEFT or
 * TAKEN: a Grant that was lost leaves nobody, and the disk untouched, until it is heard or revoked.
 *
 * The VM that goes on here (the VMM starts a ring behind the shut gate) makes the source ask for the
 * baton back, by itself; its requests wait until it has come. When the VM runs there as well, it
 * never comes back: one of the two is frozen, which is right, since only one of them can be the VM.
 *
 * A VMM may end as soon as it has sent the VM away, before the baton has left: that it had stopped all
 * rings is enough. If it had not (status.torn), the baton stays: what it told the other side of these
 * rings may be wrong.
 *
 * Idle: while the baton is elsewhere, the worker has the disk read-only and without locks; it
 * changes with the generation (supervisor_turn()), whose page has the gate's word before it is born.
 * At the destination the same step puts the I/O state into the page (baton_turn()).
 *
 *	killed ...			the next daemon finds ...
 *	ASKING				the answer is lost: ENDING; the destination drops what it may have
 *	READY				the same; gates that tripped meanwhile are seen when they are looked at
 *	between LEFT and the turn	a page that says otherwise than the row: the worker is turned then
 *	LEFT				Grant is sent again
 *	between GRANTED and the turn	the state is in the attachments' rows: turned then
 *	TAKEN, ENDING			asked, or told, again
 *	REFUSED				attachments that are marked as half restored: they go (reconcile)
 *	(the peer, for good)		LEFT stays: a person decides (abort, when it can be reached)
 *
 * A worker that dies takes nothing along: its gate is in its page, and in the row.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/baton_priv.h"
#include "daemon/domain_move.h"
#include "daemon/domains.h"
#include "daemon/iostate.h"
#include "daemon/supervisor.h"
#include "lib/fault.h"
#include "lib/log.h"

static const char *const state_names[] = {
	[BATON_ASKING] = "asking",
	[BATON_READY] = "ready",
	[BATON_LEFT] = "left",
	[BATON_TAKEN] = "taken",
	[BATON_ENDING] = "ending",
	[BATON_RESERVED] = "reserved",
	[BATON_GRANTED] = "granted",
	[BATON_REFUSED] = "refused",
};
static_assert(ARRAY_SIZE(state_names) == BATON_STATES, "a name for each");

/* What a state makes of the VM's attachments. */
static const struct {
	enum attachment_baton baton;
	unsigned int gate;
} effects[] = {
	[BATON_ASKING] = {BATON_HERE, 0},
	[BATON_READY] = {BATON_ARMED, SESSION_GATE_ARM},
	[BATON_LEFT] = {BATON_AWAY, SESSION_GATE_SHUT | SESSION_GATE_AWAY | SESSION_GATE_IDLE},
	[BATON_TAKEN] = {BATON_AWAY, SESSION_GATE_SHUT | SESSION_GATE_AWAY | SESSION_GATE_IDLE},
	[BATON_ENDING] = {BATON_HERE, 0},
	[BATON_RESERVED] = {BATON_COMING, SESSION_GATE_SHUT | SESSION_GATE_IDLE},
	[BATON_GRANTED] = {BATON_HERE, 0},
	[BATON_REFUSED] = {BATON_COMING, SESSION_GATE_SHUT | SESSION_GATE_IDLE},
};
static_assert(ARRAY_SIZE(effects) == BATON_STATES, "an effect of each");

/* --- finding ---------------------------------------------------------------------------------- */

struct baton *baton_by_move(struct daemon *d, const char *move)
{
	list_for_each (node, &d->batons->list) {
		struct baton *b = list_entry(node, struct baton, node);

		if (strcmp(b->move, move) == 0)
			return b;
	}
	return NULL;
}

/* Those that are over for the VM, and only for the peer are not, do not count. */
struct baton *baton_by_vm(struct daemon *d, const char *vm)
{
	list_for_each (node, &d->batons->list) {
		struct baton *b = list_entry(node, struct baton, node);

		if (strcmp(b->vm, vm) == 0 && b->state != BATON_ENDING && b->state != BATON_REFUSED)
			return b;
	}
	return NULL;
}

bool baton_is_under_way(struct daemon *d, const char *vm)
{
	const struct baton *b = baton_by_vm(d, vm);

	return b && b->state != BATON_GRANTED;
}

bool baton_is_arriving(struct daemon *d, const char *vm)
{
	const struct baton *b = baton_by_vm(d, vm);

	return b && b->state == BATON_GRANTED;
}

/* At the destination, once the VM has arrived it is like any other. */
bool baton_keeps(struct daemon *d, const struct attachment *a)
{
	const struct baton *b = baton_by_vm(d, a->spec.vm);

	return b && (b->state != BATON_GRANTED || a->incoming);
}

bool baton_is_leaving(struct daemon *d, const char *vm, enum baton_state *state)
{
	const struct baton *b = baton_by_vm(d, vm);

	if (!b || b->state > BATON_TAKEN)
		return false;
	*state = b->state;
	return true;
}

struct attachment *baton_next(struct baton *b, struct attachment *after)
{
	struct list_node *list = registry_list(b->d->registry);
	struct list_node *node = after ? after->node.next : list->next;

	for (; node != list; node = node->next) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, b->vm) == 0)
			return a;
	}
	return NULL;
}

bool baton_has_no_vmm(struct baton *b)
{
	const struct attachment *a = baton_next(b, NULL);
	const struct domain *domain;

	if (!a || !a->spec.domain[0] || !domains_are_known(b->d->domains))
		return false;
	domain = domains_find(b->d->domains, a->spec.domain);
	return !domain || !domain_is_active(domain);
}

/* --- what is kept ----------------------------------------------------------------------------- */

int baton_keep(
	struct baton *b, enum baton_state state, uint64_t epoch, const char *text, struct err *e)
{
	static const char sql[] =
		"INSERT OR REPLACE INTO baton (move, vm, state, epoch, peer, text, carry_ms)"
		" VALUES (?, ?, ?, ?, ?, ?, ?)";

	return store_run(registry_store(b->d->registry), sql,
		STORE_BIND(STORE_TEXT(b->move), STORE_TEXT(b->vm), STORE_INT(state),
			STORE_INT((int64_t)epoch), STORE_TEXT(b->peer), STORE_TEXT(text),
			STORE_INT((int64_t)b->carry_ms)),
		NULL, NULL, e);
}

int baton_unkeep(const struct baton *b, struct err *e)
{
	static const char sql[] = "DELETE FROM baton WHERE move = ?";

	return store_run(registry_store(b->d->registry), sql, STORE_BIND(STORE_TEXT(b->move)), NULL,
		NULL, e);
}

void baton_now(struct baton *b, enum baton_state state, uint64_t epoch)
{
	log_info("%s: the baton is %s, epoch %llu (move %s)", b->vm, state_names[state],
		(unsigned long long)epoch, b->move);
	b->state = state;
	b->epoch = epoch;
	baton_carry_reset(b);
	baton_apply(b);
}

int baton_keep_text(struct baton *b, const char *text, struct err *e)
{
	char *copy = strdup(text);

	if (!copy)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the baton");
	if (baton_keep(b, b->state, b->epoch, text, e) < 0) {
		free(copy);
		return -1;
	}
	free(b->text);
	b->text = copy;
	return 0;
}

int baton_set(
	struct baton *b, enum baton_state state, uint64_t epoch, const char *text, struct err *e)
{
	char *copy = strdup(text);

	if (!copy)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the baton");
	if (baton_keep(b, state, epoch, text, e) < 0) {
		free(copy);
		return -1;
	}
	fault_point("baton.%s", state_names[state]);
	free(b->text);
	b->text = copy;
	baton_now(b, state, epoch);
	return 0;
}

/* --- what follows ----------------------------------------------------------------------------- */

/* One that tripped is armed anew by another word; one that is not on the move is left alone. */
static void apply_to(
	struct daemon *d, struct attachment *a, enum attachment_baton baton, unsigned int gate)
{
	bool moves = a->baton != BATON_HERE || baton != BATON_HERE;

	a->baton = baton;
	if (!moves || (a->gate == gate && baton != BATON_ARMED))
		return;
	supervisor_set_gate(d->supervisor, a, gate);
	registry_look(d->registry, a);
}

void baton_apply(struct baton *b)
{
	struct attachment *a = NULL;

	while ((a = baton_next(b, a)))
		apply_to(b->d, a, effects[b->state].baton, effects[b->state].gate);
}

int baton_turn(struct daemon *d, struct attachment *a, struct err *e)
{
	if (a->gate & SESSION_GATE_IDLE) /* what was granted, and given back, is void */
		return session_facts_clear_incoming(a->page_fd, e);
	return incoming_fill(d, a, e);
}

const struct err *baton_was_stuck(struct daemon *d, const char *vm)
{
	const struct baton *b = baton_by_vm(d, vm);

	return b && b->stuck.kind != ERR_NONE ? &b->stuck : NULL;
}

void baton_looked(struct daemon *d, struct attachment *a)
{
	struct baton *b = baton_by_vm(d, a->spec.vm);

	if (b)
		baton_step(b);
	else
		baton_lease_look(d, a);
}

/* --- their life ------------------------------------------------------------------------------- */

struct baton *baton_new(struct daemon *d, const char *move, const char *vm, const char *peer,
	enum baton_state state, struct err *e)
{
	struct baton *b = calloc(1, sizeof(*b));

	if (b)
		b->text = strdup("");
	if (!b || !b->text) {
		free(b);
		err_set(e, ERR_FAILED, "MEMORY", "no memory for the baton");
		return NULL;
	}
	b->d = d;
	b->state = state;
	str_copy(b->move, sizeof(b->move), move);
	str_copy(b->vm, sizeof(b->vm), vm);
	str_copy(b->peer, sizeof(b->peer), peer);
	list_append(&d->batons->list, &b->node);
	return b;
}

void baton_free(struct baton *b)
{
	b->d->loop->ops->remove(b->again);
	channel_close(b->channel);
	json_free(b->map);
	list_remove(&b->node);
	free(b->carried);
	free(b->text);
	free(b);
}

struct batons *batons_new(struct daemon *d, struct err *e)
{
	struct batons *all = calloc(1, sizeof(*all));

	if (!all) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for moves");
		return NULL;
	}
	all->d = d;
	list_init(&all->list);
	return all;
}

void batons_free(struct batons *all)
{
	if (!all)
		return;
	list_for_each_safe (node, &all->list)
		baton_free(list_entry(node, struct baton, node));
	free(all);
}

/* --- after a start ---------------------------------------------------------------------------- */

static int load_row(void *arg, const struct store_row *row)
{
	struct daemon *d = arg;
	const char *move = store_row_text(row, 0), *vm = store_row_text(row, 1);
	const char *peer = store_row_text(row, 4), *text = store_row_text(row, 5);
	int64_t state = store_row_int(row, 2);
	struct err e = ERR_INIT;
	struct baton *b;

	if (!move || !vm || !peer || !text || state < 0 || state >= BATON_STATES) {
		log_error("store: a move makes no sense: left alone");
		return 0;
	}
	b = baton_new(d, move, vm, peer, (enum baton_state)state, &e);
	if (!b)
		return -1;
	b->epoch = (uint64_t)store_row_int(row, 3);
	b->carry_ms = (uint64_t)store_row_int(row, 6);
	free(b->text);
	b->text = strdup(text);
	return b->text ? 0 : -1;
}

int batons_load(struct daemon *d, struct err *e)
{
	static const char sql[] = "SELECT move, vm, state, epoch, peer, text, carry_ms FROM baton";

	return store_run(d->store, sql, STORE_NO_BIND, load_row, d, e);
}

/* Before anybody looks at pages: what is wanted of each. */
static void begin_one(struct baton *b)
{
	struct attachment *a = NULL;
	struct err e = ERR_INIT;

	if (b->state == BATON_ASKING && baton_set(b, BATON_ENDING, b->epoch, "", &e) < 0)
		log_error("%s: %s", b->vm, e.msg);
	if (b->state == BATON_ENDING || b->state == BATON_REFUSED)
		return;
	while ((a = baton_next(b, a))) {
		a->baton = effects[b->state].baton;
		a->gate = b->state == BATON_READY ? baton_carry_gate(b, a) : effects[b->state].gate;
		a->gate_word = 0;
	}
}

/* What was reserved, or restored, and goes again: nobody's, until it has gone. */
static void shut_leftovers(struct daemon *d)
{
	list_for_each (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->restoring)
			a->gate = SESSION_GATE_SHUT | SESSION_GATE_IDLE;
	}
}

void batons_begin(struct daemon *d)
{
	shut_leftovers(d);
	list_for_each_safe (node, &d->batons->list)
		begin_one(list_entry(node, struct baton, node));
	list_for_each_safe (node, &d->batons->list)
		baton_step(list_entry(node, struct baton, node));
	domain_moves_begin(d);
}
