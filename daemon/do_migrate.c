/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moves, as clients ask for them, and what the iovd at the other end says and asks (daemon/baton.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/explain.h"
#include "daemon/domain_move.h"
#include "daemon/domains.h"
#include "daemon/jobs.h"
#include "daemon/verdict.h"
#include "lib/cleanup.h"

#define MIGRATE_WAIT_MS 120000 /* reserving; for the end, until the VM runs there */

/* --- for the operator ------------------------------------------------------------------------- */

struct migrate_args {
	const char *vm, *destination, *step, *iovd, *address;
	uint64_t timeout_ms, carry_ms;
	const struct json *map;
};

static const struct json_field migrate_fields[] = {
	{"vm", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct migrate_args, vm)},
	{"destination", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct migrate_args, destination)},
	{"step", JSON_FIELD_STRING, .offset = offsetof(struct migrate_args, step)},
	{"map", JSON_FIELD_OBJECT, .offset = offsetof(struct migrate_args, map)},
	{"iovd", JSON_FIELD_STRING, .offset = offsetof(struct migrate_args, iovd)},
	{"address", JSON_FIELD_STRING, .offset = offsetof(struct migrate_args, address)},
	{"timeout_ms", JSON_FIELD_U64, .offset = offsetof(struct migrate_args, timeout_ms)},
	{"carry_ms", JSON_FIELD_U64, .max = BATON_CARRY_MAX_MS,
		.offset = offsetof(struct migrate_args, carry_ms)},
};
const struct json_params do_migrate_params = {
	migrate_fields, ARRAY_SIZE(migrate_fields), sizeof(struct migrate_args)};

/* One step that is under way: as long as its job. */
struct moving {
	struct daemon *d;
	struct job *job;
	char vm[REGISTRY_NAME_MAX];
	char what[64]; /* "migrate web1: begin" */
	bool follow;   /* afterwards, as libvirt moves it */
};

static void moving_done(void *arg, const char *reply, size_t len, const struct err *e)
{
	struct moving *m = arg;
	struct err words;

	if (!e) {
		job_done(m->job, reply, len);
		if (m->follow)
			domain_move_follow(m->d, m->vm);
	} else {
		words = *e;
		err_wrap(&words, "%s", m->what);
		job_fail(m->job, &words);
	}
	free(m);
}

/* Nobody waits any more; the move goes on as far as it has got. */
static void moving_cancel(struct job *job, void *arg)
{
	struct moving *m = arg;

	baton_forget_waiter(m->d, m->vm);
	job_cancelled(job);
	free(m);
}

typedef int step_fn(struct moving *m, const struct migrate_args *a, struct err *e);

/* Where the other iovd is. */
static const char *peer_of(const struct migrate_args *a)
{
	return a->iovd ? a->iovd : a->destination;
}

static int step_check(struct moving *m, const struct migrate_args *a, struct err *e)
{
	return verdict_ask(m->d, m->vm, peer_of(a), a->map, moving_done, m, e);
}

static int step_begin(struct moving *m, const struct migrate_args *a, struct err *e)
{
	if (explain_refuse_move(m->d, m->vm, e) < 0)
		return -1;
	return baton_start(m->d, m->vm, peer_of(a), a->map, a->carry_ms, moving_done, m, e);
}

static int step_follow(struct moving *m, const struct migrate_args *a, struct err *e)
{
	m->follow = true;
	return step_begin(m, a, e);
}

static int step_end(struct moving *m, const struct migrate_args *a, struct err *e)
{
	(void)a;
	return baton_finish(m->d, m->vm, moving_done, m, e);
}

static int step_abort(struct moving *m, const struct migrate_args *a, struct err *e)
{
	(void)a;
	return baton_abort(m->d, m->vm, moving_done, m, e);
}

static const struct {
	const char *name, *doing;
	step_fn *run;
	bool may_cancel; /* one waits only */
} steps[] = {
	{"check", "asking for the verdict", step_check, false},
	{"begin", "reserving at the destination", step_begin, false},
	{"follow", "reserving at the destination", step_follow, false},
	{"end", "waiting until it runs there", step_end, true},
	{"abort", "taking it back", step_abort, true},
};

static int find_step(const char *name, struct err *e)
{
	for (unsigned int i = 0; name && i < ARRAY_SIZE(steps); i++)
		if (strcmp(steps[i].name, name) == 0)
			return (int)i;
	if (name)
		return err_set(e, ERR_USAGE, "STEP", "%.32s is no step of a move", name);
	err_set(e, ERR_REFUSED, "VMM-UNMANAGED", "nobody here can tell the VMM to send the memory");
	return err_fix(e, "--begin, then the VMM's own migration, then --end");
}

static struct moving *moving_new(struct request *rq, const char *vm, int step, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	struct moving *m = calloc(1, sizeof(*m));
	char object[REGISTRY_NAME_MAX + 8];
	const struct job_spec job = {
		.verb = "migrate",
		.objects = {object},
		.deadline_ms = MIGRATE_WAIT_MS,
		.cancel = steps[step].may_cancel ? moving_cancel : NULL,
		.arg = m,
	};

	if (!m || !name_is_valid(vm)) {
		free(m);
		err_set(e, ERR_USAGE, "NAME", "%.64s is no name of a VM", vm);
		return NULL;
	}
	m->d = d;
	str_copy(m->vm, sizeof(m->vm), vm);
	snprintf(m->what, sizeof(m->what), "migrate %s: %s", m->vm, steps[step].name);
	snprintf(object, sizeof(object), "vm:%s", m->vm);
	m->job = job_start(d->jobs, rq, &job, e);
	if (m->job)
		return m;
	free(m);
	return NULL;
}

static int migrate_step(
	struct request *rq, const struct migrate_args *a, const char *vm, struct err *e)
{
	int step = find_step(a->step, e);
	struct moving *m = step < 0 ? NULL : moving_new(rq, vm, step, e);

	if (!m)
		return -1;
	job_progress(m->job, 0, "%s", steps[step].doing);
	if (steps[step].run(m, a, e) < 0)
		moving_done(m, NULL, 0, e); /* which answers */
	return 0;
}

/* libvirt's domain: with its memory. */
static int migrate_whole(
	struct request *rq, const struct migrate_args *a, const char *vm, struct err *e)
{
	const struct domain_move_wish wish = {
		.vm = vm,
		.destination = a->destination,
		.iovd = a->iovd,
		.address = a->address,
		.map = a->map,
		.timeout_ms = a->timeout_ms,
		.carry_ms = a->carry_ms,
	};

	return domain_move_start(rq, &wish, e);
}

static int migrate_ask(struct request *rq, const struct migrate_args *a, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	char known_as[REGISTRY_NAME_MAX];
	const char *vm = domains_vm(d->domains, d->registry, a->vm, known_as);

	if (!d->supervisor)
		return err_set(e, ERR_FAILED, "KEEPER", "iovd runs without its keeper");
	if (!a->step && domain_move_domain(d, vm))
		return migrate_whole(rq, a, vm, e);
	return migrate_step(rq, a, vm, e);
}

void do_migrate(struct request *rq, const void *args)
{
	const struct migrate_args *a = args;
	struct err e = ERR_INIT;

	if (migrate_ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "migrate %.64s", a->vm);
	request_fail(rq, &e);
}

/* --- for the peer ----------------------------------------------------------------------------- */

struct move_args {
	const char *move, *state;
	uint64_t epoch;
};

static const struct json_field move_fields[] = {
	{"move", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct move_args, move)},
	{"epoch", JSON_FIELD_U64, .required = true, .offset = offsetof(struct move_args, epoch)},
	{"state", JSON_FIELD_STRING, .required = true, .max = VARLINK_MAX_MESSAGE,
		.offset = offsetof(struct move_args, state)},
};
static const struct json_field store_fields[] = {
	{"move", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct move_args, move)},
	{"state", JSON_FIELD_STRING, .required = true, .max = VARLINK_MAX_MESSAGE,
		.offset = offsetof(struct move_args, state)},
};
const struct json_params do_grant_params = {
	move_fields, ARRAY_SIZE(move_fields), sizeof(struct move_args)};
const struct json_params do_store_params = {
	store_fields, ARRAY_SIZE(store_fields), sizeof(struct move_args)};
const struct json_params do_revoke_params = {move_fields, 2, sizeof(struct move_args)};
const struct json_params do_move_params = {move_fields, 1, sizeof(struct move_args)};

static bool refuse_name(struct request *rq, const char *move)
{
	struct err e = ERR_INIT;

	if (baton_move_is_valid(move))
		return false;
	err_set(&e, ERR_USAGE, JSON_CODE_PARAM, "this is no name of a move");
	request_fail(rq, &e);
	return true;
}

void do_store(struct request *rq, const void *args)
{
	const struct move_args *a = args;
	struct err e = ERR_INIT;

	if (refuse_name(rq, a->move))
		return;
	if (baton_store(request_daemon(rq), a->move, a->state, &e) < 0) {
		request_fail(rq, &e);
		return;
	}
	request_begin_reply(rq);
	request_send_reply(rq);
}

void do_grant(struct request *rq, const void *args)
{
	const struct move_args *a = args;
	struct err e = ERR_INIT;
	struct json_out *o;
	int rc;

	if (refuse_name(rq, a->move))
		return;
	rc = baton_grant(request_daemon(rq), a->move, a->epoch, a->state, &e);
	if (rc < 0) {
		request_fail(rq, &e);
		return;
	}
	o = request_begin_reply(rq);
	json_out_bool(o, "granted", rc == 1);
	json_out_str(o, "why", rc == 1 ? NULL : e.msg);
	request_send_reply(rq);
}

/* A request whose answer comes later, if its client is there still. */
struct answering {
	struct request *rq; /* NULL: it has gone */
};

static void answering_gone(void *arg)
{
	((struct answering *)arg)->rq = NULL;
}

static void answer(void *arg, const char *reply, size_t len, const struct err *e)
{
	struct answering *w = arg;
	struct request *rq = w->rq;

	free(w);
	if (!rq)
		return;
	request_on_gone(rq, NULL, NULL);
	if (e)
		request_fail(rq, e);
	else
		request_send_document(rq, reply, len);
}

static struct answering *answering_new(struct request *rq)
{
	struct answering *w = malloc(sizeof(*w));
	struct err e = ERR_INIT;

	if (w) {
		w->rq = rq;
		request_on_gone(rq, answering_gone, w);
		return w;
	}
	err_set(&e, ERR_FAILED, "MEMORY", "no memory for an answer");
	request_fail(rq, &e);
	return NULL;
}

void do_revoke(struct request *rq, const void *args)
{
	const struct move_args *a = args;
	struct answering *w;
	struct err e = ERR_INIT;

	if (refuse_name(rq, a->move))
		return;
	w = answering_new(rq);
	if (w && baton_revoke(request_daemon(rq), a->move, a->epoch, answer, w, &e) < 0)
		answer(w, NULL, 0, &e);
}

void do_end_move(struct request *rq, const void *args)
{
	const struct move_args *a = args;
	struct answering *w;
	struct err e = ERR_INIT;

	if (refuse_name(rq, a->move))
		return;
	w = answering_new(rq);
	if (w && baton_end(request_daemon(rq), a->move, answer, w, &e) < 0)
		answer(w, NULL, 0, &e);
}

void do_show_move(struct request *rq, const void *args)
{
	const struct move_args *a = args;
	struct json_out *o;

	if (refuse_name(rq, a->move))
		return;
	o = request_begin_reply(rq);
	baton_put(request_daemon(rq), a->move, o);
	request_send_reply(rq);
}
