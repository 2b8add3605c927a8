/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Varlink messages: one JSON object each, ended by a NUL byte. This is the codec that daemon and
 * client share: framing, envelopes, error replies. No I/O.
 *
 *	call   {"method":M, "parameters":{...}, "more":bool, "oneway":bool, "upgrade":bool}
 *	reply  {"parameters":{...}, "continues":bool}
 *	error  {"error":NAME, "parameters":{...}}
 */
#pragma once

#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "proto/json.h"

#define VARLINK_MAX_NAME 128

#define IOVD_INTERFACE        "org.iovd.Manager"
#define IOVD_ERROR_PREFIX     "org.iovd."
#define VARLINK_SERVICE       "org.varlink.service"
#define VARLINK_MAX_MESSAGE   ((size_t)1 << 20)  /* a call, without its NUL */
#define VARLINK_MAX_UNTRUSTED ((size_t)64 << 10) /* the same from who may only read */

/* The interface descriptions, as installed (built from proto/ *.varlink); NUL terminated. */
extern const char varlink_manager_text[];
extern const char varlink_service_text[];

/* --- framing ---------------------------------------------------------------------------------- */

/* Where the search for the next NUL has got to; starts as {0}. */
struct varlink_framer {
	size_t searched;
};

/*
 * Length of the complete message at the front of `in` (its NUL not counted; the caller consumes
 * length + 1), -EAGAIN when it is not complete yet, -EMSGSIZE when it is longer than `max`.
 */
ssize_t varlink_next(struct varlink_framer *f, const struct buf *in, size_t max);

/* --- envelopes -------------------------------------------------------------------------------- */

struct varlink_call {
	char method[VARLINK_MAX_NAME]; /* "org.iovd.Manager.ListDevices" */
	struct json_span parameters;   /* an object's text, checked for form but not yet parsed */
	bool more, oneway, upgrade;
};

struct varlink_reply {
	char error[VARLINK_MAX_NAME]; /* "" for success */
	struct json_span parameters;  /* absent: an empty object */
	bool continues;
};

/* Takes one message apart; spans point into `text`. 0, or -1 (kind ERR_USAGE). */
int varlink_parse_call(const char *text, size_t len, struct varlink_call *call, struct err *e);
int varlink_parse_reply(const char *text, size_t len, struct varlink_reply *reply, struct err *e);

/* Writes the parameters of org.iovd.<Kind> (`job` NULL: none) / reads such a reply back. */
void varlink_put_error(struct json_out *o, const struct err *e, const char *job);
void varlink_get_error(
	const struct varlink_reply *reply, struct err *e, char *job, size_t job_size);
