/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Save, as clients ask for it. The file is the client's: it gets the bytes. */
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/iostate.h"
#include "lib/cleanup.h"
#include "proto/base64.h"

struct save_args {
	const char *vm;
};

static const struct json_field save_fields[] = {
	{"vm", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct save_args, vm)},
};
const struct json_params do_save_params = {
	save_fields, ARRAY_SIZE(save_fields), sizeof(struct save_args)};

static int save_answer(struct request *rq, const struct iostate *s, struct err *e)
{
	auto_free char *text = NULL;
	struct json_out *o;
	struct buf bytes;
	int rc;

	buf_init(&bytes, IOSTATE_MAX_BYTES);
	rc = iostate_encode(s, &bytes, e);
	if (rc == 0)
		text = base64_encode(bytes.data, bytes.len);
	buf_release(&bytes);
	if (rc < 0)
		return -1;
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the answer");
	o = request_begin_reply(rq);
	json_out_str(o, "schema", "iovd.saved/1");
	json_out_str(o, "vm", s->origin.vm);
	json_out_array(o, "attachments");
	for (uint32_t i = 0; i < s->attachment_count; i++)
		json_out_str(o, NULL, s->attachments[i].identity.id);
	json_out_end(o);
	json_out_str(o, "state", text);
	request_send_reply(rq);
	return 0;
}

void do_save(struct request *rq, const void *args)
{
	const char *vm = ((const struct save_args *)args)->vm;
	struct daemon *d = request_daemon(rq);
	auto_iostate struct iostate *s = NULL;
	struct err e = ERR_INIT;

	s = d->supervisor ? iostate_collect(d, vm, &e) : NULL;
	if (!d->supervisor)
		err_set(&e, ERR_FAILED, "KEEPER", "iovd runs without its keeper");
	if (s && save_answer(rq, s, &e) == 0)
		return;
	err_wrap(&e, "save %.64s", vm);
	request_fail(rq, &e);
}
