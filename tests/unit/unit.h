/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every unit test program shares: one libcheck case per START_TEST, each in a process of its
 * own, and a main() that runs them all.
 *
 *	START_TEST(empty_buffer_holds_nothing)
 *	{
 *		ck_assert_uint_eq(b.len, 0);
 *	}
 *	END_TEST
 *
 *	UNIT_MAIN(empty_buffer_holds_nothing, ...)
 *
 * CK_RUN_CASE=<name of the test> in the environment runs one alone, CK_FORK=no under a debugger.
 *
 * A test that fails, or is killed because it takes too long, cleans nothing up. So what tests make
 * is in one folder for each run of a program ($TMPDIR, in tests), and a process of its own removes
 * that folder when the program has ended, whatever ended it.
 */
#pragma once

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"

#ifndef UNIT_TIMEOUT_SECONDS
#define UNIT_TIMEOUT_SECONDS 150 /* sweeps of kills, under sanitizers on a busy machine */
#endif

/* A path for mkdtemp() or mkstemp(); short, since sockets are made there. */
static inline void unit_path(char *path, size_t size, const char *name)
{
	ck_assert_int_lt(snprintf(path, size, "%s/%s-XXXXXX", getenv("TMPDIR"), name), (int)size);
}

/* Waits for its parent's end, or word. */
static inline void unit_clean(const char *dir, pid_t parent, const sigset_t *word)
{
	int signum;

	setsid(); /* what is sent to the program's group is not for us */
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
	if (getppid() == parent)
		sigwait(word, &signum);
	execlp("rm", "rm", "-rf", dir, (char *)NULL);
	_exit(EXIT_FAILURE);
}

/* Makes the folder; the pid of the process that removes it. */
static inline pid_t unit_folder(void)
{
	static char dir[] = "/tmp/iovd-unit.XXXXXX";
	pid_t parent = getpid(), cleaner = -1;
	sigset_t word, before;

	sigemptyset(&word);
	sigaddset(&word, SIGUSR1);
	sigprocmask(SIG_BLOCK, &word, &before);
	if (mkdtemp(dir) && setenv("TMPDIR", dir, 1) == 0)
		cleaner = fork();
	if (cleaner == 0)
		unit_clean(dir, parent, &word);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (cleaner < 0) {
		perror(dir);
		exit(EXIT_FAILURE);
	}
	return cleaner;
}

/* Runs the tests and prints what failed; the exit status for main(). */
static inline int unit_run(const char *file, const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(file);
	SRunner *runner = srunner_create(suite);
	pid_t cleaner = unit_folder();
	int ran, failed;

	for (size_t i = 0; i < count; i++) {
		TCase *tcase = tcase_create(tests[i]->name);

		tcase_set_timeout(tcase, UNIT_TIMEOUT_SECONDS);
		tcase_add_test(tcase, tests[i]);
		suite_add_tcase(suite, tcase);
	}
	srunner_run_all(runner, CK_ENV);
	ran = srunner_ntests_run(runner);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	kill(cleaner, SIGUSR1);
	waitpid(cleaner, NULL, 0);
	return ran > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(...)                                                                             \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = {__VA_ARGS__};                                        \
                                                                                                   \
		return unit_run(__FILE__, tests, ARRAY_SIZE(tests));                               \
	}
