/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proto/varlink.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"

/* --- framing ---------------------------------------------------------------------------------- */

ssize_t varlink_next(struct varlink_framer *f, const struct buf *in, size_t max)
{
	const char *nul = NULL;
	size_t len;

	if (in->len > f->searched)
		nul = memchr(in->data + f->searched, '\0', in->len - f->searched);
	len = nul ? (size_t)(nul - in->data) : in->len;
	if (len > max)
		return -EMSGSIZE;
	f->searched = nul ? 0 : in->len;
	return nul ? (ssize_t)len : -EAGAIN;
}

/* --- envelopes -------------------------------------------------------------------------------- */

static int varlink_bad(struct err *e, const char *what)
{
	return err_set(e, ERR_USAGE, "VARLINK", "not a Varlink message: %s", what);
}

static bool varlink_is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '-' || c == '_';
}

/* A name of method or error, which never needs an escape. */
static int varlink_take_name(struct json_span span, char *name, struct err *e)
{
	size_t len;

	if (span.len < 3 || span.text[0] != '"')
		return varlink_bad(e, "a name is no string");
	len = span.len - 2;
	if (len >= VARLINK_MAX_NAME)
		return varlink_bad(e, "a name is too long");
	for (size_t i = 0; i < len; i++)
		if (!varlink_is_name_char(span.text[1 + i]))
			return varlink_bad(e, "a name has a character that names do not have");
	memcpy(name, span.text + 1, len);
	name[len] = '\0';
	return 0;
}

static int varlink_take_flag(struct json_span span, bool *flag, struct err *e)
{
	*flag = span.text && span.text[0] == 't';
	if (span.text && span.text[0] != 't' && span.text[0] != 'f')
		return varlink_bad(e, "a flag is neither true nor false");
	return 0;
}

static int varlink_take_parameters(struct json_span span, struct json_span *out, struct err *e)
{
	*out = span;
	if (span.text && span.text[0] != '{')
		return varlink_bad(e, "the parameters are no object");
	return 0;
}

int varlink_parse_call(const char *text, size_t len, struct varlink_call *call, struct err *e)
{
	static const char *const keys[] = {"method", "parameters", "more", "oneway", "upgrade"};
	struct json_span spans[ARRAY_SIZE(keys)];

	*call = (struct varlink_call){0};
	if (json_split(text, len, keys, spans, ARRAY_SIZE(keys), e) < 0)
		return -1;
	if (!spans[0].text)
		return varlink_bad(e, "no method");
	if (varlink_take_name(spans[0], call->method, e) < 0 ||
		varlink_take_parameters(spans[1], &call->parameters, e) < 0 ||
		varlink_take_flag(spans[2], &call->more, e) < 0 ||
		varlink_take_flag(spans[3], &call->oneway, e) < 0 ||
		varlink_take_flag(spans[4], &call->upgrade, e) < 0)
		return -1;
	if (call->more && call->oneway)
		return varlink_bad(e, "a call with many replies and with none");
	return 0;
}

int varlink_parse_reply(const char *text, size_t len, struct varlink_reply *reply, struct err *e)
{
	static const char *const keys[] = {"error", "parameters", "continues"};
	struct json_span spans[ARRAY_SIZE(keys)];

	*reply = (struct varlink_reply){0};
	if (json_split(text, len, keys, spans, ARRAY_SIZE(keys), e) < 0)
		return -1;
	if (spans[0].text && varlink_take_name(spans[0], reply->error, e) < 0)
		return -1;
	if (varlink_take_parameters(spans[1], &reply->parameters, e) < 0 ||
		varlink_take_flag(spans[2], &reply->continues, e) < 0)
		return -1;
	return 0;
}

/* --- errors ----------------------------------------------------------------------------------- */

void varlink_put_error(struct json_out *o, const struct err *e, const char *job)
{
	json_out_object(o, NULL);
	json_out_fmt(o, "error", IOVD_ERROR_PREFIX "%s", err_kind_info(e->kind)->varlink_name);
	json_out_object(o, "parameters");
	json_out_str(o, "code", e->code);
	json_out_str(o, "attempted", e->msg);
	json_out_str(o, "evidence", e->evidence);
	json_out_str(o, "fix", e->fix);
	if (job)
		json_out_str(o, "job", job);
	json_out_end(o);
	json_out_end(o);
}

/* The errors that every Varlink service may answer, in iovd's words. */
static const struct varlink_standard_error {
	const char *name;
	enum err_kind kind;
	const char *code, *parameter, *sentence;
} varlink_standard_errors[] = {
	{VARLINK_SERVICE ".InvalidParameter", ERR_USAGE, JSON_CODE_PARAM, "parameter",
		"the daemon does not take the parameter"},
	{VARLINK_SERVICE ".MethodNotFound", ERR_FAILED, "METHOD", "method",
		"the daemon has no method"},
	{VARLINK_SERVICE ".MethodNotImplemented", ERR_FAILED, "METHOD", "method",
		"the daemon does not implement"},
	{VARLINK_SERVICE ".InterfaceNotFound", ERR_NOT_FOUND, "INTERFACE", "interface",
		"the daemon has no interface"},
	{VARLINK_SERVICE ".PermissionDenied", ERR_NOT_PERMITTED, "PERMISSION", NULL,
		"the daemon does not permit this"},
	{VARLINK_SERVICE ".ExpectedMore", ERR_USAGE, "MORE", NULL,
		"the daemon answers this only with a stream"},
};

static void varlink_get_other_error(const char *name, const struct json *params, struct err *e)
{
	const struct varlink_standard_error *known = NULL;
	const char *what;

	for (unsigned int i = 0; i < ARRAY_SIZE(varlink_standard_errors); i++)
		if (strcmp(varlink_standard_errors[i].name, name) == 0)
			known = &varlink_standard_errors[i];
	if (!known) {
		err_set(e, ERR_FAILED, "VARLINK", "the daemon answered with the error %s", name);
		return;
	}
	what = known->parameter ? json_member_str(params, known->parameter) : NULL;
	err_set(e, known->kind, known->code, "%s%s%s", known->sentence, what ? " " : "",
		what ? what : "");
}

static void varlink_get_text(const struct json *params, const char *key, char *out, size_t size)
{
	const char *text = json_member_str(params, key);

	str_copy(out, size, text ? text : "");
}

void varlink_get_error(const struct varlink_reply *reply, struct err *e, char *job, size_t job_size)
{
	auto_json struct json *params = NULL;
	size_t prefix_len = strlen(IOVD_ERROR_PREFIX);

	job[0] = '\0';
	if (reply->parameters.text) {
		params = json_parse(reply->parameters.text, reply->parameters.len, e);
		if (!params)
			return;
	}
	if (strncmp(reply->error, IOVD_ERROR_PREFIX, prefix_len) != 0) {
		varlink_get_other_error(reply->error, params, e);
		return;
	}
	err_set(e, err_kind_by_varlink_name(reply->error + prefix_len), "FAILED", "%s",
		reply->error);
	if (json_member_str(params, "code"))
		varlink_get_text(params, "code", e->code, sizeof(e->code));
	if (json_member_str(params, "attempted"))
		varlink_get_text(params, "attempted", e->msg, sizeof(e->msg));
	varlink_get_text(params, "evidence", e->evidence, sizeof(e->evidence));
	varlink_get_text(params, "fix", e->fix, sizeof(e->fix));
	varlink_get_text(params, "job", job, job_size);
}
