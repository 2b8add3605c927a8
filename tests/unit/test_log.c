/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/log: one line per call whatever the words are, and debug only when asked for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "tests/unit/unit.h"

/* What `words` logged at a level looks like on standard error. */
static const char *logged(enum log_level level, const char *words)
{
	static char line[4096];
	int saved = dup(STDERR_FILENO), pipe_fds[2];
	ssize_t len;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	ck_assert_int_ge(dup2(pipe_fds[1], STDERR_FILENO), 0);
	close(pipe_fds[1]);
	errno = ENOTTY;
	log_line(level, NULL, "%s", words);
	ck_assert_int_eq(errno, ENOTTY);
	dup2(saved, STDERR_FILENO);
	close(saved);
	len = read(pipe_fds[0], line, sizeof(line) - 1);
	close(pipe_fds[0]);
	ck_assert_int_gt(len, 0);
	line[len] = '\0';
	return line;
}

START_TEST(one_call_is_one_line)
{
	char expected[64], words[3000];
	const char *line;

	unsetenv("JOURNAL_STREAM");
	log_open("test");
	snprintf(expected, sizeof(expected), "test[%d]: hello\n", (int)getpid());
	ck_assert_str_eq(logged(LOG_LEVEL_INFO, "hello"), expected);
	snprintf(expected, sizeof(expected), "test[%d]: error: a b\n", (int)getpid());
	ck_assert_str_eq(logged(LOG_LEVEL_ERROR, "a\nb"), expected);
	memset(words, 'w', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	line = logged(LOG_LEVEL_WARNING, words);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	ck_assert_uint_lt(strlen(line), sizeof(words));
}
END_TEST

START_TEST(the_journal_is_told_the_level)
{
	setenv("JOURNAL_STREAM", "8:1234", 1);
	log_open("test");
	ck_assert_int_eq(strncmp(logged(LOG_LEVEL_WARNING, "x"), "<4>test[", 8), 0);
}
END_TEST

START_TEST(debug_tokens_match_whole)
{
	log_set_debug("");
	ck_assert(!log_debug_on("vu"));
	log_set_debug("ctl,vu");
	ck_assert(log_debug_on("vu"));
	ck_assert(log_debug_on("ctl"));
	ck_assert(!log_debug_on("v"));
	ck_assert(!log_debug_on("u"));
	ck_assert(!log_debug_on("tl"));
	ck_assert(!log_debug_on("vault"));
	log_set_debug("vault,xvu,vu");
	ck_assert(log_debug_on("vu"));
	log_set_debug("all");
	ck_assert(log_debug_on("anything"));
}
END_TEST

UNIT_MAIN(one_call_is_one_line, the_journal_is_told_the_level, debug_tokens_match_whole)
