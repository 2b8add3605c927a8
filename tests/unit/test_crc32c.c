/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/crc32c against the examples of RFC 3720 (iSCSI), B.4. */
#include <string.h>

#include "lib/crc32c.h"
#include "tests/unit/unit.h"

START_TEST(examples_of_the_rfc)
{
	uint8_t up[32], zeroes[32] = {0}, ones[32];

	memset(ones, 0xff, sizeof(ones));
	for (unsigned int i = 0; i < sizeof(up); i++)
		up[i] = (uint8_t)i;
	ck_assert_uint_eq(crc32c(0, zeroes, sizeof(zeroes)), 0x8a9136aa);
	ck_assert_uint_eq(crc32c(0, ones, sizeof(ones)), 0x62a8ab43);
	ck_assert_uint_eq(crc32c(0, up, sizeof(up)), 0x46dd794e);
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
}
END_TEST

START_TEST(pieces_are_as_the_whole)
{
	for (size_t cut = 0; cut <= 9; cut++)
		ck_assert_uint_eq(crc32c(crc32c(0, "123456789", cut), "123456789" + cut, 9 - cut),
			0xe3069283);
}
END_TEST

UNIT_MAIN(examples_of_the_rfc, pieces_are_as_the_whole)
