/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proto/json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "proto/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void json_out_init(struct json_out *o)
{
	*o = (struct json_out){0};
	buf_init(&o->text, JSON_MAX_OUT);
}

void json_out_release(struct json_out *o)
{
	buf_release(&o->text);
	json_out_init(o);
}

static void json_out_bytes(struct json_out *o, const char *bytes, size_t len)
{
	if (!o->failed && buf_append(&o->text, bytes, len) < 0)
		o->failed = true;
}

/* The stretch of `s` that can be copied as it is: UTF-8, nothing that JSON escapes. */
static size_t json_plain_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len) {
		unsigned char c = (unsigned char)s[n];
		size_t step = 1;

		if (c < ' ' || c == '"' || c == '\\')
			break;
		if (c >= 0x80)
			step = utf8_step(s + n, len - n);
		if (!step)
			break;
		n += step;
	}
	return n;
}

static void json_out_quoted(struct json_out *o, const char *s, size_t len)
{
	json_out_bytes(o, "\"", 1);
	while (len) {
		size_t plain = json_plain_len(s, len);
		unsigned char c;

		json_out_bytes(o, s, plain);
		s += plain;
		len -= plain;
		if (!len)
			break;
		c = (unsigned char)*s++;
		len--;
		if (c == '"' || c == '\\') {
			json_out_bytes(o, (char[]){'\\', (char)c}, 2);
		} else if (c < ' ') {
			char escape[8];

			json_out_bytes(
				o, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", c));
		} else {
			json_out_bytes(o, REPLACEMENT, strlen(REPLACEMENT));
		}
	}
	json_out_bytes(o, "\"", 1);
}

/* What stands before a value: the comma, and the key inside an object. */
static void json_out_begin(struct json_out *o, const char *key)
{
	uint32_t bit = 1u << o->depth;

	assert(o->depth == 0 || (key == NULL) == !!(o->is_array & bit));
	if (o->has_member & bit)
		json_out_bytes(o, ",", 1);
	o->has_member |= bit;
	if (!key)
		return;
	json_out_quoted(o, key, strlen(key));
	json_out_bytes(o, ":", 1);
}

static void json_out_open(struct json_out *o, const char *key, bool array)
{
	json_out_begin(o, key);
	json_out_bytes(o, array ? "[" : "{", 1);
	o->depth++;
	assert(o->depth < JSON_MAX_DEPTH);
	o->has_member &= ~(1u << o->depth);
	o->is_array &= ~(1u << o->depth);
	if (array)
		o->is_array |= 1u << o->depth;
}

void json_out_object(struct json_out *o, const char *key)
{
	json_out_open(o, key, false);
}

void json_out_array(struct json_out *o, const char *key)
{
	json_out_open(o, key, true);
}

void json_out_end(struct json_out *o)
{
	assert(o->depth > 0);
	json_out_bytes(o, o->is_array & (1u << o->depth) ? "]" : "}", 1);
	o->depth--;
}

void json_out_raw(struct json_out *o, const char *key, const char *text, size_t len)
{
	json_out_begin(o, key);
	json_out_bytes(o, text, len);
}

void json_out_null(struct json_out *o, const char *key)
{
	json_out_raw(o, key, "null", 4);
}

void json_out_bool(struct json_out *o, const char *key, bool value)
{
	json_out_raw(o, key, value ? "true" : "false", value ? 4 : 5);
}

void json_out_str(struct json_out *o, const char *key, const char *value)
{
	if (!value) {
		json_out_null(o, key);
		return;
	}
	json_out_begin(o, key);
	json_out_quoted(o, value, strlen(value));
}

void json_out_fmt(struct json_out *o, const char *key, const char *fmt, ...)
{
	auto_free char *value = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (n < 0) {
		value = NULL; /* undefined after a failure */
		o->failed = true;
		return;
	}
	json_out_str(o, key, value);
}

void json_out_u64(struct json_out *o, const char *key, uint64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, value);

	json_out_raw(o, key, digits, (size_t)n);
}

void json_out_i64(struct json_out *o, const char *key, int64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRId64, value);

	json_out_raw(o, key, digits, (size_t)n);
}

void json_out_hex(struct json_out *o, const char *key, uint64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "\"0x%" PRIx64 "\"", value);

	json_out_raw(o, key, digits, (size_t)n);
}

bool json_out_failed(const struct json_out *o)
{
	return o->failed;
}

char *json_out_finish(struct json_out *o, size_t *len)
{
	char *text = NULL;

	assert(o->depth == 0 || o->failed);
	json_out_bytes(o, "", 1);
	if (!o->failed) {
		assert(o->text.data ==
			o->text.base); /* nothing was consumed: it can be given away */
		text = o->text.base;
		*len = o->text.len - 1;
		o->text.base = NULL;
	}
	json_out_release(o);
	return text;
}
