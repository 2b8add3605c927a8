/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drivers that PCI functions have for good, as clients change them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/binding_keep.h"
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/explain.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/quarantine.h"
#include "daemon/unknown.h"
#include "lib/cleanup.h"

struct bind_args {
	const char *device, *driver, *allow;
	bool group, dry_run;
};

#define FIELD(key, type_, ...)                                                                     \
	{                                                                                          \
#key, JSON_FIELD_##type_, .offset = offsetof(struct bind_args, key), __VA_ARGS__   \
	}

static const struct json_field bind_fields[] = {
	FIELD(device, STRING, .required = true),
	FIELD(driver, STRING, .required = true),
	FIELD(allow, STRING),
	FIELD(group, BOOL),
	FIELD(dry_run, BOOL),
};
static const struct json_field release_fields[] = {
	FIELD(device, STRING, .required = true),
	FIELD(group, BOOL),
	FIELD(dry_run, BOOL),
};
const struct json_params do_bind_params = {
	bind_fields, ARRAY_SIZE(bind_fields), sizeof(struct bind_args)};
const struct json_params do_release_params = {
	release_fields, ARRAY_SIZE(release_fields), sizeof(struct bind_args)};

/* A bind or release that is under way: as long as its job. */
struct change {
	struct daemon *d;
	struct job *job;
	char what[128]; /* "bind 0000:01:00.0 to vfio" */
	struct binding_plan plan;
};

/* --- the answer ------------------------------------------------------------------------------- */

static void put_binding(struct daemon *d, const char *id, struct json_out *o)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, id);
	struct binding_row row;
	bool kept = binding_find(d, id, BINDING_KEPT, &row);

	json_out_object(o, NULL);
	json_out_str(o, "device", id);
	json_out_str(o, "driver", device && device->driver[0] ? device->driver : NULL);
	json_out_bool(o, "kept", kept);
	json_out_str(o, "before", kept && row.old.driver[0] ? row.old.driver : NULL);
	json_out_end(o);
}

static char *result_text(
	struct daemon *d, const struct binding_plan *plan, bool already, size_t *len)
{
	auto_json_out struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.bindings/1");
	json_out_array(&o, "bindings");
	for (size_t i = 0; i < plan->count; i++)
		put_binding(d, plan->members[i].id, &o);
	json_out_end(&o);
	json_out_bool(&o, "already", already);
	json_out_end(&o);
	return json_out_finish(&o, len);
}

static void change_ended(void *arg, const struct err *e)
{
	struct change *x = arg;
	struct err words = ERR_INIT;
	auto_free char *text = NULL;
	size_t len = 0;

	if (e) {
		words = *e;
	} else {
		for (size_t i = 0; i < x->plan.count; i++)
			binding_news(x->d, x->plan.members[i].id);
		text = result_text(x->d, &x->plan, false, &len);
		if (!text)
			err_set(&words, ERR_FAILED, "MEMORY", "it is done; no memory to say so");
	}
	if (text) {
		job_done(x->job, text, len);
	} else {
		err_wrap(&words, "%s", x->what);
		job_fail(x->job, &words);
	}
	free(x);
}

static void change_step(void *arg, const char *stage, unsigned int percent)
{
	struct change *x = arg;

	job_progress(x->job, percent, "%s", stage);
}

/* What is answered at once: how it is already, or what would be done. */
static void answer_at_once(struct request *rq, const struct binding_plan *plan, bool already)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	text = result_text(request_daemon(rq), plan, already, &len);
	if (text) {
		request_send_document(rq, text, len);
		return;
	}
	err_set(&e, ERR_FAILED, "MEMORY", "no memory for the answer");
	request_fail(rq, &e);
}

static const char *or_none(const char *driver)
{
	return strcmp(driver, BIND_KERNELS) == 0 ? "the one that the kernel gives it"
	       : driver[0]                       ? driver
						 : "(none)";
}

static void answer_plan(struct request *rq, const struct binding_plan *plan, const char *driver,
	const struct stages_table *table)
{
	struct daemon *d = request_daemon(rq);
	struct json_out *o = request_begin_reply(rq);
	struct binding_row row;

	json_out_str(o, "schema", "iovd.plan/1");
	json_out_array(o, "plan");
	for (size_t i = 0; i < plan->count; i++) {
		const struct binding_member *m = &plan->members[i];
		const char *to = driver                                       ? driver
				 : unknown_is(d, m->id)                       ? BIND_KERNELS
				 : binding_find(d, m->id, BINDING_KEPT, &row) ? row.old.driver
									      : m->driver;

		json_out_fmt(o, NULL, "%s: driver %s, then %s", m->id, or_none(m->driver),
			driver && strcmp(driver, BIND_VFIO) == 0 ? "the VFIO driver that fits best"
								 : or_none(to));
	}
	for (unsigned int i = 0; i < table->count; i++)
		json_out_fmt(o, NULL, "stage %u: %s", i + 1, table->stages[i].name);
	json_out_end(o);
	request_send_reply(rq);
}

/* --- the job ---------------------------------------------------------------------------------- */

static struct change *change_new(struct request *rq, const char *verb,
	const struct binding_plan *plan, const char *driver, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	const char *id = plan->members[0].id;
	char device[48], group[32];
	const struct job_spec spec = {
		.verb = verb, .objects = {device, plan->group >= 0 ? group : NULL}};
	struct change *x = calloc(1, sizeof(*x));

	if (!x) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to %s", verb);
		return NULL;
	}
	*x = (struct change){.d = d, .plan = *plan};
	snprintf(device, sizeof(device), "device:%s", id);
	snprintf(group, sizeof(group), "group:%lld", (long long)plan->group);
	snprintf(x->what, sizeof(x->what), "%s %s%s%s", verb, id, driver ? " to " : "",
		driver ? driver : "");
	x->job = job_start(d->jobs, rq, &spec, e);
	if (x->job)
		return x;
	free(x);
	return NULL;
}

/* --- bind ------------------------------------------------------------------------------------- */

/* The journal has room for a name of 15. */
static int check_id(const char *id, struct err *e)
{
	if (strlen(id) < sizeof(((struct journal_op *)0)->subject))
		return 0;
	return err_set(e, ERR_REFUSED, "NAME", "the address %s is too long to be kept", id);
}

static const struct device *find_function(struct daemon *d, const char *name, struct err *e)
{
	const struct device *device = inventory_resolve(d->inventory, name, e);

	if (!device)
		return NULL;
	if (device->class == DEVICE_PCI)
		return check_id(device->id, e) == 0 ? device : NULL;
	err_set(e, ERR_USAGE, "CLASS", "%s is no PCI device, and has no driver to choose",
		device->id);
	if (device->parent[0])
		err_fix(e, "if you mean what it is on: %s", device->parent);
	return NULL;
}

static bool is_bound_already(
	struct daemon *d, const struct binding_plan *plan, const struct binding_ask *ask)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct binding_member *m = &plan->members[i];
		struct binding_row row;

		if (!binding_find(d, m->id, BINDING_KEPT, &row) ||
			strcmp(row.driver, m->driver) != 0)
			return false;
		if (strcmp(ask->driver, BIND_VFIO) == 0 ? !bind_is_vfio(row.driver)
							: strcmp(ask->driver, row.driver) != 0)
			return false;
	}
	return true;
}

/* One code, of those that attach can waive and that are asked here. */
static int read_allow(const char *code, unsigned int *allow, struct err *e)
{
	*allow = code ? attach_allow_of(code, strlen(code)) & ATTACH_ALLOW_CONSOLE : 0;
	if (!code || *allow)
		return 0;
	err_set(e, ERR_USAGE, "ALLOW", "%.32s is nothing that can be allowed", code);
	return err_fix(e, "HOST-CONSOLE; every other refusal stays");
}

static int bind_ask(struct request *rq, const struct bind_args *a, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	const struct device *device = find_function(d, a->device, e);
	struct binding_caller caller = {.done = change_ended, .progress = change_step};
	char id[BINDING_ID_MAX];
	const struct binding_ask ask = {
		.device = id, .driver = a->driver, .holder = BINDING_KEPT, .whole_group = a->group};
	struct binding_plan plan;
	unsigned int allow;
	struct change *x;

	if (!device || read_allow(a->allow, &allow, e) < 0)
		return -1;
	if (!bind_name_is_valid(a->driver))
		return err_set(e, ERR_USAGE, "NAME", "%.64s is no name of a driver", a->driver);
	str_copy(id, sizeof(id), device->id);
	if (binding_plan(d, &ask, &plan, e) < 0 || binding_check_over(d, &plan, e) < 0)
		return -1;
	if (is_bound_already(d, &plan, &ask)) {
		answer_at_once(rq, &plan, true);
		return 0;
	}
	if (binding_is_for_vfio(&ask) && explain_refuse_bind(d, id, allow, e) < 0)
		return -1;
	if (a->dry_run) {
		answer_plan(rq, &plan, a->driver, &bind_table);
		return 0;
	}
	x = change_new(rq, "bind", &plan, a->driver, e);
	if (!x)
		return -1;
	caller.arg = x;
	if (bind_start(d, &ask, &caller, e) < 0)
		change_ended(x, e); /* which answers */
	return 0;
}

void do_bind(struct request *rq, const void *args)
{
	const struct bind_args *a = args;
	struct err e = ERR_INIT;

	if (bind_ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "bind %.100s to %.40s", a->device, a->driver);
	request_fail(rq, &e);
}

/* --- release ---------------------------------------------------------------------------------- */

static bool is_kept(struct daemon *d, const struct binding_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		if (binding_find(d, plan->members[i].id, BINDING_KEPT, NULL) ||
			unknown_is(d, plan->members[i].id))
			return true;
	return false;
}

static int release_ask(struct request *rq, const struct bind_args *a, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	const struct device *device = find_function(d, a->device, e);
	struct binding_caller caller = {.done = change_ended, .progress = change_step};
	char id[BINDING_ID_MAX];
	struct binding_plan plan;
	bool was_quarantined;
	struct change *x;

	if (!device)
		return -1;
	str_copy(id, sizeof(id), device->id);
	if (release_plan(d, id, a->group, &plan, e) < 0 || binding_check_over(d, &plan, e) < 0)
		return -1;
	was_quarantined = quarantine_is(d, id);
	if (was_quarantined && !a->dry_run && quarantine_release(d, id, e) < 0)
		return -1;
	if (!is_kept(d, &plan)) {
		answer_at_once(rq, &plan, !was_quarantined);
		return 0;
	}
	if (release_check(d, &plan, e) < 0)
		return -1;
	if (a->dry_run) {
		answer_plan(rq, &plan, NULL, &release_table);
		return 0;
	}
	for (size_t i = 0; i < plan.count; i++)
		if (unknown_claim(d, plan.members[i].id, e) < 0)
			return -1;
	x = change_new(rq, "release", &plan, NULL, e);
	if (!x)
		return -1;
	caller.arg = x;
	if (release_start(d, &plan, &caller, e) < 0)
		change_ended(x, e); /* which answers */
	return 0;
}

void do_release(struct request *rq, const void *args)
{
	const struct bind_args *a = args;
	struct err e = ERR_INIT;

	if (release_ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "release %.100s", a->device);
	request_fail(rq, &e);
}
