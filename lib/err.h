/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors are sentences. A function that can fail returns 0 or -1 and fills a struct err that lives
 * on its caller's stack (so failing never allocates): the bottom says what failed, each layer adds
 * in front what it was doing, and only the dispatcher (daemon) or main (programs) prints it.
 *
 *	if (bind_to_vfio(addr, e) < 0)
 *		return err_wrap(e, "attach %s", addr->str);
 *
 * Passing NULL for `e` is allowed where the caller does not want the words. Not thread shared.
 */
#pragma once

#include "lib/util.h"

/* What a caller can act on; one exit status and one Varlink error each (err_kind_info()). */
enum err_kind {
	ERR_NONE = 0,
	ERR_FAILED,        /* exit 1 */
	ERR_USAGE,         /* exit 2: usage, or an ambiguous name */
	ERR_TIMED_OUT,     /* exit 3: a job goes on */
	ERR_REFUSED,       /* exit 4: a check said no */
	ERR_ROLLED_BACK,   /* exit 5 */
	ERR_PARTLY_DONE,   /* exit 6: needs a person */
	ERR_HOST_CHANGED,  /* exit 7 */
	ERR_UNREACHABLE,   /* exit 8: no daemon */
	ERR_NOT_PERMITTED, /* exit 9 */
	ERR_NOT_FOUND,     /* exit 10 */
	ERR_BUSY,          /* exit 1: somebody else is at it */
	ERR_KIND_COUNT
};

struct err_kind_info {
	int exit_status;
	const char *varlink_name; /* the part after "org.iovd." */
};

struct err {
	enum err_kind kind;
	int sys;       /* errno behind it, 0 if none */
	char code[24]; /* stable, as in `iovctl explain CODE`; never empty after err_set() */
	char msg[512]; /* grows leftwards: "attach 0000:3b:00.2: map: No space left on device" */
	char evidence[1024]; /* what was seen, and where: "/sys/...: 1"; may be empty */
	char fix[320];       /* what to do about it; may be empty */
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		0                                                                                  \
	}

/* Sets kind, code ("INTERNAL" style, see doc) and the sentence; forgets an earlier error. Returns
 * -1. */
int err_set(struct err *e, enum err_kind kind, const char *code, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* The same for a failed system call: kind ERR_FAILED, code "SYS", ": <text of sys>" added. Returns
 * -1. */
int err_sys(struct err *e, int sys, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "<words>: " in front. Returns -1, so that `return err_wrap(...)` reads well. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Adds what was seen / what to do. Return -1 like err_wrap(). */
int err_evidence(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
int err_fix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* They always return -1: an analyser that sees only the prototypes has to be told. */
#ifdef __clang_analyzer__
#define err_set(...)      (err_set(__VA_ARGS__), -1)
#define err_sys(...)      (err_sys(__VA_ARGS__), -1)
#define err_wrap(...)     (err_wrap(__VA_ARGS__), -1)
#define err_evidence(...) (err_evidence(__VA_ARGS__), -1)
#define err_fix(...)      (err_fix(__VA_ARGS__), -1)
#endif

/* Static facts about a kind; never NULL for a kind below ERR_KIND_COUNT. */
const struct err_kind_info *err_kind_info(enum err_kind kind);

/* The kind whose Varlink error name (without "org.iovd.") this is; ERR_FAILED if none. */
enum err_kind err_kind_by_varlink_name(const char *name);
