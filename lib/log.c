/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *log_ident = "iovd";
static char log_tokens[128];
static bool log_to_journal;

void log_open(const char *ident)
{
	const char *tokens = getenv("IOVD_DEBUG");

	log_ident = ident;
	log_to_journal = getenv("JOURNAL_STREAM") != NULL;
	if (tokens)
		log_set_debug(tokens);
}

void log_set_debug(const char *tokens)
{
	str_copy(log_tokens, sizeof(log_tokens), tokens);
}

bool log_debug_on(const char *token)
{
	size_t len = strlen(token);

	if (!log_tokens[0])
		return false;
	if (strcmp(log_tokens, "all") == 0)
		return true;
	for (const char *p = log_tokens; (p = strstr(p, token)); p += len) {
		bool starts = p == log_tokens || p[-1] == ',';

		if (starts && (p[len] == ',' || p[len] == '\0'))
			return true;
	}
	return false;
}

void log_line(enum log_level level, const char *token, const char *fmt, ...)
{
	char line[1024], prefix[8] = "";
	int saved = errno, n;
	va_list ap;

	if (log_to_journal)
		snprintf(prefix, sizeof(prefix), "<%d>", (int)level);
	n = snprintf(line, sizeof(line) - 1, "%s%s[%d]: %s%s%s", prefix, log_ident, (int)getpid(),
		level == LOG_LEVEL_WARNING ? "warning: "
		: level == LOG_LEVEL_ERROR ? "error: "
					   : "",
		token ? token : "", token ? ": " : "");
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - 1 - (size_t)n, fmt, ap);
	va_end(ap);
	for (char *p = line; *p; p++) /* a peer's words must not forge a second line */
		if ((unsigned char)*p < ' ' && *p != '\t')
			*p = ' ';
	n = (int)strlen(line);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		errno = saved; /* there is nowhere left to complain to */
	errno = saved;
}
