/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/migrate/iostate: what a file may hold. First byte odd: lengths and checksums of the rest are
 * made right first, so that what they guard is reached. What is accepted is written again, and must
 * come out as it was; what is refused must be so by name.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/migrate/iostate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/iostate_sample.h"

static void require(bool good)
{
	if (!good)
		abort();
}

static void check_refusal(const struct err *e)
{
	require(e->kind == ERR_REFUSED && strncmp(e->code, "STATE-", 6) == 0 && e->msg[0]);
}

/* Written, read and written: the same bytes. */
static void check_accepted(const struct iostate *s)
{
	struct err e = ERR_INIT;
	struct buf first, second;
	struct iostate *again;

	buf_init(&first, IOSTATE_MAX_BYTES);
	buf_init(&second, IOSTATE_MAX_BYTES);
	require(iostate_encode(s, &first, &e) == 0);
	again = iostate_decode(first.data, first.len, &e);
	require(again && iostate_encode(again, &second, &e) == 0);
	require(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	iostate_free(again);
	buf_release(&first);
	buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct iostate *s;
	uint8_t *copy;

	if (!size)
		return 0;
	copy = malloc(size);
	require(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if (data[0] & 1)
		iostate_mend(copy, size - 1);
	s = iostate_decode(copy, size - 1, &e);
	free(copy); /* nothing may point into it */
	if (s)
		check_accepted(s);
	else
		check_refusal(&e);
	iostate_free(s);
	return 0;
}
