/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written on a volume of its lease: one way of writing each, and nothing else is read. */
#include <string.h>

#include "lib/migrate/lease.h"
#include "tests/unit/unit.h"

#define HOST "0123456789abcdef0123456789abcdef"
#define VM   "12345678-9abc-def0-1234-56789abcdef0"

static struct lease sample(void)
{
	struct lease l = {.epoch = 7, .state = LEASE_PASSED};

	str_copy(l.host, sizeof(l.host), HOST);
	str_copy(l.vm, sizeof(l.vm), VM);
	lease_set_name(&l, "host1.example.org");
	return l;
}

START_TEST(what_is_written_is_read)
{
	struct lease l = sample(), back;
	char text[LEASE_TEXT_SIZE];

	lease_to_text(&l, text);
	ck_assert_str_eq(text, "iovd-lease/1 7 passed " HOST " " VM " host1.example.org");
	ck_assert_int_eq(lease_of_text(text, strlen(text), &back, NULL), 0);
	ck_assert_uint_eq(back.epoch, 7);
	ck_assert_int_eq(back.state, LEASE_PASSED);
	ck_assert_str_eq(back.host, HOST);
	ck_assert_str_eq(back.vm, VM);
	ck_assert_str_eq(back.name, "host1.example.org");
}
END_TEST

/* The longest of all fits. */
START_TEST(there_is_room_for_each)
{
	struct lease l = sample(), back;
	char text[LEASE_TEXT_SIZE], name[200];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	l.epoch = UINT64_MAX - 1;
	lease_set_name(&l, name);
	lease_to_text(&l, text);
	ck_assert_int_eq(lease_of_text(text, strlen(text), &back, NULL), 0);
	ck_assert_uint_eq(strlen(back.name), sizeof(back.name) - 1);
	lease_set_name(&l, "");
	lease_to_text(&l, text);
	ck_assert_int_eq(lease_of_text(text, strlen(text), &back, NULL), 0);
	lease_set_name(&l, "a b\n%s");
	ck_assert_str_eq(l.name, "a-b--s");
}
END_TEST

START_TEST(nothing_else_is_read)
{
	static const char *const bad[] = {
		"",
		"iovd-lease/1",
		"iovd-lease/2 7 held " HOST " " VM " h",
		"iovd-lease/1 0 held " HOST " " VM " h",
		"iovd-lease/1 07 held " HOST " " VM " h",
		"iovd-lease/1 +7 held " HOST " " VM " h",
		"iovd-lease/1 -7 held " HOST " " VM " h",
		"iovd-lease/1 99999999999999999999 held " HOST " " VM " h",
		"iovd-lease/1 7 mine " HOST " " VM " h",
		"iovd-lease/1 7 held 0123456789ABCDEF0123456789abcdef " VM " h",
		"iovd-lease/1 7 held 0123 " VM " h",
		"iovd-lease/1 7 held " HOST "0 " VM " h",
		"iovd-lease/1 7 held " HOST " 1234 h",
		"iovd-lease/1 7 held " HOST " " VM,
		"iovd-lease/1 7 held " HOST " " VM " ",
		"iovd-lease/1 7 held " HOST " " VM " h i",
		"iovd-lease/1 7 held " HOST " " VM " h\n",
		"iovd-lease/1  7 held " HOST " " VM " h",
		"iovd-lease/1 7 held " HOST " " VM " h\x1b",
	};
	struct lease l = sample();
	char text[LEASE_TEXT_SIZE + 1];

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(lease_of_text(bad[i], strlen(bad[i]), &l, NULL) < 0, "%s", bad[i]);
	l = sample();
	lease_to_text(&l, text);
	ck_assert_int_lt(lease_of_text(text, strlen(text) + 1, &l, NULL), 0); /* a NUL within */
	memset(text, 'a', sizeof(text));
	ck_assert_int_lt(lease_of_text(text, sizeof(text), &l, NULL), 0);
	ck_assert_int_lt(lease_of_text(text, LEASE_TEXT_SIZE, &l, NULL), 0);
}
END_TEST

UNIT_MAIN(what_is_written_is_read, there_is_room_for_each, nothing_else_is_read)
