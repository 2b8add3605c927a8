/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/err: sentences that grow leftwards, and never out of their room. */
#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "tests/unit/unit.h"

START_TEST(each_layer_adds_in_front)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(err_sys(&e, ENOSPC, "map %d pages", 3), -1);
	ck_assert_int_eq(err_wrap(&e, "attach %s", "0000:3b:00.2"), -1);
	ck_assert_str_eq(e.msg, "attach 0000:3b:00.2: map 3 pages: No space left on device");
	ck_assert_str_eq(e.code, "SYS");
	ck_assert_int_eq(e.kind, ERR_FAILED);
	ck_assert_int_eq(e.sys, ENOSPC);
}
END_TEST

START_TEST(setting_forgets_the_error_before)
{
	struct err e = ERR_INIT;

	err_sys(&e, EIO, "read");
	err_evidence(&e, "seen");
	err_fix(&e, "do");
	ck_assert_str_eq(e.evidence, "seen");
	ck_assert_str_eq(e.fix, "do");
	err_set(&e, ERR_REFUSED, "HOST-USE", "take %s", "sda");
	ck_assert_str_eq(e.msg, "take sda");
	ck_assert_str_eq(e.code, "HOST-USE");
	ck_assert_int_eq(e.kind, ERR_REFUSED);
	ck_assert_int_eq(e.sys, 0);
	ck_assert_str_eq(e.evidence, "");
	ck_assert_str_eq(e.fix, "");
}
END_TEST

START_TEST(overlong_words_are_cut)
{
	struct err e = ERR_INIT;
	char words[2000];

	memset(words, 'w', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	err_set(&e, ERR_FAILED, words, "%s", words);
	err_wrap(&e, "outer %s", words);
	err_evidence(&e, "%s", words);
	err_fix(&e, "%s", words);
	ck_assert_uint_eq(strlen(e.msg), sizeof(e.msg) - 1);
	ck_assert_int_eq(strncmp(e.msg, "outer w", 7), 0);
	ck_assert_uint_eq(strlen(e.code), sizeof(e.code) - 1);
	ck_assert_uint_eq(strlen(e.evidence), sizeof(e.evidence) - 1);
	ck_assert_uint_eq(strlen(e.fix), sizeof(e.fix) - 1);
}
END_TEST

START_TEST(nobody_needs_the_words)
{
	ck_assert_int_eq(err_set(NULL, ERR_FAILED, "X", "x"), -1);
	ck_assert_int_eq(err_sys(NULL, EIO, "x"), -1);
	ck_assert_int_eq(err_wrap(NULL, "x"), -1);
	ck_assert_int_eq(err_evidence(NULL, "x"), -1);
	ck_assert_int_eq(err_fix(NULL, "x"), -1);
}
END_TEST

START_TEST(names_lead_back_to_their_kind)
{
	for (int kind = ERR_FAILED; kind < ERR_KIND_COUNT; kind++) {
		const struct err_kind_info *info = err_kind_info((enum err_kind)kind);

		ck_assert_int_ne(info->exit_status, 0);
		ck_assert_int_eq(err_kind_by_varlink_name(info->varlink_name), kind);
	}
	/* What a peer calls its error never makes it a success. */
	ck_assert_int_eq(err_kind_by_varlink_name("NoSuchName"), ERR_FAILED);
	ck_assert_int_eq(err_kind_by_varlink_name("None"), ERR_FAILED);
	ck_assert_int_eq(err_kind_by_varlink_name(""), ERR_FAILED);
}
END_TEST

UNIT_MAIN(each_layer_adds_in_front, setting_forgets_the_error_before, overlong_words_are_cut,
	nobody_needs_the_words, names_lead_back_to_their_kind)
