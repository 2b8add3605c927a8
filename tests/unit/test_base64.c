/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proto/base64: the examples of RFC 4648, and what is none. */
#include <string.h>

#include "lib/cleanup.h"
#include "proto/base64.h"
#include "tests/unit/unit.h"

static int decode(const char *text, char bytes[64])
{
	struct buf b;
	int rc;

	buf_init(&b, 60);
	rc = base64_decode(text, &b);
	if (rc < 0)
		ck_assert_uint_eq(b.len, 0);
	else
		rc = (int)b.len;
	if (b.len)
		memcpy(bytes, b.data, b.len);
	buf_release(&b);
	return rc;
}

START_TEST(examples_of_the_rfc)
{
	static const char *const rows[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
		{"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *text = base64_encode(rows[i][0], strlen(rows[i][0]));
		char bytes[64];

		ck_assert_str_eq(text, rows[i][1]);
		ck_assert_int_eq(decode(text, bytes), (int)strlen(rows[i][0]));
		ck_assert_mem_eq(bytes, rows[i][0], strlen(rows[i][0]));
	}
}
END_TEST

START_TEST(all_bytes_come_back)
{
	uint8_t all[256];
	auto_free char *text = NULL;
	struct buf b;

	for (unsigned int i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	text = base64_encode(all, sizeof(all));
	buf_init(&b, 1024);
	ck_assert_int_eq(base64_decode(text, &b), 0);
	ck_assert_uint_eq(b.len, sizeof(all));
	ck_assert_mem_eq(b.data, all, sizeof(all));
	buf_release(&b);
}
END_TEST

START_TEST(other_text_is_refused)
{
	static const char *const rows[] = {"Z", "Zg", "Zg=", "Zg=x",
		"Z===", "====", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm9_", "Zh==", "Zm9=", "Zm\xc3\xb6"};
	char bytes[64];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ck_assert_msg(decode(rows[i], bytes) == -1, "'%s'", rows[i]);
}
END_TEST

START_TEST(the_limit_holds)
{
	char text[85] = "", bytes[64];

	memset(text, 'A', 80);
	ck_assert_int_eq(decode(text, bytes), 60);
	memset(text, 'A', 84);
	ck_assert_int_eq(decode(text, bytes), -1);
}
END_TEST

UNIT_MAIN(examples_of_the_rfc, all_bytes_come_back, other_text_is_refused, the_limit_holds)
