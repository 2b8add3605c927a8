/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IOMMU groups, as clients see and change them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/events.h"
#include "daemon/group_type.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/show.h"
#include "lib/cleanup.h"

/* --- showing ---------------------------------------------------------------------------------- */

void do_list_groups(struct request *rq, const void *args)
{
	struct json_out *o = request_begin_reply(rq);

	(void)args;
	json_out_str(o, "schema", "iovd.groups/1");
	inventory_put_groups(request_daemon(rq)->inventory, o, "groups");
	request_send_reply(rq);
}

int show_group(
	struct daemon *d, const char *name, struct json_out *o, const char *key, struct err *e)
{
	uint64_t number;

	if (name[strspn(name, "0123456789")] || parse_u64(name, INT32_MAX, &number) < 0)
		return 0;
	if (inventory_put_group(d->inventory, (uint32_t)number, o, key, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	return 1;
}

struct group_args {
	const char *group, *type;
};

static const struct json_field show_group_fields[] = {
	{"group", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct group_args, group)},
};
const struct json_params do_show_group_params = {
	show_group_fields, ARRAY_SIZE(show_group_fields), sizeof(struct group_args)};

static const struct json_field set_group_fields[] = {
	{"group", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct group_args, group)},
	{"type", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct group_args, type)},
};
const struct json_params do_set_group_params = {
	set_group_fields, ARRAY_SIZE(set_group_fields), sizeof(struct group_args)};

/* A number, or any name of a device that is in it. */
static int find_group(struct daemon *d, const char *name, uint32_t *id, struct err *e)
{
	const struct iommu_group *group;
	const struct device *device;
	uint64_t number;

	if (!name[strspn(name, "0123456789")] && parse_u64(name, INT32_MAX, &number) == 0) {
		group = inventory_group(d->inventory, (uint32_t)number, e);
	} else {
		device = inventory_resolve(d->inventory, name, e);
		group = device ? inventory_group_of(d->inventory, device, e) : NULL;
	}
	if (!group)
		return -1;
	*id = group->id;
	return 0;
}

void do_show_group(struct request *rq, const void *args)
{
	const struct group_args *a = args;
	struct daemon *d = request_daemon(rq);
	struct json_out *o = request_begin_reply(rq);
	struct err e = ERR_INIT;
	uint32_t id;

	json_out_str(o, "schema", "iovd.group/1");
	if (find_group(d, a->group, &id, &e) < 0 ||
		inventory_put_group(d->inventory, id, o, "group", &e) < 0)
		request_fail(rq, &e);
	else
		request_send_reply(rq);
}

/* --- setting ---------------------------------------------------------------------------------- */

/* A change of a type that is under way: as long as its job. */
struct change {
	struct daemon *d;
	struct job *job;
	uint32_t group;
	char what[64]; /* "set IOMMU group 12 to identity" */
};

static void change_fail(struct change *x, const struct err *e)
{
	struct err words = *e;

	err_wrap(&words, "%s", x->what);
	job_fail(x->job, &words);
	free(x);
}

/* The answer to both; NULL with e set. */
static char *result_text(struct daemon *d, uint32_t group, bool already, size_t *len, struct err *e)
{
	auto_json_out struct json_out o;
	char *text;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.group/1");
	if (inventory_put_group(d->inventory, group, &o, "group", e) < 0)
		return NULL;
	json_out_bool(&o, "already", already);
	json_out_end(&o);
	text = json_out_finish(&o, len);
	if (!text)
		err_set(e, ERR_FAILED, "MEMORY", "it is done, but there is no memory to say so");
	return text;
}

/* Watchers learn of it; there is no message of the kernel. */
static void tell(struct daemon *d, uint32_t group)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	char id[16];
	size_t len;

	json_out_init(&o);
	snprintf(id, sizeof(id), "%u", group);
	if (inventory_put_group(d->inventory, group, &o, NULL, NULL) < 0)
		return;
	text = json_out_finish(&o, &len);
	if (text)
		events_emit(d->events, "changed", "group", id, text, len);
}

static void change_ended(void *arg, const struct err *e)
{
	struct change *x = arg;
	auto_free char *text = NULL;
	struct err own = ERR_INIT;
	size_t len;

	if (e) {
		change_fail(x, e);
		return;
	}
	tell(x->d, x->group);
	text = result_text(x->d, x->group, false, &len, &own);
	if (!text) {
		change_fail(x, &own);
		return;
	}
	job_done(x->job, text, len);
	free(x);
}

static int change_begin(struct request *rq, const struct group_type_plan *plan, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	char object[32];
	const struct job_spec job = {.verb = "group", .objects = {object}};
	struct change *x = calloc(1, sizeof(*x));
	struct err own = ERR_INIT;

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to set a type");
	x->d = d;
	x->group = plan->group;
	snprintf(object, sizeof(object), "group:%u", plan->group);
	snprintf(x->what, sizeof(x->what), "set IOMMU group %u to %s", plan->group, plan->word);
	x->job = job_start(d->jobs, rq, &job, e);
	if (!x->job) {
		free(x);
		return -1;
	}
	job_progress(x->job, 0, "writing %s", plan->word);
	if (group_type_set(d, plan, change_ended, x, &own) < 0)
		change_fail(x, &own);
	return 0;
}

static int set_ask(struct request *rq, const struct group_args *a, struct err *e)
{
	static const char *const types[] = {"translate", "identity", "blocked"};
	struct daemon *d = request_daemon(rq);
	auto_free char *text = NULL;
	struct group_type_plan plan;
	bool known = false;
	uint32_t id;
	size_t len;
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		known = known || strcmp(types[i], a->type) == 0;
	if (!known) {
		err_set(e, ERR_USAGE, "GRP-TYPE", "%.64s is no type of a group", a->type);
		return err_fix(e, "translate, identity or blocked");
	}
	if (find_group(d, a->group, &id, e) < 0)
		return -1;
	rc = group_type_check(d, id, a->type, &plan, e);
	if (rc <= 0)
		return rc < 0 ? -1 : change_begin(rq, &plan, e);
	text = result_text(d, id, true, &len, e);
	if (!text)
		return -1;
	request_send_document(rq, text, len);
	return 0;
}

void do_set_group(struct request *rq, const void *args)
{
	const struct group_args *a = args;
	struct err e = ERR_INIT;

	if (set_ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "set the type of group %.64s", a->group);
	request_fail(rq, &e);
}
