/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why: of a device, and of the host. */
#include <stddef.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/explain.h"

struct explain_args {
	const char *device, *vm;
};

static const struct json_field explain_fields[] = {
	{"device", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct explain_args, device)},
	{"vm", JSON_FIELD_STRING, .offset = offsetof(struct explain_args, vm)},
};
const struct json_params do_explain_params = {
	explain_fields, ARRAY_SIZE(explain_fields), sizeof(struct explain_args)};

void do_explain(struct request *rq, const void *args)
{
	const struct explain_args *a = args;
	struct json_out *o = request_begin_reply(rq);
	struct err e = ERR_INIT;

	json_out_str(o, "schema", "iovd.explanation/1");
	if (explain_device(request_daemon(rq), a->device, a->vm, o, "explanation", &e) < 0)
		request_fail(rq, &e);
	else
		request_send_reply(rq);
}

void do_doctor(struct request *rq, const void *args)
{
	struct json_out *o = request_begin_reply(rq);

	(void)args;
	json_out_str(o, "schema", "iovd.doctor/1");
	explain_host(request_daemon(rq), o, "doctor");
	request_send_reply(rq);
}
