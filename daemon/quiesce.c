/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * quiesce:	shut the gates, and wait	| undo: open those that were open
 *		keep it as quiesced		  commits, all of them in one transaction
 *
 * resume:	keep it as open			  commits
 *		open the gates
 *
 * What is wanted of a gate (a->gate) is in memory; the store has what it comes to after a crash
 * (a->quiesced), and each worker's page has what that worker obeys. The supervisor compares the two
 * whenever it looks, and tells the worker again (supervisor_set_gate()). So a crash of
 *
 *	a worker, while it drains	its successor goes on draining; the operation waits on
 *	a worker, quiesced		its successor is quiesced
 *	the daemon, while they drain	the journal is open and undecided: the next daemon, to which
 *					no attachment is quiesced, opens what it finds shut
 *	the daemon, after the commit	the next one finds all quiesced, and tells those that have
 *					not heard (none: all had, before the commit)
 *	the daemon, while it resumes	the same the other way round
 *
 * Requests to be carried that are not proven to be cancelled after a part of the time: where a command was
 * given that ends the path to the disk (daemon/fence.h), it is run then, and its word for it is that
 * proof for what failed, before or after. The worker is told first, so that what fails is kept, and
 * not reported; if the proof is not given in time, the gate opens, and what was kept is asked of the
 * disk once more.
 *
 * Requests of a disk that is held already have failed: nothing of them is with the kernel any more. Past the
 * page cache that is their end, and they are carried as they are. What went through the page cache the
 * kernel may write later, and what a server on the network was sent, that one may do later: that is
 * proven by the command alone, and without one the quiesce fails.
 *
 * The operation holds on to its attachments (gating), so that none goes away; it does not hold on to
 * their workers, whose deaths the supervisor answers as always.
 */
#include "daemon/quiesce.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/carry.h"
#include "daemon/daemon.h"
#include "daemon/supervisor.h"
#include "lib/log.h"

#define HEAR_MS   2000 /* for a worker to hear that its gate is open; later it is told again */
#define VM_PREFIX "vm:"

struct quiesce {
	struct daemon *d;
	struct quiesce_caller caller;
	struct stages *waits; /* the executor, while a stage waits */
	struct watch *timer;  /* of that stage */
	uint64_t timeout_ms;
	bool quiescing;
	bool carry;
	bool fenced;          /* paths have been ended, or are */
	char not_fenced[160]; /* why, of one of them; or "" */
	unsigned int count;
	struct attachment *members[]; /* those that are to change */
};

/* --- what is meant ---------------------------------------------------------------------------- */

int quiesce_find(struct registry *r, const char *name, struct quiesce_target *target, struct err *e)
{
	const char *vm = registry_find_vm(r, name);

	*target = (struct quiesce_target){.a = registry_find(r, name, e)};
	if (target->a && !vm)
		return 0;
	if (target->a) {
		err_set(e, ERR_USAGE, "AMBIGUOUS", "%s names a VM and an attachment", name);
		err_evidence(e, "%s (%s/%s)", target->a->spec.id, target->a->spec.vm,
			target->a->spec.name);
		return err_fix(e, "name the attachment by its id or as VM/NAME");
	}
	if (vm)
		str_copy(target->vm, sizeof(target->vm), vm);
	else if (e->kind == ERR_NOT_FOUND)
		err_set(e, ERR_NOT_FOUND, "NO-SUCH", "there is no VM or attachment %s", name);
	return vm ? 0 : -1;
}

struct attachment *quiesce_next(
	struct registry *r, const struct quiesce_target *target, struct attachment *after)
{
	struct list_node *list = registry_list(r);
	struct list_node *node = after ? after->node.next : list->next;

	if (target->a)
		return after ? NULL : target->a;
	for (; node != list; node = node->next) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, target->vm) == 0)
			return a;
	}
	return NULL;
}

bool quiesce_is(struct registry *r, const struct quiesce_target *target, bool quiesced)
{
	struct attachment *a = NULL;

	while ((a = quiesce_next(r, target, a)))
		if (a->quiesced != quiesced)
			return false;
	return true;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void gates_stop_waiting(struct quiesce *q)
{
	for (unsigned int i = 0; i < q->count; i++)
		q->members[i]->on_gate = NULL;
	q->d->loop->ops->remove(q->timer);
	q->timer = NULL;
}

static void gates_wake(struct quiesce *q, const struct err *e)
{
	struct stages *x = q->waits;

	q->waits = NULL;
	gates_stop_waiting(q);
	stages_continue(x, e);
}

/* Nothing shows that what has failed is over, and there is no command that could. */
static bool has_no_proof(const struct attachment *a)
{
	struct session_status status;

	return !a->spec.rescue.fence[0] && a->page_fd >= 0 &&
	       session_page_status(a->page_fd, &status, NULL) == 0 && carry_lacks_proof(a, &status);
}

/* What a worker's page says of the word that it was told: it has heard it, and drained if asked. */
static bool gate_is_as_wanted(const struct attachment *a)
{
	struct session_status status;

	if (a->page_fd < 0 || session_page_status(a->page_fd, &status, NULL) < 0)
		return false;
	if (status.gate_word != a->gate_word || carry_lacks_proof(a, &status))
		return false;
	return status.settled || !(a->gate & SESSION_GATE_SHUT);
}

static bool gates_are_as_wanted(const struct quiesce *q)
{
	for (unsigned int i = 0; i < q->count; i++) {
		const struct attachment *a = q->members[i];

		/* One that does not run need not be waited for: it will find its gate open. */
		if (!(a->gate & SESSION_GATE_SHUT) && a->worker.pid <= 0)
			continue;
		if (!gate_is_as_wanted(a))
			return false;
	}
	return true;
}

static void gates_look(void *arg)
{
	struct quiesce *q = arg;

	if (q->waits && gates_are_as_wanted(q))
		gates_wake(q, NULL);
}

static int gates_wait(
	struct quiesce *q, struct stages *x, watch_fn *late, uint64_t delay_ms, struct err *e)
{
	q->timer = q->d->loop->ops->add_timer(q->d->loop, delay_ms, late, q, e);
	if (!q->timer)
		return -1;
	q->waits = x;
	for (unsigned int i = 0; i < q->count; i++) {
		q->members[i]->on_gate = gates_look;
		q->members[i]->on_gate_arg = q;
	}
	return STAGE_WAITS;
}

/* Tells all of them, and waits until it has come true. */
static int gates_set(struct quiesce *q, struct stages *x, unsigned int flags, watch_fn *late,
	uint64_t delay_ms, struct err *e)
{
	for (unsigned int i = 0; i < q->count; i++)
		supervisor_set_gate(q->d->supervisor, q->members[i], flags);
	if (gates_are_as_wanted(q))
		return STAGE_DONE;
	return gates_wait(q, x, late, delay_ms, e);
}

/* --- quiesce ---------------------------------------------------------------------------------- */

/* Adds to the text; false: there is no room for all of it, and nothing was added. */
static bool append(char *text, size_t size, const char *words)
{
	size_t len = strlen(text);

	if (len + strlen(words) >= size)
		return false;
	str_copy(text + len, size - len, words);
	return true;
}

static void describe_request(const struct session_request *r, char *text, size_t size)
{
	if (r->what == SESSION_FLUSH)
		snprintf(
			text, size, "%s %" PRIu64 " ms", session_request_names[r->what], r->age_ms);
	else
		snprintf(text, size, "%s %" PRIu64 "+%" PRIu64 " %" PRIu64 " ms",
			session_request_names[r->what], r->sector, r->sectors, r->age_ms);
}

/* Those that stand in the way: carried, it is those that are with the host. */
static int requests_of(const struct attachment *a, bool carry, struct session_request *list)
{
	int count = a->page_fd < 0 ? 0 : session_page_requests(a->page_fd, list, NULL), kept = 0;

	for (int i = 0; i < count; i++)
		if (!carry || !list[i].parked)
			list[kept++] = list[i];
	return kept;
}

/* One attachment's stuck requests, as many as there is room for. How many there are. */
static unsigned int describe_stuck(const struct attachment *a, bool carry, char *text, size_t size)
{
	struct session_request list[SESSION_REQUESTS_MAX];
	int count = requests_of(a, carry, list);
	char words[128];

	if (count <= 0)
		return 0;
	snprintf(words, sizeof(words), "%s%s, sector+count and age: ", text[0] ? "; " : "",
		a->spec.id);
	append(text, size - 32, words);
	for (int i = 0; i < count; i++) {
		describe_request(&list[i], words + 2, sizeof(words) - 2);
		memcpy(words, ", ", 2);
		if (append(text, size - 32, i ? words : words + 2))
			continue;
		snprintf(words, sizeof(words), ", and %d more", count - i);
		append(text, size, words);
		break;
	}
	return (unsigned int)count;
}

static void shut_late(void *arg, unsigned int events)
{
	struct quiesce *q = arg;
	unsigned int count = 0, left = 0, no_proof = 0;
	struct err e = ERR_INIT;
	char stuck[sizeof(e.evidence)] = "";

	(void)events;
	for (unsigned int i = 0; i < q->count; i++) {
		if (gate_is_as_wanted(q->members[i]))
			continue;
		left++;
		no_proof += has_no_proof(q->members[i]);
		count += describe_stuck(q->members[i], q->carry, stuck, sizeof(stuck));
	}
	if (count)
		err_set(&e, ERR_TIMED_OUT, "STUCK",
			"%u requests do not end within %" PRIu64 " ms%s", count, q->timeout_ms,
			q->carry ? ", nor can they be cancelled" : "");
	else if (no_proof)
		err_set(&e, ERR_TIMED_OUT, "STUCK",
			"what has failed may be done later, and nothing shows that it is not");
	else
		err_set(&e, ERR_TIMED_OUT, "STUCK",
			"%u workers do not answer within %" PRIu64 " ms", left, q->timeout_ms);
	if (q->not_fenced[0])
		err_evidence(&e, "the path is not ended: %s; %s", q->not_fenced, stuck);
	else
		err_evidence(&e, "%s", stuck);
	if (no_proof)
		err_fix(&e, "the gate is open again; recover it first, or attach it with --fence");
	else
		err_fix(&e, "the gate is open again; look at the disk, or give it more --timeout");
	gates_wake(q, &e);
}

/* --- ending paths ----------------------------------------------------------------------------- */

static void path_ended(void *arg, struct attachment *a, const struct err *e)
{
	struct quiesce *q = arg;

	(void)a;
	if (e)
		str_copy(q->not_fenced, sizeof(q->not_fenced), e->msg);
	gates_look(q);
}

/* How long they may end by themselves; a command needs its time, too. */
static uint64_t patience_ms(const struct quiesce *q)
{
	return q->timeout_ms > 2000 ? q->timeout_ms / 2 : q->timeout_ms / 4;
}

/* Of those that still have requests with the host, the path is ended. */
static void shut_slow(void *arg, unsigned int events)
{
	struct quiesce *q = arg;
	struct err e = ERR_INIT;

	if (q->fenced) {
		shut_late(q, events);
		return;
	}
	q->fenced = true;
	for (unsigned int i = 0; i < q->count; i++) {
		struct attachment *a = q->members[i];

		if (a->spec.rescue.fence[0] && !gate_is_as_wanted(a) &&
			carry_end_path(q->d, a, path_ended, q, &e) < 0)
			str_copy(q->not_fenced, sizeof(q->not_fenced), e.msg);
	}
	q->d->loop->ops->set_timer(q->timer, q->timeout_ms - patience_ms(q));
}

static int quiesce_shut(struct stages *x, void *arg, struct err *e)
{
	struct quiesce *q = arg;
	unsigned int flags = SESSION_GATE_SHUT | (q->carry ? SESSION_GATE_CARRY : 0);

	if (q->carry)
		return gates_set(q, x, flags, shut_slow, patience_ms(q), e);
	return gates_set(q, x, flags, shut_late, q->timeout_ms, e);
}

static void open_late(void *arg, unsigned int events)
{
	(void)events;
	gates_wake(arg, NULL); /* the supervisor goes on telling */
}

static int gates_open(struct stages *x, void *arg, struct err *e)
{
	return gates_set(arg, x, 0, open_late, HEAR_MS, e);
}

static int gates_keep(struct quiesce *q, bool quiesced, struct err *e)
{
	for (unsigned int i = 0; i < q->count; i++)
		if (registry_keep_quiesced(q->d->registry, q->members[i],
			    quiesced ? q->members[i]->gate : 0, e) < 0)
			return -1;
	return STAGE_DONE;
}

static int quiesce_keep(struct stages *x, void *arg, struct err *e)
{
	(void)x;
	return gates_keep(arg, true, e);
}

static int resume_keep(struct stages *x, void *arg, struct err *e)
{
	(void)x;
	return gates_keep(arg, false, e);
}

static const struct stage quiesce_stages[] = {
	{"shut the gates", .run = quiesce_shut, .undo = gates_open},
	{"keep it as quiesced", .run = quiesce_keep, .commits = true},
};
static const struct stages_table quiesce_table = {
	"quiesce", quiesce_stages, ARRAY_SIZE(quiesce_stages)};

static const struct stage resume_stages[] = {
	{"keep it as open", .run = resume_keep, .commits = true},
	{"open the gates", .run = gates_open},
};
static const struct stages_table resume_table = {
	"resume", resume_stages, ARRAY_SIZE(resume_stages)};

/* --- the operation ---------------------------------------------------------------------------- */

static void quiesce_free(struct quiesce *q)
{
	gates_stop_waiting(q);
	for (unsigned int i = 0; i < q->count; i++)
		q->members[i]->gating = false;
	for (unsigned int i = 0; i < q->count; i++)
		q->members[i]->fencing = FENCING_NONE;
	free(q);
}

static void quiesce_done(void *arg, const struct err *e)
{
	struct quiesce *q = arg;

	for (unsigned int i = 0; !e && i < q->count; i++) {
		struct attachment *a = q->members[i];

		a->quiesced = a->gate & SESSION_GATE_SHUT;
		registry_look(q->d->registry, a);
	}
	if (q->caller.done)
		q->caller.done(q->caller.arg, e);
	if (e && e->kind == ERR_PARTLY_DONE)
		q->caller = (struct quiesce_caller){0}; /* the second end is nobody's */
	else
		quiesce_free(q);
}

static void quiesce_progress(
	void *arg, const struct stages_table *table, unsigned int n, bool undoing)
{
	struct quiesce *q = arg;
	char text[64];

	snprintf(text, sizeof(text), "%s%s", undoing ? "undo: " : "", table->stages[n].name);
	if (q->caller.progress)
		q->caller.progress(q->caller.arg, text, 100 * n / table->count);
}

static struct stages_owner quiesce_owner(struct quiesce *q)
{
	return (struct stages_owner){
		.loop = q->d->loop,
		.store = registry_store(q->d->registry),
		.done = quiesce_done,
		.progress = quiesce_progress,
		.arg = q,
	};
}

/* All members that the target has and that are to change. */
static struct quiesce *quiesce_new(struct daemon *d, const struct quiesce_target *target,
	bool quiescing, const struct quiesce_caller *caller, struct err *e)
{
	struct attachment *a = NULL;
	unsigned int count = 0;
	struct quiesce *q;

	while ((a = quiesce_next(d->registry, target, a)))
		count += a->quiesced != quiescing;
	q = calloc(1, sizeof(*q) + count * sizeof(q->members[0]));
	if (!q) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an operation");
		return NULL;
	}
	q->d = d;
	q->caller = *caller;
	q->quiescing = quiescing;
	while ((a = quiesce_next(d->registry, target, a))) {
		if (a->quiesced == quiescing)
			continue;
		a->gating = true;
		q->members[q->count++] = a;
	}
	return q;
}

static int check_member(const struct attachment *a, struct err *e)
{
	if (a->spec.path != ATTACHMENT_PARAVIRT) {
		err_set(e, ERR_REFUSED, "PATH", "%s (%s/%s) has no gate", a->spec.id, a->spec.vm,
			a->spec.name);
		err_evidence(e, "its path is %s", attachment_path_names[a->spec.path]);
		return err_fix(e, "detach it, or quiesce the others one by one");
	}
	if (a->baton != BATON_HERE) {
		err_set(e, ERR_BUSY, "MIG-UNDER-WAY", "%s is about to move, or has moved",
			a->spec.id);
		err_evidence(e, "it is %s", attachment_state_names[a->state]);
		return err_fix(
			e, "end the move: iovctl migrate %s URI --end, or --abort", a->spec.vm);
	}
	if (a->kept != KEPT_ATTACHED || a->busy || a->gating)
		return err_set(e, ERR_BUSY, "BUSY", "%s is %s, and something is being done to it",
			a->spec.id, attachment_state_names[a->state]);
	return 0;
}

static int check_members(struct registry *r, const struct quiesce_target *target, struct err *e)
{
	struct attachment *a = NULL;

	while ((a = quiesce_next(r, target, a)))
		if (check_member(a, e) < 0)
			return -1;
	return 0;
}

static int begin(struct daemon *d, const struct quiesce_target *target, bool quiescing, bool carry,
	uint64_t timeout_ms, const struct quiesce_caller *caller, struct err *e)
{
	char subject[sizeof(((struct journal_op *)0)->subject)];
	struct stages_owner owner;
	struct quiesce *q;

	if (check_members(d->registry, target, e) < 0)
		return -1;
	q = quiesce_new(d, target, quiescing, caller, e);
	if (!q)
		return -1;
	q->timeout_ms = timeout_ms;
	q->carry = carry;
	owner = quiesce_owner(q);
	snprintf(subject, sizeof(subject), "%s%s", target->a ? "" : VM_PREFIX,
		target->a ? target->a->spec.id : target->vm);
	if (stages_start(quiescing ? &quiesce_table : &resume_table, subject, &owner, e) == 0)
		return 0;
	quiesce_free(q);
	return -1;
}

int quiesce_start(struct daemon *d, const struct quiesce_target *target, uint64_t timeout_ms,
	bool carry, const struct quiesce_caller *caller, struct err *e)
{
	return begin(d, target, true, carry, timeout_ms, caller, e);
}

int quiesce_undo(struct daemon *d, const struct quiesce_target *target,
	const struct quiesce_caller *caller, struct err *e)
{
	return begin(d, target, false, false, 0, caller, e);
}

/* --- after a crash ---------------------------------------------------------------------------- */

bool quiesce_is_verb(const char *verb)
{
	return strcmp(verb, quiesce_table.verb) == 0 || strcmp(verb, resume_table.verb) == 0;
}

/*
 * Who took part is not in the journal. For an undo, and for the end of resume, it is whoever is not
 * kept as quiesced: opening an open gate does no harm. The end of quiesce has nothing left to do.
 */
int quiesce_go_on(struct daemon *d, const struct journal_op *op,
	const struct quiesce_caller *caller, struct err *e)
{
	bool quiescing = strcmp(op->verb, quiesce_table.verb) == 0;
	bool undo = op->direction != JOURNAL_COMMITTED;
	struct quiesce_target target = {.a = registry_by_id(d->registry, op->subject)};
	struct stages_owner owner;
	struct quiesce *q;

	if (!target.a)
		str_copy(target.vm, sizeof(target.vm), op->subject + strlen(VM_PREFIX));
	q = quiesce_new(d, &target, undo || !quiescing, caller, e);
	if (!q)
		return -1;
	q->timeout_ms = QUIESCE_TIMEOUT_MS;
	owner = quiesce_owner(q);
	if (stages_resume(quiescing ? &quiesce_table : &resume_table, op, &owner, e) == 0)
		return 0;
	quiesce_free(q);
	return -1;
}
