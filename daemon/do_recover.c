/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recover, as clients ask for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/candidate.h"
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/jobs.h"
#include "daemon/nbd_volume.h"
#include "daemon/recover.h"
#include "lib/cleanup.h"
#include "lib/nbd_uri.h"

#define RECOVER_MS 120000 /* for the answer to be awaited */

struct recover_args {
	const char *attachment, *to, *allow;
};

#define FIELD(key, ...)                                                                            \
	{                                                                                          \
#key, JSON_FIELD_STRING, .offset = offsetof(struct recover_args, key), __VA_ARGS__ \
	}

static const struct json_field recover_fields[] = {
	FIELD(attachment, .required = true),
	FIELD(to),
	FIELD(allow),
};
const struct json_params do_recover_params = {
	recover_fields, ARRAY_SIZE(recover_fields), sizeof(struct recover_args)};

/* One that is under way: as long as its job. */
struct recovery {
	struct daemon *d;
	struct job *job;
	char id[KEEPER_ID_SIZE]; /* until the operation has it, the attachment may go away */
	char *name;              /* of the device, as it was given */
	unsigned int allow;      /* enum recover_allow */
	struct nbd_end end;      /* of the volume before */
};

static void recovery_free(struct recovery *r)
{
	free(r->name);
	free(r);
}

static char *result_text(struct daemon *d, struct attachment *a, bool already, size_t *len)
{
	auto_json_out struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.attachment/1");
	registry_look(d->registry, a);
	attachment_put(d->registry, a, &o, "attachment");
	json_out_bool(&o, "already", already);
	json_out_end(&o);
	return json_out_finish(&o, len);
}

static void recovery_fail(struct recovery *r, const struct err *e)
{
	struct err words = *e;

	err_wrap(&words, "recover %s", r->id);
	job_fail(r->job, &words);
	recovery_free(r);
}

static void recovery_step(void *arg, const char *stage, unsigned int percent)
{
	struct recovery *r = arg;

	job_progress(r->job, percent, "%s", stage);
}

static void recovery_done(void *arg, struct attachment *a, const struct err *e)
{
	struct recovery *r = arg;
	auto_free char *text = NULL;
	struct err own = ERR_INIT;
	size_t len = 0;

	if (e) {
		recovery_fail(r, e);
		return;
	}
	text = result_text(r->d, a, false, &len);
	if (!text) {
		err_set(&own, ERR_FAILED, "MEMORY", "it is done, but there is no memory to say so");
		recovery_fail(r, &own);
		return;
	}
	job_done(r->job, text, len);
	recovery_free(r);
}

static int check_free(const struct attachment *a, struct err *e)
{
	if (a->kept == KEPT_ATTACHED && !a->busy && !a->gating)
		return 0;
	return err_set(e, ERR_BUSY, "BUSY", "%s is %s, and something is being done to it",
		a->spec.id, attachment_state_names[a->state]);
}

/* The disk is open: may it take over? */
static int recovery_begin(struct recovery *r, struct recover_wish *wish, struct err *e)
{
	const struct recover_caller caller = {
		.done = recovery_done, .progress = recovery_step, .arg = r};
	struct attachment *a = registry_by_id(r->d->registry, r->id);
	struct recover_before before;

	if (!a)
		return err_set(e, ERR_NOT_FOUND, "NO-SUCH", "%s is gone", r->id);
	recover_look_before(a, &before);
	wish->allow = r->allow;
	before.end = r->end;
	if (check_free(a, e) < 0 || recover_check(&before, wish, r->allow, e) < 0)
		return -1;
	return recover_start(r->d, a, wish, &caller, e);
}

static void recovery_found(void *arg, struct recover_wish *wish, const struct err *e)
{
	struct recovery *r = arg;
	struct err own = ERR_INIT;

	if (e) {
		recovery_fail(r, e);
		return;
	}
	if (recovery_begin(r, wish, &own) < 0) {
		close_fd(&wish->fd);
		recovery_fail(r, &own);
	}
}

static void recovery_open(struct recovery *r)
{
	const struct attachment *a = registry_by_id(r->d->registry, r->id);
	struct err e = ERR_INIT;

	job_progress(r->job, 0, "opening the device");
	if (!a)
		err_set(&e, ERR_NOT_FOUND, "NO-SUCH", "%s is gone", r->id);
	else if (candidate_begin(r->d, &a->spec, r->name, recovery_found, r, &e) == 0)
		return;
	recovery_fail(r, &e);
}

/*
 * An NBD volume is ended before it is opened anew: its server may have room for one of us only.
 */
static void recovery_left(void *arg, const struct nbd_end *end, const struct err *e)
{
	struct recovery *r = arg;

	if (e) {
		recovery_fail(r, e);
		return;
	}
	r->end = *end;
	recovery_open(r);
}

static struct recovery *recovery_new(struct request *rq, const struct attachment *a,
	const struct recover_args *args, struct err *e)
{
	char device[PATH_MAX + 16];
	const struct job_spec job = {
		.verb = recover_verb, .objects = {device}, .deadline_ms = RECOVER_MS};
	struct recovery *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to recover");
		return NULL;
	}
	r->d = request_daemon(rq);
	str_copy(r->id, sizeof(r->id), a->spec.id);
	r->name = strdup(args->to ? args->to : a->spec.device);
	snprintf(device, sizeof(device), "device:%s", a->spec.device);
	if (!r->name)
		err_set(e, ERR_FAILED, "MEMORY", "no memory to recover");
	else if (recover_read_allow(args->allow, &r->allow, e) == 0)
		r->job = job_start(r->d->jobs, rq, &job, e);
	if (r->job)
		return r;
	recovery_free(r);
	return NULL;
}

/* 1: nothing is held, and that is answered; 0: something is; -1. */
static int answer_if_whole(
	struct request *rq, struct attachment *a, const struct recover_args *args, struct err *e)
{
	auto_free char *text = NULL;
	size_t len = 0;

	registry_look(request_daemon(rq)->registry, a);
	if (recover_is_due(a))
		return 0;
	if (args->to) {
		err_set(e, ERR_REFUSED, "NOT-HELD", "nothing of %s is held", a->spec.id);
		return err_evidence(e, "it is %s", attachment_state_names[a->state]);
	}
	text = result_text(request_daemon(rq), a, true, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the answer");
	request_send_document(rq, text, len);
	return 1;
}

static int recover_ask(struct request *rq, const struct recover_args *args, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	struct attachment *a = registry_find(d->registry, args->attachment, e);
	struct err own = ERR_INIT;
	struct recovery *r;
	int rc;

	if (!a)
		return -1;
	if (!d->supervisor)
		return err_set(e, ERR_FAILED, "KEEPER", "iovd runs without its keeper");
	if (a->spec.path != ATTACHMENT_PARAVIRT)
		return err_set(e, ERR_REFUSED, "PATH", "%s has no worker", a->spec.id);
	if (check_free(a, e) < 0)
		return -1;
	rc = answer_if_whole(rq, a, args, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	r = recovery_new(rq, a, args, e);
	if (!r)
		return -1;
	if (!nbd_uri_is(a->spec.node) || a->backing_fd < 0)
		recovery_open(r);
	else if (nbd_volume_end(d->hands, a->spec.node, a->backing_fd, recovery_left, r, &own) < 0)
		recovery_fail(r, &own);
	return 0;
}

void do_recover(struct request *rq, const void *args)
{
	const struct recover_args *a = args;
	struct err e = ERR_INIT;

	if (recover_ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "recover %.100s", a->attachment);
	request_fail(rq, &e);
}
