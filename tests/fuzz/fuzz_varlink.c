/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a client may send: framing, envelope and parameters, in one go as the server does it. The
 * scanner and json-c are held together: what the scanner takes must parse (unless a member comes
 * twice), be written again, and be taken again.
 *
 *	byte 0		where the stream is cut in two
 *	then		the stream
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "proto/varlink.h"
#include "tests/fuzz/fuzz.h"

#define MAX_MESSAGE 4096

static void require(bool good)
{
	if (!good)
		abort();
}

/* Writes what was read, and reads that: the writer only makes what the scanner takes. */
static void check_rewritten(const struct json *v)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	struct json_out o;
	size_t len;

	json_out_init(&o);
	json_out_value(&o, NULL, v);
	text = json_out_finish(&o, &len);
	require(text && json_check(text, len, &e) == 0);
}

static void check_parameters(struct json_span span)
{
	struct err e = ERR_INIT;
	auto_json struct json *v = json_parse(span.text, span.len, &e);

	require(v || strstr(e.msg, "twice"));
	if (v)
		check_rewritten(v);
}

static void check_message(const char *text, size_t len)
{
	struct varlink_call call;
	struct varlink_reply reply;
	struct err e = ERR_INIT;
	char job[16];

	if (varlink_parse_call(text, len, &call, &e) == 0) {
		require(json_check(text, len, &e) == 0);
		require(strlen(call.method) > 0);
		if (call.parameters.text)
			check_parameters(call.parameters);
	}
	if (varlink_parse_reply(text, len, &reply, &e) == 0 && reply.error[0])
		varlink_get_error(&reply, &e, job, sizeof(job));
}

static void take_messages(struct varlink_framer *f, struct buf *in)
{
	ssize_t len;

	while ((len = varlink_next(f, in, MAX_MESSAGE)) >= 0) {
		require((size_t)len < in->len && in->data[len] == '\0');
		require(!memchr(in->data, '\0', (size_t)len));
		check_message(in->data, (size_t)len);
		buf_consume(in, (size_t)len + 1);
	}
	require(len == -EAGAIN || (len == -EMSGSIZE && in->len > MAX_MESSAGE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct varlink_framer f = {0};
	struct buf in;
	size_t cut;

	if (size == 0)
		return 0;
	cut = MIN((size_t)data[0], size - 1);
	buf_init(&in, size);
	require(buf_append(&in, data + 1, cut) == 0);
	take_messages(&f, &in);
	require(buf_append(&in, data + 1 + cut, size - 1 - cut) == 0);
	take_messages(&f, &in);
	buf_release(&in);
	return 0;
}
