/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/buf: a queue that never holds more than its limit. */
#include <string.h>

#include "lib/buf.h"
#include "tests/unit/unit.h"

START_TEST(limit_is_exact)
{
	struct buf b;
	char data[11];

	memset(data, 'x', sizeof(data));
	buf_init(&b, 10);
	ck_assert_int_eq(buf_append(&b, data, 10), 0);
	ck_assert_int_eq(buf_append(&b, data, 1), -1);
	ck_assert_uint_eq(b.len, 10);
	buf_release(&b);

	ck_assert_int_eq(buf_append(&b, data, 11), -1);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_int_eq(buf_append(&b, data, 10), 0);
	buf_release(&b);
}
END_TEST

START_TEST(bytes_come_out_in_order)
{
	unsigned char next_in = 0, next_out = 0;
	struct buf b;

	/* Odd sizes, so that the held part wanders through the allocation and is moved back. */
	buf_init(&b, 64);
	for (int round = 0; round < 1000; round++) {
		unsigned char chunk[37];

		for (size_t i = 0; i < sizeof(chunk); i++)
			chunk[i] = next_in++;
		ck_assert_int_eq(buf_append(&b, chunk, sizeof(chunk)), 0);
		while (b.len > 5) {
			ck_assert_uint_eq((unsigned char)b.data[0], next_out++);
			buf_consume(&b, 1);
		}
	}
	buf_release(&b);
}
END_TEST

START_TEST(reserved_room_is_held_only_once_committed)
{
	struct buf b;
	char *room;

	buf_init(&b, 100);
	room = buf_reserve(&b, 100);
	ck_assert_ptr_nonnull(room);
	memcpy(room, "abc", 3);
	ck_assert_uint_eq(b.len, 0);
	buf_commit(&b, 3);
	ck_assert_uint_eq(b.len, 3);
	ck_assert_mem_eq(b.data, "abc", 3);
	ck_assert_ptr_null(buf_reserve(&b, 98));
	ck_assert_ptr_nonnull(buf_reserve(&b, 97));
	buf_release(&b);
}
END_TEST

START_TEST(nothing_fits_everywhere)
{
	struct buf b;

	/* Before the first allocation, and in a buffer that may hold nothing at all. */
	buf_init(&b, 0);
	ck_assert_int_eq(buf_append(&b, "", 0), 0);
	ck_assert_int_eq(buf_append(&b, "x", 1), -1);
	buf_consume(&b, 0);
	ck_assert_uint_eq(b.len, 0);
	buf_release(&b);
}
END_TEST

UNIT_MAIN(nothing_fits_everywhere, limit_is_exact, bytes_come_out_in_order,
	reserved_room_is_held_only_once_committed)
