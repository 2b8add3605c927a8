/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/buf.h"

#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t limit)
{
	*b = (struct buf){.limit = limit};
}

void buf_release(struct buf *b)
{
	free(b->base);
	buf_init(b, b->limit);
}

char *buf_reserve(struct buf *b, size_t len)
{
	size_t front = (size_t)(b->data - b->base), need, capacity;
	char *bigger;

	if (len > b->limit - b->len)
		return NULL;
	need = b->len + len;
	if (b->base && need <= b->capacity) {
		if (front + need > b->capacity) {
			memmove(b->base, b->data, b->len);
			b->data = b->base;
		}
		return b->data + b->len;
	}
	capacity = MAX(b->capacity, 256);
	while (capacity < need)
		capacity *= 2;
	bigger = malloc(capacity);
	if (!bigger)
		return NULL;
	if (b->data)
		memcpy(bigger, b->data, b->len);
	free(b->base);
	b->base = b->data = bigger;
	b->capacity = capacity;
	return b->data + b->len;
}

void buf_commit(struct buf *b, size_t len)
{
	assert((size_t)(b->data - b->base) + b->len + len <= b->capacity);
	b->len += len;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	char *room = buf_reserve(b, len);

	if (!room)
		return -1;
	if (len)
		memcpy(room, data, len);
	buf_commit(b, len);
	return 0;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->len -= len;
	b->data = b->len ? b->data + len : b->base;
}
