/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/util and lib/list: numbers, names, copies, lists. */
#include <string.h>

#include "lib/list.h"
#include "lib/util.h"
#include "tests/unit/unit.h"

START_TEST(numbers_are_whole_or_nothing)
{
	static const struct {
		const char *text;
		uint64_t max, value;
		bool good;
	} cases[] = {
		{"0", 0, 0, true},
		{"1", 0, 0, false},
		{"42", UINT64_MAX, 42, true},
		{"0x2a", 42, 42, true},
		{"0x2b", 42, 0, false},
		{"0xFFFFFFFFFFFFFFFF", UINT64_MAX, UINT64_MAX, true},
		{"18446744073709551615", UINT64_MAX, UINT64_MAX, true},
		{"18446744073709551616", UINT64_MAX, 0, false},
		{"", UINT64_MAX, 0, false},
		{"0x", UINT64_MAX, 0, false},
		{"x1", UINT64_MAX, 0, false},
		{"-1", UINT64_MAX, 0, false},
		{"+1", UINT64_MAX, 0, false},
		{" 1", UINT64_MAX, 0, false},
		{"1 ", UINT64_MAX, 0, false},
		{"1k", UINT64_MAX, 0, false},
		{"0x-1", UINT64_MAX, 0, false},
		{"010", UINT64_MAX, 10, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 7;
		int result = parse_u64(cases[i].text, cases[i].max, &value);

		ck_assert_msg(result == (cases[i].good ? 0 : -1), "'%s'", cases[i].text);
		ck_assert_uint_eq(value, cases[i].good ? cases[i].value : 7);
	}
}
END_TEST

START_TEST(names_cannot_leave_their_folder)
{
	ck_assert(name_is_valid("web1"));
	ck_assert(name_is_valid("a"));
	ck_assert(name_is_valid("A.b_c-9"));
	ck_assert(name_is_valid("0123456789abcdef0123456789abcdef"));
	ck_assert(!name_is_valid("0123456789abcdef0123456789abcdef0"));
	ck_assert(!name_is_valid(""));
	ck_assert(!name_is_valid("."));
	ck_assert(!name_is_valid(".."));
	ck_assert(!name_is_valid(".hidden"));
	ck_assert(!name_is_valid("a/b"));
	ck_assert(!name_is_valid("a b"));
	ck_assert(!name_is_valid("a\n"));
	ck_assert(!name_is_valid("\xc3\xa4"));
}
END_TEST

START_TEST(copies_say_when_they_cut)
{
	char dst[4];

	ck_assert(str_copy(dst, sizeof(dst), "abc"));
	ck_assert_str_eq(dst, "abc");
	ck_assert(!str_copy(dst, sizeof(dst), "abcd"));
	ck_assert_str_eq(dst, "abc");
	ck_assert(str_copy(dst, 1, ""));
	ck_assert_str_eq(dst, "");
	ck_assert(!str_copy(dst, 1, "a"));
	ck_assert_str_eq(dst, "");
}
END_TEST

START_TEST(sums_and_products_do_not_wrap)
{
	uint64_t n;

	ck_assert(u64_add(UINT64_MAX - 1, 1, &n));
	ck_assert_uint_eq(n, UINT64_MAX);
	ck_assert(!u64_add(UINT64_MAX, 1, &n));
	ck_assert(u64_mul(UINT64_MAX / 2, 2, &n));
	ck_assert_uint_eq(n, UINT64_MAX - 1);
	ck_assert(!u64_mul(UINT64_MAX / 2 + 1, 2, &n));
	ck_assert_uint_eq(ALIGN_UP(0, 8), 0);
	ck_assert_uint_eq(ALIGN_UP(1, 8), 8);
	ck_assert_uint_eq(ALIGN_UP(8, 8), 8);
}
END_TEST

struct item {
	int number;
	struct list_node node;
};

START_TEST(lists_keep_order_through_removal)
{
	struct item items[5];
	struct list_node head;
	int expected[] = {1, 3}, seen = 0;

	list_init(&head);
	ck_assert(list_is_empty(&head));
	for (int i = 0; i < 5; i++) {
		items[i].number = i;
		list_append(&head, &items[i].node);
	}
	list_for_each_safe (node, &head) {
		struct item *item = list_entry(node, struct item, node);

		if (item->number % 2 == 0)
			list_remove(node);
	}
	list_for_each (node, &head) {
		ck_assert_int_eq(list_entry(node, struct item, node)->number, expected[seen]);
		seen++;
	}
	ck_assert_int_eq(seen, 2);
	list_remove(&items[0].node); /* once more does no harm */
	list_remove(&items[1].node);
	list_remove(&items[3].node);
	ck_assert(list_is_empty(&head));
}
END_TEST

UNIT_MAIN(numbers_are_whole_or_nothing, names_cannot_leave_their_folder, copies_say_when_they_cut,
	sums_and_products_do_not_wrap, lists_keep_order_through_removal)
