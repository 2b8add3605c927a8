/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging. Libraries log at debug only; whoever handles an error logs it, once. One line per call:
 * "object: what: detail", lower case, no full stop. Lines go to standard error; under a service
 * manager (JOURNAL_STREAM set) they carry its "<N>" level prefix. Thread safe (one write each);
 * errno is kept.
 */
#pragma once

#include "lib/util.h"

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* The program name in front of every line; `ident` is kept, not copied. Call once, first. */
void log_open(const char *ident);

/*
 * Debug output is off until asked for by token: "vu,ctl" or "all" (IOVD_DEBUG, --debug=). Tokens:
 * ctl, keeper, vault, vu, virtq, uring, inv, store, sup, virt.
 */
void log_set_debug(const char *tokens);
bool log_debug_on(const char *token);

void log_line(enum log_level level, const char *token, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_error(...)   log_line(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(token, ...)                                                                      \
	do {                                                                                       \
		if (log_debug_on(token))                                                           \
			log_line(LOG_LEVEL_DEBUG, token, __VA_ARGS__);                             \
	} while (0)
