/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/buf against a model: the input is a program of appends, reservations and consumes. Bytes are
 * numbered as they go in, so what comes out must carry on where the last one stopped.
 *
 *	byte 0		limit
 *	then pairs	operation, length
 */
#include <stdlib.h>

#include "lib/buf.h"
#include "tests/fuzz/fuzz.h"

enum op { OP_APPEND, OP_RESERVE, OP_CONSUME, OP_RELEASE, OP_COUNT };

struct model {
	struct buf b;
	uint8_t next_in; /* number of the next byte that goes in */
	uint8_t next_out;
};

static void require(bool good)
{
	if (!good)
		abort();
}

static void append(struct model *m, size_t len)
{
	bool fits = m->b.len + len <= m->b.limit;
	uint8_t bytes[256];

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(m->next_in + i);
	require((buf_append(&m->b, bytes, len) == 0) == fits);
	if (fits)
		m->next_in += len;
}

/* Fills the whole reservation, but commits only a half. */
static void reserve(struct model *m, size_t len)
{
	bool fits = m->b.len + len <= m->b.limit;
	char *room = buf_reserve(&m->b, len);

	require((room != NULL) == fits);
	if (!fits)
		return;
	for (size_t i = 0; i < len; i++)
		room[i] = (char)(m->next_in + i);
	buf_commit(&m->b, len / 2);
	m->next_in += len / 2;
}

static void consume(struct model *m, size_t len)
{
	len = MIN(len, m->b.len);
	for (size_t i = 0; i < len; i++)
		require((uint8_t)m->b.data[i] == m->next_out++);
	buf_consume(&m->b, len);
}

static void release(struct model *m)
{
	buf_release(&m->b);
	m->next_out = m->next_in;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model m = {0};

	if (size == 0)
		return 0;
	buf_init(&m.b, (size_t)data[0] * 4);
	for (size_t i = 1; i + 1 < size; i += 2) {
		switch ((enum op)(data[i] % OP_COUNT)) {
		case OP_APPEND:
			append(&m, data[i + 1]);
			break;
		case OP_RESERVE:
			reserve(&m, data[i + 1]);
			break;
		case OP_CONSUME:
			consume(&m, data[i + 1]);
			break;
		case OP_RELEASE:
			release(&m);
			break;
		case OP_COUNT:
			break;
		}
		require((uint8_t)(m.next_in - m.next_out) == (uint8_t)m.b.len);
		require(m.b.len <= m.b.limit);
	}
	buf_release(&m.b);
	return 0;
}
