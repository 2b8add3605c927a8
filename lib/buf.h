/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A growable byte buffer with a hard limit, used as a queue: append at the end, consume at the
 * front. Never larger than `limit`, so that a peer cannot make us keep what it does not read.
 */
#pragma once

#include "lib/util.h"

struct buf {
	char *data;   /* first unconsumed byte; not terminated */
	size_t len;   /* bytes held */
	size_t limit; /* most bytes ever held */
	/* private: */
	char *base;
	size_t capacity;
};

/* An empty buffer that will hold at most `limit` bytes; allocates nothing yet. */
void buf_init(struct buf *b, size_t limit);

/* Frees what is held; the buffer may be used again (with the same limit). */
void buf_release(struct buf *b);

/* Room for `len` more bytes at the end: the place, or NULL when the limit or memory forbids. */
char *buf_reserve(struct buf *b, size_t len) MUST_CHECK;

/* The first `len` bytes of the reserved room are now held. */
void buf_commit(struct buf *b, size_t len);

/* Appends a copy. 0, or -1 when it does not fit (nothing is appended then). */
int buf_append(struct buf *b, const void *data, size_t len) MUST_CHECK;

/* Drops `len` bytes (at most what is held) from the front. */
void buf_consume(struct buf *b, size_t len);
