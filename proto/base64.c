/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proto/base64.h"

#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t len)
{
	const uint8_t *in = data;
	char *text = malloc((len + 2) / 3 * 4 + 1), *out = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		uint32_t left = (uint32_t)MIN(len - i, 3u), word = (uint32_t)in[i] << 16;

		if (left > 1)
			word |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			word |= in[i + 2];
		*out++ = digits[word >> 18];
		*out++ = digits[word >> 12 & 63];
		*out++ = left > 1 ? digits[word >> 6 & 63] : '=';
		*out++ = left > 2 ? digits[word & 63] : '=';
	}
	*out = '\0';
	return text;
}

/* The value of a digit, or -1. */
static int value_of(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Four characters to one, two or three bytes: how many, or -1. The unused bits must be zero. */
static int decode_four(const char *four, bool last, uint8_t bytes[3])
{
	int pad = !last ? 0 : four[2] == '=' ? 2 : four[3] == '=' ? 1 : 0;
	uint32_t word = 0;

	for (int i = 0; i < 4; i++) {
		int value = i >= 4 - pad ? (four[i] == '=' ? 0 : -1) : value_of(four[i]);

		if (value < 0)
			return -1;
		word = word << 6 | (uint32_t)value;
	}
	if (pad && word & ((1u << 8 * pad) - 1))
		return -1;
	bytes[0] = (uint8_t)(word >> 16);
	bytes[1] = (uint8_t)(word >> 8);
	bytes[2] = (uint8_t)word;
	return 3 - pad;
}

int base64_decode(const char *text, struct buf *out)
{
	size_t len = strlen(text), done = 0;
	uint8_t *to;

	if (len % 4)
		return -1;
	to = (uint8_t *)buf_reserve(out, len / 4 * 3);
	if (!to)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		int count = decode_four(text + i, i + 4 == len, to + done);

		if (count < 0)
			return -1;
		done += (size_t)count;
	}
	buf_commit(out, done);
	return 0;
}
