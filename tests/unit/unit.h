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
 */
#pragma once

#include <check.h>
#include <stdlib.h>

#include "lib/util.h"

#define UNIT_TIMEOUT_SECONDS 30 /* sanitizers on a busy machine */

/* Runs the tests and prints what failed; the exit status for main(). */
static inline int unit_run(const char *file, const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(file);
	SRunner *runner = srunner_create(suite);
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
	return ran > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(...)                                                                             \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = {__VA_ARGS__};                                        \
                                                                                                   \
		return unit_run(__FILE__, tests, ARRAY_SIZE(tests));                               \
	}
