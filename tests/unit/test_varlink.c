/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proto/varlink: framing, envelopes, errors. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "proto/varlink.h"
#include "tests/unit/unit.h"

/* --- framing ---------------------------------------------------------------------------------- */

/* Two messages, arriving in two reads that are cut at every byte. */
START_TEST(messages_may_be_cut_anywhere)
{
	static const char stream[] = "{\"a\":1}\0{}"; /* with the second NUL from the literal */

	for (size_t cut = 0; cut <= sizeof(stream); cut++) {
		struct varlink_framer f = {0};
		struct buf in;
		size_t lens[4];
		unsigned int count = 0;

		buf_init(&in, 1024);
		for (unsigned int part = 0; part < 2; part++) {
			ssize_t len;

			ck_assert_int_eq(
				part == 0 ? buf_append(&in, stream, cut)
					  : buf_append(&in, stream + cut, sizeof(stream) - cut),
				0);
			while ((len = varlink_next(&f, &in, 100)) >= 0) {
				ck_assert_uint_lt(count, 2);
				lens[count++] = (size_t)len;
				buf_consume(&in, (size_t)len + 1);
			}
			ck_assert_int_eq(len, -EAGAIN);
		}
		ck_assert_uint_eq(count, 2);
		ck_assert_uint_eq(lens[0], 7);
		ck_assert_uint_eq(lens[1], 2);
		ck_assert_uint_eq(in.len, 0);
		buf_release(&in);
	}
}
END_TEST

START_TEST(message_size_is_exact)
{
	for (size_t size = 9; size <= 11; size++) {
		struct varlink_framer f = {0};
		struct buf in;
		ssize_t expected = size <= 10 ? (ssize_t)size : -EMSGSIZE;

		buf_init(&in, 64);
		ck_assert_int_eq(buf_append(&in, "xxxxxxxxxxxxxxxxxxxx", size), 0);
		ck_assert_int_eq(varlink_next(&f, &in, 10), size <= 10 ? -EAGAIN : -EMSGSIZE);
		ck_assert_int_eq(buf_append(&in, "", 1), 0);
		ck_assert_int_eq(varlink_next(&f, &in, 10), expected);
		buf_release(&in);
	}
}
END_TEST

/* An empty message is a message: the dispatcher is to refuse it, not to wait. */
START_TEST(empty_message_is_complete)
{
	struct varlink_framer f = {0};
	struct buf in;

	buf_init(&in, 64);
	ck_assert_int_eq(buf_append(&in, "", 1), 0);
	ck_assert_int_eq(varlink_next(&f, &in, 10), 0);
	buf_release(&in);
}
END_TEST

/* --- envelopes -------------------------------------------------------------------------------- */

START_TEST(call_is_taken_apart)
{
	static const char text[] =
		"{\"parameters\":{\"a\":[]},\"method\":\"org.x.Y\",\"more\":true,\"oneway\":false}";
	struct varlink_call call;
	struct err e = ERR_INIT;

	ck_assert_int_eq(varlink_parse_call(text, strlen(text), &call, &e), 0);
	ck_assert_str_eq(call.method, "org.x.Y");
	ck_assert(call.more && !call.oneway && !call.upgrade);
	ck_assert_uint_eq(call.parameters.len, 8);
	ck_assert_mem_eq(call.parameters.text, "{\"a\":[]}", 8);
}
END_TEST

START_TEST(bad_calls_are_refused)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"{}",
		"{\"method\":7}",
		"{\"method\":\"\"}",
		"{\"method\":\"a b\"}",
		"{\"method\":\"a\\u0062\"}",
		"{\"method\":\"a\",\"method\":\"b\"}",
		"{\"method\":\"a\",\"parameters\":[]}",
		"{\"method\":\"a\",\"parameters\":null}",
		"{\"method\":\"a\",\"more\":1}",
		"{\"method\":\"a\",\"more\":null}",
		"{\"method\":\"a\",\"more\":true,\"oneway\":true}",
		"{\"method\":\"a\",\"mroe\":true}",
		"{\"method\":\"a\"} {}",
		"{\"method\":\"a\",\"parameters\":{\"x\":\"\xff\"}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct varlink_call call;
		struct err e = ERR_INIT;

		ck_assert_msg(
			varlink_parse_call(bad[i], strlen(bad[i]), &call, &e) < 0, "%s", bad[i]);
		ck_assert_int_eq(e.kind, ERR_USAGE);
	}
}
END_TEST

/* Exactly VARLINK_MAX_NAME - 1 characters fit. */
START_TEST(name_length_is_exact)
{
	for (int len = VARLINK_MAX_NAME - 1; len <= VARLINK_MAX_NAME; len++) {
		char text[VARLINK_MAX_NAME + 32];
		int n = snprintf(text, sizeof(text), "{\"method\":\"%0*d\"}", len, 0);
		struct varlink_call call;
		struct err e = ERR_INIT;

		ck_assert_int_eq(varlink_parse_call(text, (size_t)n, &call, &e),
			len < VARLINK_MAX_NAME ? 0 : -1);
	}
}
END_TEST

START_TEST(reply_is_taken_apart)
{
	static const char text[] = "{\"parameters\":{\"a\":1},\"continues\":true}";
	struct varlink_reply reply;
	struct err e = ERR_INIT;

	ck_assert_int_eq(varlink_parse_reply(text, strlen(text), &reply, &e), 0);
	ck_assert_str_eq(reply.error, "");
	ck_assert(reply.continues);
	ck_assert_mem_eq(reply.parameters.text, "{\"a\":1}", 7);
	ck_assert_int_eq(varlink_parse_reply("{}", 2, &reply, &e), 0);
	ck_assert_ptr_null(reply.parameters.text);
}
END_TEST

/* --- errors ----------------------------------------------------------------------------------- */

/* What the daemon writes, the client reads back: for every kind. */
START_TEST(errors_survive_the_journey)
{
	for (int kind = ERR_FAILED; kind < ERR_KIND_COUNT; kind++) {
		struct err e = ERR_INIT, back = ERR_INIT;
		struct varlink_reply reply;
		struct json_out o;
		char job[32];
		size_t len;
		auto_free char *text = NULL;

		err_set(&e, (enum err_kind)kind, "SOME-CODE", "a \"sentence\"");
		err_evidence(&e, "seen");
		err_fix(&e, "do");
		json_out_init(&o);
		varlink_put_error(&o, &e, kind == ERR_TIMED_OUT ? "1f-2" : NULL);
		text = json_out_finish(&o, &len);
		ck_assert_int_eq(varlink_parse_reply(text, len, &reply, &back), 0);
		varlink_get_error(&reply, &back, job, sizeof(job));
		ck_assert_int_eq(back.kind, kind);
		ck_assert_str_eq(back.code, e.code);
		ck_assert_str_eq(back.msg, e.msg);
		ck_assert_str_eq(back.evidence, e.evidence);
		ck_assert_str_eq(back.fix, e.fix);
		ck_assert_str_eq(job, kind == ERR_TIMED_OUT ? "1f-2" : "");
	}
}
END_TEST

START_TEST(foreign_errors_become_sentences)
{
	static const struct {
		const char *text;
		enum err_kind kind;
		const char *sentence;
	} cases[] = {
		{"{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":"
		 "{\"parameter\":\"vm\"}}",
			ERR_USAGE, "the daemon does not take the parameter vm"},
		{"{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":"
		 "{\"method\":\"x.Y\"}}",
			ERR_FAILED, "the daemon has no method x.Y"},
		{"{\"error\":\"org.varlink.service.PermissionDenied\"}", ERR_NOT_PERMITTED,
			"the daemon does not permit this"},
		{"{\"error\":\"com.example.Odd\",\"parameters\":{\"x\":1}}", ERR_FAILED,
			"the daemon answered with the error com.example.Odd"},
		{"{\"error\":\"org.iovd.Unheard\",\"parameters\":{}}", ERR_FAILED,
			"org.iovd.Unheard"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct varlink_reply reply;
		struct err e = ERR_INIT;
		char job[32];

		ck_assert_int_eq(
			varlink_parse_reply(cases[i].text, strlen(cases[i].text), &reply, &e), 0);
		varlink_get_error(&reply, &e, job, sizeof(job));
		ck_assert_int_eq(e.kind, cases[i].kind);
		ck_assert_str_eq(e.msg, cases[i].sentence);
	}
}
END_TEST

UNIT_MAIN(messages_may_be_cut_anywhere, message_size_is_exact, empty_message_is_complete,
	call_is_taken_apart, bad_calls_are_refused, name_length_is_exact, reply_is_taken_apart,
	errors_survive_the_journey, foreign_errors_become_sentences)
