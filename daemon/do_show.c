/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `iovctl show NAME`: everything about one thing, found by any of its names. */
#include <stdlib.h>
#include <string.h>

#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/show.h"
#include "daemon/vf.h"
#include "lib/cleanup.h"

static const struct {
	const char *kind;
	show_fn *show;
} rows[] = {
	{"attachment", show_attachment}, {"vm", show_vm}, {"job", show_job}, {"group", show_group},
	{"device", show_device}, /* last: its words say best what was not found */
};

struct show_args {
	const char *name;
};

static const struct json_field show_fields[] = {
	{"name", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct show_args, name)},
};
const struct json_params do_show_params = {
	show_fields, ARRAY_SIZE(show_fields), sizeof(struct show_args)};

/* What one row has of that name. */
struct finding {
	char *text; /* {"<kind>": {...}} without its braces */
	size_t len;
};

/* As show_fn; on 1 the member is in *found, the caller's to free. */
static int show_try(
	struct daemon *d, size_t row, const char *name, struct finding *found, struct err *e)
{
	struct json_out o;
	int rc;

	json_out_init(&o);
	rc = rows[row].show(d, name, &o, NULL, e);
	if (rc <= 0) {
		json_out_release(&o);
		return rc;
	}
	found->text = json_out_finish(&o, &found->len);
	return found->text ? 1
			   : err_set(e, ERR_FAILED, "REPLY-SIZE", "%s is too large to show", name);
}

static void show_reply(struct request *rq, const char *kind, const struct finding *found)
{
	struct json_out *o = request_begin_reply(rq);

	json_out_fmt(o, "schema", "iovd.%s/1", kind);
	json_out_str(o, "kind", kind);
	json_out_raw(o, kind, found->text, found->len);
	request_send_reply(rq);
}

/* Two kinds of things have that name. */
static void show_ambiguous(struct request *rq, const char *name, const char *a, const char *b)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_USAGE, "AMBIGUOUS", "%s names a %s and a %s", name, a, b);
	err_fix(&e, "use a name that only one of them has: a path, or the full id");
	request_fail(rq, &e);
}

static void show_now(struct request *rq, const char *name)
{
	struct err e = ERR_INIT;
	struct finding found = {0};
	size_t found_row = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct finding next = {0};
		int rc = show_try(request_daemon(rq), i, name, &next, &e);

		if (rc == 0)
			continue;
		if (rc < 0 || found.text) {
			if (rc < 0)
				request_fail(rq, &e);
			else
				show_ambiguous(rq, name, rows[found_row].kind, rows[i].kind);
			free(next.text);
			free(found.text);
			return;
		}
		found = next;
		found_row = i;
	}
	if (found.text)
		show_reply(rq, rows[found_row].kind, &found);
	else
		request_fail(rq, &e);
	free(found.text);
}

void do_show(struct request *rq, const void *args)
{
	const char *name = ((const struct show_args *)args)->name;

	if (!vf_look_first(rq, name, show_now))
		show_now(rq, name);
}
