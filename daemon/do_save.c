/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Save, as clients ask for it. The file is the client's: it gets the bytes.
 *
 * Requests that are carried are in that file, and nowhere else once the VMM has stopped the machine. So
 * the workers do not let it stop (lib/backends/vu_gate.c) before the client says that the file is on its
 * disk. The receipt ties that word to the quiesce that it was saved under: it is the gates' words, which
 * no other quiesce has.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/iostate.h"
#include "daemon/quiesce.h"
#include "daemon/supervisor.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "proto/base64.h"

struct save_args {
	const char *vm;
	const char *receipt;
};

static const struct json_field save_fields[] = {
	{"vm", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct save_args, vm)},
	{"receipt", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct save_args, receipt)},
};
const struct json_params do_save_params = {save_fields, 1, sizeof(struct save_args)};
const struct json_params do_stored_params = {
	save_fields, ARRAY_SIZE(save_fields), sizeof(struct save_args)};

#define RECEIPT_ONE 40 /* bytes that an attachment may take */

static struct attachment *next_carrying(
	struct daemon *d, const struct quiesce_target *vm, struct attachment *a)
{
	while ((a = quiesce_next(d->registry, vm, a)))
		if (a->quiesced && a->gate & SESSION_GATE_CARRY)
			return a;
	return NULL;
}

/* "a1=1283 a2=1539 ", or "": nothing can have been carried. NULL without memory. */
static char *receipt_of(struct daemon *d, const char *vm)
{
	struct quiesce_target target = {0};
	struct attachment *a = NULL;
	size_t size = 1, len = 0;
	char *text;

	str_copy(target.vm, sizeof(target.vm), vm);
	while ((a = next_carrying(d, &target, a)))
		size += RECEIPT_ONE;
	text = calloc(1, size);
	while (text && (a = next_carrying(d, &target, a)))
		len += (size_t)snprintf(
			text + len, size - len, "%s=%" PRIu64 " ", a->spec.id, a->gate_word);
	assert(!text || len < size);
	return text;
}

static int save_answer(struct request *rq, const struct iostate *s, struct err *e)
{
	auto_free char *receipt = receipt_of(request_daemon(rq), s->origin.vm);
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
	if (!text || !receipt)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the answer");
	o = request_begin_reply(rq);
	json_out_str(o, "schema", "iovd.saved/1");
	json_out_str(o, "vm", s->origin.vm);
	json_out_array(o, "attachments");
	for (uint32_t i = 0; i < s->attachment_count; i++)
		json_out_str(o, NULL, s->attachments[i].identity.id);
	json_out_end(o);
	json_out_str(o, "state", text);
	json_out_str(o, "receipt", receipt[0] ? receipt : NULL);
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

/* Kept before it is told: a daemon that is killed in between tells it in the end. */
static int let_stop(struct daemon *d, struct attachment *a, struct err *e)
{
	unsigned int gate = a->gate | SESSION_GATE_STORED;

	if (gate == a->gate)
		return 0;
	if (registry_keep_quiesced(d->registry, a, gate, e) < 0)
		return -1;
	fault_point("stored.kept");
	supervisor_set_gate(d->supervisor, a, gate);
	return 0;
}

static int stored(struct daemon *d, const struct save_args *args, struct err *e)
{
	auto_free char *receipt = receipt_of(d, args->vm);
	struct quiesce_target target = {0};
	struct attachment *a = NULL;

	if (!receipt)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a receipt");
	if (!receipt[0] || strcmp(receipt, args->receipt) != 0) {
		err_set(e, ERR_REFUSED, "NOT-QUIESCED", "%.64s is not as it was saved any more",
			args->vm);
		return err_fix(e, "iovctl quiesce %.64s --carry, and save it again", args->vm);
	}
	str_copy(target.vm, sizeof(target.vm), args->vm);
	while ((a = next_carrying(d, &target, a)))
		if (let_stop(d, a, e) < 0)
			return -1;
	return 0;
}

void do_stored(struct request *rq, const void *args)
{
	struct err e = ERR_INIT;
	struct json_out *o;

	if (stored(request_daemon(rq), args, &e) < 0) {
		request_fail(rq, &e);
		return;
	}
	o = request_begin_reply(rq);
	json_out_str(o, "schema", "iovd.stored/1");
	json_out_str(o, "vm", ((const struct save_args *)args)->vm);
	request_send_reply(rq);
}
