/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef __clang_analyzer__
#undef err_set
#undef err_sys
#undef err_wrap
#undef err_evidence
#undef err_fix
#endif

static const struct err_kind_info kinds[] = {
	[ERR_NONE] = {0, "None"},
	[ERR_FAILED] = {1, "Failed"},
	[ERR_USAGE] = {2, "Usage"},
	[ERR_TIMED_OUT] = {3, "TimedOut"},
	[ERR_REFUSED] = {4, "Refused"},
	[ERR_ROLLED_BACK] = {5, "RolledBack"},
	[ERR_PARTLY_DONE] = {6, "PartlyDone"},
	[ERR_HOST_CHANGED] = {7, "HostChanged"},
	[ERR_UNREACHABLE] = {8, "Unreachable"},
	[ERR_NOT_PERMITTED] = {9, "NotPermitted"},
	[ERR_NOT_FOUND] = {10, "NotFound"},
	[ERR_BUSY] = {1, "Busy"},
};
static_assert(ARRAY_SIZE(kinds) == ERR_KIND_COUNT, "every kind needs its exit status and name");

static void err_begin(struct err *e, enum err_kind kind, int sys, const char *code)
{
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->sys = sys;
	str_copy(e->code, sizeof(e->code), code);
}

int err_set(struct err *e, enum err_kind kind, const char *code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	err_begin(e, kind, 0, code);
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	return -1;
}

int err_sys(struct err *e, int sys, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!e)
		return -1;
	err_begin(e, ERR_FAILED, sys, "SYS");
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	len = strlen(e->msg);
	snprintf(e->msg + len, sizeof(e->msg) - len, ": %s", strerror(sys));
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char was[sizeof(e->msg)];
	va_list ap;
	size_t len;

	if (!e)
		return -1;
	memcpy(was, e->msg, sizeof(was));
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	len = strlen(e->msg);
	snprintf(e->msg + len, sizeof(e->msg) - len, ": %.*s", (int)sizeof(was), was);
	return -1;
}

int err_evidence(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	va_start(ap, fmt);
	vsnprintf(e->evidence, sizeof(e->evidence), fmt, ap);
	va_end(ap);
	return -1;
}

int err_fix(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	va_start(ap, fmt);
	vsnprintf(e->fix, sizeof(e->fix), fmt, ap);
	va_end(ap);
	return -1;
}

const struct err_kind_info *err_kind_info(enum err_kind kind)
{
	assert(kind < ERR_KIND_COUNT);
	return &kinds[kind];
}

enum err_kind err_kind_by_varlink_name(const char *name)
{
	/* A peer that calls its error "None" has still failed. */
	for (unsigned int i = ERR_FAILED; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].varlink_name, name) == 0)
			return (enum err_kind)i;
	return ERR_FAILED;
}
