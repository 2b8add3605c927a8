/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recover, as clients ask for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/recover.h"
#include "lib/cleanup.h"

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
	char *device, *allow;
	struct recover_wish wish;
};

static void recovery_free(struct recovery *r)
{
	close_fd(&r->wish.fd);
	free(r->device);
	free(r->allow);
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
static int recovery_begin(struct recovery *r, struct err *e)
{
	const struct recover_caller caller = {
		.done = recovery_done, .progress = recovery_step, .arg = r};
	struct attachment *a = registry_by_id(r->d->registry, r->id);
	const struct device *device = inventory_resolve(r->d->inventory, r->device, e);

	if (!a)
		return err_set(e, ERR_NOT_FOUND, "NO-SUCH", "%s is gone", r->id);
	if (!device || check_free(a, e) < 0)
		return -1;
	if (recover_check(a, device, &r->wish, r->allow, e) < 0)
		return -1;
	return recover_start(r->d, a, &r->wish, &caller, e);
}

static void recovery_opened(
	void *arg, const struct backing_facts *facts, int fd, const struct err *e)
{
	struct recovery *r = arg;
	struct err own = ERR_INIT;

	if (e) {
		recovery_fail(r, e);
		return;
	}
	r->wish.facts = *facts;
	r->wish.fd = fd;
	if (recovery_begin(r, &own) < 0)
		recovery_fail(r, &own);
}

/* The device, as the attachment will have it. */
static int choose_device(struct daemon *d, const struct attachment *a, const char *to,
	struct recovery *r, struct err *e)
{
	const struct device *device = inventory_resolve(d->inventory, to ? to : a->spec.device, e);
	struct attachment_spec *spec = &r->wish.spec;
	char node[SYSFS_PATH_MAX];

	if (!device)
		return -1;
	device_node_path(device, node, sizeof(node));
	*spec = a->spec;
	if (!node[0] || !str_copy(spec->node, sizeof(spec->node), node) ||
		!str_copy(spec->device, sizeof(spec->device), device->id))
		return err_set(e, ERR_REFUSED, "PATH", "%s has no node to open", device->id);
	str_copy(spec->fingerprint, sizeof(spec->fingerprint), device->fingerprint);
	r->device = strdup(device->id);
	if (!r->device)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to recover");
	if (strcmp(spec->device, a->spec.device) == 0)
		return 0;
	return host_use_check(d->inventory, device, e); /* which looks at everything anew */
}

static struct recovery *recovery_new(
	struct request *rq, struct attachment *a, const struct recover_args *args, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	struct recovery *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to recover");
		return NULL;
	}
	r->d = d;
	r->wish.fd = -1;
	str_copy(r->id, sizeof(r->id), a->spec.id);
	if (args->allow)
		r->allow = strdup(args->allow);
	if (choose_device(d, a, args->to, r, e) == 0)
		return r;
	recovery_free(r);
	return NULL;
}

static int start_job(struct request *rq, struct recovery *r, struct err *e)
{
	char own[PATH_MAX + 16], other[PATH_MAX + 16];
	const struct attachment *a = registry_by_id(r->d->registry, r->id);
	struct job_spec job = {.verb = recover_verb, .objects = {own}, .deadline_ms = RECOVER_MS};

	snprintf(own, sizeof(own), "device:%s", a->spec.device);
	snprintf(other, sizeof(other), "device:%s", r->device);
	if (strcmp(own, other) != 0)
		job.objects[1] = other;
	r->job = job_start(r->d->jobs, rq, &job, e);
	return r->job ? 0 : -1;
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
	if (start_job(rq, r, e) < 0) {
		recovery_free(r);
		return -1;
	}
	job_progress(r->job, 0, "opening the device");
	if (backing_open(d->hands, r->wish.spec.node, r->wish.spec.readonly, recovery_opened, r,
		    &own) < 0)
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
