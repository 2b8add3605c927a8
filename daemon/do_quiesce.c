/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quiesce and resume, as clients ask for them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/jobs.h"
#include "daemon/quiesce.h"
#include "lib/cleanup.h"

#define UNDO_MS 10000 /* beyond the timeout, for the answer to be awaited */

struct quiesce_args {
	const char *target;
	uint64_t timeout_ms;
	bool carry;
};

static const struct json_field quiesce_fields[] = {
	{"target", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct quiesce_args, target)},
	{"timeout_ms", JSON_FIELD_U64, .max = QUIESCE_TIMEOUT_MAX_MS,
		.offset = offsetof(struct quiesce_args, timeout_ms)},
	{"carry", JSON_FIELD_BOOL, .offset = offsetof(struct quiesce_args, carry)},
};
const struct json_params do_quiesce_params = {
	quiesce_fields, ARRAY_SIZE(quiesce_fields), sizeof(struct quiesce_args)};
const struct json_params do_resume_params = {quiesce_fields, 1, sizeof(struct quiesce_args)};

/* One that is under way: as long as its job. */
struct gating {
	struct daemon *d;
	struct job *job;
	struct quiesce_target target;
	char what[96]; /* "quiesce web1" */
};

static char *result_text(
	struct daemon *d, const struct quiesce_target *target, bool already, size_t *len)
{
	auto_json_out struct json_out o;
	struct attachment *a = NULL;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.attachments/1");
	json_out_array(&o, "attachments");
	while ((a = quiesce_next(d->registry, target, a))) {
		registry_look(d->registry, a);
		attachment_put(d->registry, a, &o, NULL);
	}
	json_out_end(&o);
	json_out_bool(&o, "already", already);
	json_out_end(&o);
	return json_out_finish(&o, len);
}

static void gating_step(void *arg, const char *stage, unsigned int percent)
{
	struct gating *g = arg;

	job_progress(g->job, percent, "%s", stage);
}

static void gating_fail(struct gating *g, const struct err *e)
{
	struct err words = *e;

	err_wrap(&words, "%s", g->what);
	job_fail(g->job, &words);
	free(g);
}

static void gating_done(void *arg, const struct err *e)
{
	struct gating *g = arg;
	auto_free char *text = NULL;
	struct err own = ERR_INIT;
	size_t len = 0;

	if (e) {
		gating_fail(g, e);
		return;
	}
	text = result_text(g->d, &g->target, false, &len);
	if (!text) {
		err_set(&own, ERR_FAILED, "MEMORY", "it is done, but there is no memory to say so");
		gating_fail(g, &own);
		return;
	}
	job_done(g->job, text, len);
	free(g);
}

/* 1: it is so, and answered; 0: it is not; -1. */
static int answer_if_so(
	struct request *rq, const struct quiesce_target *target, bool quiesced, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	auto_free char *text = NULL;
	size_t len = 0;

	if (!quiesce_is(d->registry, target, quiesced))
		return 0;
	text = result_text(d, target, true, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the answer");
	request_send_document(rq, text, len);
	return 1;
}

static struct gating *gating_new(struct request *rq, const struct quiesce_target *target,
	const char *verb, uint64_t timeout_ms, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	char object[64];
	const struct job_spec job = {
		.verb = verb, .objects = {object}, .deadline_ms = timeout_ms + UNDO_MS};
	struct gating *g = calloc(1, sizeof(*g));

	if (!g) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to %s", verb);
		return NULL;
	}
	g->d = d;
	g->target = *target;
	snprintf(object, sizeof(object), "%s:%s", target->a ? "attachment" : "vm",
		target->a ? target->a->spec.id : target->vm);
	snprintf(g->what, sizeof(g->what), "%s %s", verb,
		target->a ? target->a->spec.id : target->vm);
	g->job = job_start(d->jobs, rq, &job, e);
	if (g->job)
		return g;
	free(g);
	return NULL;
}

static int gate_ask(struct request *rq, const struct quiesce_args *args, bool quiescing,
	const char *verb, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	uint64_t timeout_ms = args->timeout_ms ? args->timeout_ms : QUIESCE_TIMEOUT_MS;
	struct quiesce_caller caller = {.done = gating_done, .progress = gating_step};
	struct quiesce_target target;
	struct gating *g;
	int rc;

	if (!d->supervisor)
		return err_set(e, ERR_FAILED, "KEEPER", "iovd runs without its keeper");
	if (quiesce_find(d->registry, args->target, &target, e) < 0)
		return -1;
	rc = answer_if_so(rq, &target, quiescing, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	g = gating_new(rq, &target, verb, timeout_ms, e);
	if (!g)
		return -1;
	caller.arg = g;
	rc = quiescing ? quiesce_start(d, &target, timeout_ms, args->carry, &caller, e)
		       : quiesce_undo(d, &target, &caller, e);
	if (rc < 0)
		gating_fail(g, e); /* which answers */
	return 0;
}

static void gate(struct request *rq, const struct quiesce_args *args, bool quiescing)
{
	const char *verb = quiescing ? "quiesce" : "resume";
	struct err e = ERR_INIT;

	if (gate_ask(rq, args, quiescing, verb, &e) == 0)
		return;
	err_wrap(&e, "%s %.100s", verb, args->target);
	request_fail(rq, &e);
}

void do_quiesce(struct request *rq, const void *args)
{
	gate(rq, args, true);
}

void do_resume(struct request *rq, const void *args)
{
	gate(rq, args, false);
}
