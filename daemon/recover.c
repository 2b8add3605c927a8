/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	end the path before	  by the command that was given for it (--fence), if there is one; an NBD
 *				  volume also by VOLUME_END (lib/backends/volume.h)
 *	keep the device		  commits: the attachment's device is this one from now on
 *	open the device		  (is open already, but after a crash)
 *	put it in place		  end the worker; the device into the vault; the next worker
 *	fence the old one	  nothing is on its way to it any more
 *	replay			  tell the worker that the hold is over
 *
 * The fence has two proofs (safety: "a dead worker is no fence"). The next worker serves, which it
 * does not before the dead one's ring has a completion for every submission; then the keeper closes
 * that ring, and with it the old disk. And no lock of a worker's generation is left on the old disk
 * (backing_wait_idle()): that is looked at here, where the old disk is another file, before the
 * word is given to replay. Until that word the new worker submits nothing: it comes up held
 * (vu_hold.c). So at no time can a request of the old path land after one on the new.
 *
 * A device that is somewhere else may do later what it was told, though the kernel has long given it
 * up here. That only a command can rule out (daemon/fence.h); its end is before the commit, so that
 * without its proof nothing is done. The path stays as it is when the device is the same one; but the
 * connection to an NBD volume is never gone on with, and says at its end whether anything of it may be
 * done later: then it is for the command, or for a person, to rule that out (NBD-LATE).
 *
 * A crash of the daemon
 *
 *	before the commit	nothing was done: it is held as before; a path may be ended already,
 *				which is done again
 *	after it		the next daemon goes on: opens the device anew, puts it in place (again;
 *				the worker that it finds is held, whichever disk it has), ...
 *	after the word		the worker does not hear it twice: it names the hold
 *
 * From the start on until the new worker serves, deaths of workers are this operation's; then they
 * are the supervisor's again, and a successor that has not heard the word is told anew.
 */
#include "daemon/recover.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/fence.h"
#include "daemon/nbd_volume.h"
#include "daemon/supervisor.h"
#include "lib/backends/session_facts.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/nbd_uri.h"

#define END_MS    60000 /* for a killed worker to be dead: it may have to wait for the disk */
#define SAY_MS    2000  /* for its successor, to say why it does not serve */
#define READY_MS  60000 /* for its successor to serve: it waits for the old ring */
#define FENCE_MS  60000
#define HEAR_MS   200 /* to tell it again */
#define REPLAY_MS 10000

const char recover_verb[] = "recover";

struct recover {
	struct daemon *d;
	struct attachment *a;
	struct recover_caller caller;
	struct recover_wish wish;
	char before[96]; /* the device, in short */
	int old_fd;      /* the disk before: for its locks; -1: not known, or the same file */
	struct stages *waits;
	struct watch *timer;
	void (*news)(struct recover *r); /* of the stage that waits */
	uint64_t deadline_ms;
	uint32_t hold;
	bool is_fenced; /* by the command */
};

/* --- whether it is due ------------------------------------------------------------------------ */

static uint32_t hold_of(const struct attachment *a)
{
	struct session_status status;

	if (a->page_fd < 0 || session_page_status(a->page_fd, &status, NULL) < 0)
		return 0;
	return status.hold;
}

bool recover_is_due(const struct attachment *a)
{
	bool no_worker = a->state == ATTACHMENT_FAILED || a->state == ATTACHMENT_HELD;

	return hold_of(a) != 0 || (no_worker && a->worker.generation > 0);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void wake(struct recover *r, const struct err *e)
{
	struct stages *x = r->waits;

	r->waits = NULL;
	r->news = NULL;
	r->d->loop->ops->remove(r->timer);
	r->timer = NULL;
	stages_continue(x, e);
}

static void worker_news(void *arg)
{
	struct recover *r = arg;

	if (r->waits && r->news)
		r->news(r);
}

/* Deaths of workers are ours, or the supervisor's. */
static void take_worker(struct recover *r, bool ours)
{
	r->a->on_worker = ours ? worker_news : NULL;
	r->a->on_worker_arg = r;
}

static int wait_for(struct recover *r, struct stages *x, void (*news)(struct recover *r),
	watch_fn *timer, uint64_t delay_ms, uint64_t deadline_ms, struct err *e)
{
	r->timer = r->d->loop->ops->add_timer(r->d->loop, delay_ms, timer, r, e);
	if (!r->timer)
		return -1;
	r->waits = x;
	r->news = news;
	r->deadline_ms = now_ms() + deadline_ms;
	return STAGE_WAITS;
}

static void fail(struct recover *r, const char *code, const char *what)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_FAILED, code, "%s", what);
	wake(r, &e);
}

/* --- the path before -------------------------------------------------------------------------- */

/* The command's proof counts for all that was on its way. */
static int judge_end(const struct recover *r, const struct nbd_end *end, struct err *e)
{
	if (r->is_fenced)
		return STAGE_DONE;
	return recover_check_end(&r->a->spec, end, r->wish.allow, e);
}

static void volume_ended(void *arg, const struct nbd_end *end, const struct err *e)
{
	struct recover *r = arg;
	struct err own = ERR_INIT;

	if (!e && judge_end(r, end, &own) < 0)
		e = &own;
	wake(r, e);
}

/* The stage waits, or is done with it. */
static int end_volume(struct recover *r, struct stages *x, struct err *e)
{
	static const struct nbd_end unknown = {.is_late = true, .evidence = "it is not open here"};
	const struct attachment *a = r->a;

	if (!nbd_uri_is(a->spec.node))
		return STAGE_DONE;
	if (a->backing_fd < 0)
		return judge_end(r, &unknown, e);
	r->waits = x;
	if (nbd_volume_end(r->d->hands, a->spec.node, a->backing_fd, volume_ended, r, e) == 0)
		return STAGE_WAITS;
	r->waits = NULL;
	return -1;
}

static void path_fenced(void *arg, const struct err *e)
{
	struct recover *r = arg;
	struct err own = ERR_INIT;
	int rc;

	if (e) {
		wake(r, e);
		return;
	}
	r->is_fenced = true;
	rc = end_volume(r, r->waits, &own);
	if (rc != STAGE_WAITS)
		wake(r, rc < 0 ? &own : NULL);
}

static int recover_end_path(struct stages *x, void *arg, struct err *e)
{
	struct recover *r = arg;
	const struct attachment_spec *spec = &r->a->spec;

	if (!spec->rescue.fence[0] || strcmp(spec->device, r->wish.spec.device) == 0)
		return end_volume(r, x, e);
	r->waits = x;
	if (fence_begin(r->d, spec, path_fenced, r, e) == 0)
		return STAGE_WAITS;
	r->waits = NULL;
	return -1;
}

/* --- the device ------------------------------------------------------------------------------- */

static int recover_keep(struct stages *x, void *arg, struct err *e)
{
	struct recover *r = arg;

	(void)x;
	return registry_keep_device(r->d->registry, &r->wish.spec, e);
}

static void opened(void *arg, const struct backing_facts *facts, int fd, const struct err *e)
{
	struct recover *r = arg;

	if (!e) {
		r->wish.facts = *facts;
		r->wish.fd = fd;
	}
	wake(r, e);
}

static void opens_late(void *arg, unsigned int events)
{
	(void)arg, (void)events; /* the hand has its own deadline */
}

static int recover_open(struct stages *x, void *arg, struct err *e)
{
	struct recover *r = arg;

	r->a->spec = r->wish.spec;
	if (r->wish.fd >= 0)
		return STAGE_DONE;
	if (wait_for(r, x, NULL, opens_late, 2ull * BACKING_OPEN_MS, 0, e) < 0)
		return -1;
	if (backing_open(r->d->hands, r->wish.spec.node, r->wish.spec.readonly, opened, r, e) == 0)
		return STAGE_WAITS;
	r->d->loop->ops->remove(r->timer);
	r->timer = NULL;
	r->waits = NULL;
	return -1;
}

/* --- putting it in place ---------------------------------------------------------------------- */

/* Remembers the disk that was there, if it is another one, for its locks. */
static int swap_disk(struct recover *r, struct err *e)
{
	struct attachment *a = r->a;
	int fd = dup(r->wish.fd);

	if (fd < 0)
		return err_set(e, ERR_FAILED, "DISK", "no descriptor for the device");
	if (a->backing_fd >= 0 && !recover_is_same_disk(a, &r->wish.facts)) {
		close_fd(&r->old_fd);
		r->old_fd = steal_fd(&a->backing_fd);
	}
	close_fd(&a->backing_fd);
	a->backing_fd = fd;
	a->disk_unknown = false;
	a->disk = (struct attachment_disk){.fs = r->wish.facts.fs,
		.inode = r->wish.facts.inode,
		.number = r->wish.facts.number,
		.is_direct = r->wish.facts.is_direct};
	a->disk_bytes = r->wish.facts.size_bytes;
	return 0;
}

static void start_fails(struct recover *r)
{
	char words[sizeof(r->a->failure)];

	snprintf(words, sizeof(words), "the worker ended at once, status 0x%x",
		(unsigned int)r->a->worker.exit_status);
	fail(r, "WORKER", r->a->failure[0] ? r->a->failure : words);
}

static void start_news(struct recover *r)
{
	const struct attachment *a = r->a;

	if (a->worker.pid > 0 && a->worker.ready) {
		take_worker(r, false);
		wake(r, NULL);
	} else if (a->worker.pid == 0) {
		start_fails(r);
	}
}

/* First said, then failed, and tried again: what is on its way there may still be done. */
static void start_late(void *arg, unsigned int events)
{
	struct recover *r = arg;
	char reason[sizeof(r->a->reason)];

	(void)events;
	if (now_ms() >= r->deadline_ms) {
		fail(r, "WORKER",
			"the worker does not serve: requests to the old device do not end");
		return;
	}
	snprintf(reason, sizeof(reason), "requests to %.80s have not ended, and may yet be done",
		r->before);
	registry_set_state(r->d->registry, r->a, ATTACHMENT_RECOVERING, reason);
	r->d->loop->ops->set_timer(r->timer, r->deadline_ms - now_ms());
}

/* The worker is dead: the next one, on the new disk, which it leaves alone until it is told. */
static int start_next(struct recover *r, struct err *e)
{
	struct attachment *a = r->a;

	if (a->page_fd >= 0 && session_page_hold(a->page_fd, &r->hold, e) < 0)
		return -1;
	if (swap_disk(r, e) < 0 || attachment_describe(r->d->registry, a, e) < 0 ||
		supervisor_fill(r->d->supervisor, a, VAULT_BACKING, a->backing_fd, e) < 0)
		return -1;
	a->failed_starts = 0;
	return supervisor_spawn(r->d->supervisor, a, e);
}

static void end_news(struct recover *r)
{
	struct err e = ERR_INIT;

	if (r->a->worker.pid != 0)
		return;
	if (start_next(r, &e) < 0) {
		wake(r, &e);
		return;
	}
	r->news = start_news;
	r->deadline_ms = now_ms() + READY_MS;
	r->d->loop->ops->set_timer(r->timer, SAY_MS);
}

static int recover_place(struct stages *x, void *arg, struct err *e)
{
	struct recover *r = arg;
	struct attachment *a = r->a;

	take_worker(r, true);
	if (a->state != ATTACHMENT_RECOVERING) /* else it is tried again */
		registry_set_state(r->d->registry, a, ATTACHMENT_RECOVERING, NULL);
	if (a->worker.pid == 0) {
		if (start_next(r, e) < 0)
			return -1;
		return wait_for(r, x, start_news, start_late, SAY_MS, READY_MS, e);
	}
	if (supervisor_kill(r->d->supervisor, a, SIGKILL, e) < 0)
		return -1;
	return wait_for(r, x, end_news, start_late, SAY_MS, END_MS, e);
}

/* --- the fence -------------------------------------------------------------------------------- */

static void fenced(void *arg, const struct err *e)
{
	struct recover *r = arg;

	if (!e)
		close_fd(&r->old_fd);
	wake(r, e);
}

static int recover_fence(struct stages *x, void *arg, struct err *e)
{
	struct recover *r = arg;

	r->a->disk_changes = false; /* worker and vault have the new one */
	if (r->old_fd < 0)
		return STAGE_DONE;
	r->waits = x;
	if (backing_wait_idle(r->d->hands, r->before, r->old_fd, FENCE_MS, fenced, r, e) == 0)
		return STAGE_WAITS;
	r->waits = NULL;
	return -1;
}

/* --- replay ----------------------------------------------------------------------------------- */

/* Told until it is heard: a worker may die just then, and its successor has to hear it too. */
static void replay_tell(void *arg, unsigned int events)
{
	struct recover *r = arg;

	(void)events;
	if (hold_of(r->a) != r->hold) {
		wake(r, NULL);
	} else if (now_ms() > r->deadline_ms) {
		fail(r, "WORKER", "the worker does not hear that it may go on");
	} else {
		supervisor_release(r->d->supervisor, r->a, r->hold, NULL);
		r->d->loop->ops->set_timer(r->timer, HEAR_MS);
	}
}

static void replay_news(void *arg)
{
	struct recover *r = arg;

	if (r->waits && hold_of(r->a) != r->hold)
		wake(r, NULL);
}

static int recover_replay(struct stages *x, void *arg, struct err *e)
{
	struct recover *r = arg;

	if (!r->hold) /* there was none, or its end was heard before a crash */
		return STAGE_DONE;
	r->a->on_gate = replay_news;
	r->a->on_gate_arg = r;
	return wait_for(r, x, NULL, replay_tell, 0, REPLAY_MS, e);
}

enum { STAGE_END_PATH, STAGE_KEEP, STAGE_OPEN };

static const struct stage stages[] = {
	{"end the path before", .run = recover_end_path},
	{"keep the device", .run = recover_keep, .commits = true},
	{"open the device", .run = recover_open},
	{"put it in place", .run = recover_place},
	{"fence the old one", .run = recover_fence},
	{"replay", .run = recover_replay},
};
static const struct stages_table recover_table = {recover_verb, stages, ARRAY_SIZE(stages)};

/* --- the operation ---------------------------------------------------------------------------- */

static void recover_free(struct recover *r)
{
	r->d->loop->ops->remove(r->timer);
	r->a->on_gate = NULL;
	take_worker(r, false);
	r->a->busy = r->a->disk_changes = false;
	close_fd(&r->old_fd);
	close_fd(&r->wish.fd);
	free(r);
}

static void recover_done(void *arg, const struct err *e)
{
	struct recover *r = arg;
	struct attachment *a = r->a;
	struct daemon *d = r->d;
	struct recover_caller caller = r->caller;
	bool over = !e || e->kind != ERR_PARTLY_DONE;

	r->caller = (struct recover_caller){0}; /* the second end is nobody's */
	if (over)
		recover_free(r);
	supervisor_look(d->supervisor, a);
	if (caller.done)
		caller.done(caller.arg, a, e);
}

static void recover_progress(
	void *arg, const struct stages_table *table, unsigned int n, bool undoing)
{
	struct recover *r = arg;

	(void)undoing; /* nothing is ever undone: the first stage commits */
	if (r->caller.progress)
		r->caller.progress(r->caller.arg, table->stages[n].name, 100 * n / table->count);
}

static struct recover *recover_new(struct daemon *d, struct attachment *a,
	struct recover_wish *wish, const struct recover_caller *caller, struct err *e)
{
	struct recover *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for an operation");
		return NULL;
	}
	*r = (struct recover){.d = d, .a = a, .caller = *caller, .wish = *wish, .old_fd = -1};
	wish->fd = -1;
	str_copy(r->before, sizeof(r->before), a->spec.device);
	r->hold = hold_of(a);
	a->busy = a->disk_changes = true;
	return r;
}

static struct stages_owner recover_owner(struct recover *r)
{
	return (struct stages_owner){
		.loop = r->d->loop,
		.store = registry_store(r->d->registry),
		.done = recover_done,
		.progress = recover_progress,
		.arg = r,
	};
}

int recover_start(struct daemon *d, struct attachment *a, struct recover_wish *wish,
	const struct recover_caller *caller, struct err *e)
{
	struct recover *r = recover_new(d, a, wish, caller, e);
	struct stages_owner owner;

	if (!r)
		return -1;
	owner = recover_owner(r);
	if (stages_start(&recover_table, a->spec.id, &owner, e) == 0)
		return 0;
	recover_free(r);
	return -1;
}

int recover_go_on(struct daemon *d, struct attachment *a, const struct journal_op *op,
	const struct recover_caller *caller, struct err *e)
{
	struct recover_wish wish = {.spec = a->spec, .fd = -1};
	struct recover *r = recover_new(d, a, &wish, caller, e);
	struct journal_op from = *op;
	struct stages_owner owner;

	if (!r)
		return -1;
	/* What was open is not any more: from there on everything once more, which does no harm. */
	if (op->direction == JOURNAL_COMMITTED && op->stage > STAGE_OPEN)
		from.stage = STAGE_OPEN;
	if (op->direction == JOURNAL_COMMITTED)
		take_worker(r, true);
	owner = recover_owner(r);
	if (stages_resume(&recover_table, &from, &owner, e) == 0)
		return 0;
	recover_free(r);
	return -1;
}
