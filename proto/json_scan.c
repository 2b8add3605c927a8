/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * json-c, like most parsers, is lenient in ways that matter at a trust boundary: the second of two
 * equal keys wins, lone surrogates are patched, a NUL may hide in a string. So whatever comes from
 * outside passes this scanner first. It walks the text once by the grammar of RFC 8259, allocates
 * nothing, and recurses no deeper than JSON_MAX_DEPTH. What it accepts, json-c understands in the
 * same way (the fuzz harness holds them together).
 *
 * It also cuts a message into its envelope's members without building values, so that the method's
 * name is known, and the caller's right to it decided, before the parameters cost anything; and so
 * that a client can print megabytes of reply without parsing them.
 *
 * Equal keys in inner objects cannot be seen without remembering keys. The scanner counts members
 * instead, and json_parse() compares the count with what json-c kept.
 */
#include "proto/json_scan.h"

#include <ctype.h>
#include <string.h>

#include "proto/utf8.h"

struct scan {
	const char *start, *at, *end;
	unsigned int depth;
	size_t members;
	struct err *e;
};

/* Where json_split() wants the members of the outermost object. */
struct split {
	const char *const *keys;
	struct json_span *values;
	unsigned int count;
};

static int scan_value(struct scan *s);

static int scan_fail(struct scan *s, const char *what)
{
	return err_set(s->e, ERR_USAGE, JSON_CODE, "not JSON as iovd takes it: %s at byte %zu",
		what, (size_t)(s->at - s->start));
}

static void scan_blanks(struct scan *s)
{
	while (s->at < s->end &&
		(*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
		s->at++;
}

/* The next byte that is not blank, not taken; NUL at the end of the text. */
static char scan_peek(struct scan *s)
{
	scan_blanks(s);
	return s->at < s->end ? *s->at : '\0';
}

static bool scan_take(struct scan *s, char c)
{
	if (scan_peek(s) != c || s->at == s->end)
		return false;
	s->at++;
	return true;
}

/* Four hex digits after "\u". */
static int scan_hex4(struct scan *s, unsigned int *value)
{
	*value = 0;
	if (s->end - s->at < 4)
		return scan_fail(s, "an escape is cut short");
	for (int i = 0; i < 4; i++, s->at++) {
		unsigned char c = (unsigned char)*s->at;

		if (!isxdigit(c))
			return scan_fail(s, "an escape has no four hex digits");
		*value = *value * 16 + (unsigned int)(isdigit(c) ? c - '0' : (c | 32) - 'a' + 10);
	}
	return 0;
}

static int scan_unicode_escape(struct scan *s)
{
	unsigned int high, low;

	if (scan_hex4(s, &high) < 0)
		return -1;
	if (high == 0)
		return scan_fail(s, "a NUL in a string");
	if (high >= 0xdc00 && high <= 0xdfff)
		return scan_fail(s, "half a surrogate pair");
	if (high < 0xd800 || high > 0xdbff)
		return 0;
	if (s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
		return scan_fail(s, "half a surrogate pair");
	s->at += 2;
	if (scan_hex4(s, &low) < 0)
		return -1;
	if (low < 0xdc00 || low > 0xdfff)
		return scan_fail(s, "half a surrogate pair");
	return 0;
}

static int scan_escape(struct scan *s)
{
	char c;

	if (s->at == s->end)
		return scan_fail(s, "an escape is cut short");
	c = *s->at++;
	if (c == 'u')
		return scan_unicode_escape(s);
	if (c == '\0' || !strchr("\"\\/bfnrt", c))
		return scan_fail(s, "an unknown escape");
	return 0;
}

/* After the opening quote, up to and with the closing one. */
static int scan_string(struct scan *s)
{
	while (s->at < s->end) {
		unsigned char c = (unsigned char)*s->at;

		if (c < ' ')
			return scan_fail(s, "a control character in a string");
		if (c >= 0x80) {
			size_t step = utf8_step(s->at, (size_t)(s->end - s->at));

			if (!step)
				return scan_fail(s, "bytes that are not UTF-8");
			s->at += step;
			continue;
		}
		s->at++;
		if (c == '"')
			return 0;
		if (c == '\\' && scan_escape(s) < 0)
			return -1;
	}
	return scan_fail(s, "a string without an end");
}

static size_t scan_digits(struct scan *s)
{
	const char *first = s->at;

	while (s->at < s->end && isdigit((unsigned char)*s->at))
		s->at++;
	return (size_t)(s->at - first);
}

/* Whether the integer s[first..at) fits in 64 bits: int64_t, or uint64_t when it is positive. */
static bool scan_integer_fits(const char *first, size_t len)
{
	bool negative = first[0] == '-';
	const char *limit = negative ? "9223372036854775808" : "18446744073709551615";

	first += negative;
	len -= negative;
	if (len != strlen(limit))
		return len < strlen(limit);
	return memcmp(first, limit, len) <= 0;
}

static int scan_number(struct scan *s)
{
	const char *first = s->at;
	bool zero, integer = true;
	size_t digits;

	if (*s->at == '-')
		s->at++;
	zero = s->at < s->end && *s->at == '0';
	digits = scan_digits(s);
	if (!digits || (zero && digits > 1))
		return scan_fail(s, "a number that is none");
	if (s->at < s->end && *s->at == '.') {
		integer = false;
		s->at++;
		if (!scan_digits(s))
			return scan_fail(s, "a number that is none");
	}
	if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
		integer = false;
		s->at++;
		if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
			s->at++;
		if (!scan_digits(s))
			return scan_fail(s, "a number that is none");
	}
	if (integer && !scan_integer_fits(first, (size_t)(s->at - first)))
		return scan_fail(s, "an integer of more than 64 bits");
	return 0;
}

static int scan_word(struct scan *s, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
		return scan_fail(s, "an unknown word");
	s->at += len;
	return 0;
}

/* Remembers a member's value for json_split(). */
static int split_member(
	struct scan *s, struct split *split, struct json_span key, struct json_span value)
{
	for (unsigned int i = 0; i < split->count; i++) {
		if (strlen(split->keys[i]) != key.len ||
			memcmp(split->keys[i], key.text, key.len) != 0)
			continue;
		if (split->values[i].text)
			return scan_fail(s, "a member given twice");
		split->values[i] = value;
		return 0;
	}
	return scan_fail(s, "a member that does not belong here");
}

static int scan_member(struct scan *s, struct split *split)
{
	struct json_span key, value;

	if (!scan_take(s, '"'))
		return scan_fail(s, "no name of a member");
	key.text = s->at;
	if (scan_string(s) < 0)
		return -1;
	key.len = (size_t)(s->at - key.text) - 1;
	if (!scan_take(s, ':'))
		return scan_fail(s, "no colon");
	scan_blanks(s);
	value.text = s->at;
	if (scan_value(s) < 0)
		return -1;
	value.len = (size_t)(s->at - value.text);
	s->members++;
	return split ? split_member(s, split, key, value) : 0;
}

/* After the opening brace. */
static int scan_object(struct scan *s, struct split *split)
{
	if (scan_take(s, '}'))
		return 0;
	do {
		if (scan_member(s, split) < 0)
			return -1;
	} while (scan_take(s, ','));
	return scan_take(s, '}') ? 0 : scan_fail(s, "an object without an end");
}

static int scan_array(struct scan *s)
{
	if (scan_take(s, ']'))
		return 0;
	do {
		if (scan_value(s) < 0)
			return -1;
	} while (scan_take(s, ','));
	return scan_take(s, ']') ? 0 : scan_fail(s, "an array without an end");
}

static int scan_container(struct scan *s)
{
	int rc;

	if (s->depth == JSON_MAX_DEPTH)
		return scan_fail(s, "too many levels");
	s->depth++;
	rc = *s->at++ == '{' ? scan_object(s, NULL) : scan_array(s);
	s->depth--;
	return rc;
}

static int scan_value(struct scan *s)
{
	switch (scan_peek(s)) {
	case '{':
	case '[':
		return scan_container(s);
	case '"':
		s->at++;
		return scan_string(s);
	case 't':
		return scan_word(s, "true");
	case 'f':
		return scan_word(s, "false");
	case 'n':
		return scan_word(s, "null");
	case '-':
	case '0' ... '9':
		return scan_number(s);
	default:
		return scan_fail(s, "no value");
	}
}

static int scan_end(struct scan *s)
{
	scan_blanks(s);
	return s->at == s->end ? 0 : scan_fail(s, "something after the value");
}

int json_scan(const char *text, size_t len, size_t *members, struct err *e)
{
	struct scan s = {.start = text, .at = text, .end = text + len, .e = e};

	if (scan_value(&s) < 0 || scan_end(&s) < 0)
		return -1;
	*members = s.members;
	return 0;
}

int json_check(const char *text, size_t len, struct err *e)
{
	size_t members;

	return json_scan(text, len, &members, e);
}

int json_split(const char *text, size_t len, const char *const *keys, struct json_span *values,
	unsigned int count, struct err *e)
{
	struct scan s = {.start = text, .at = text, .end = text + len, .depth = 1, .e = e};
	struct split split = {keys, values, count};

	memset(values, 0, count * sizeof(*values));
	if (!scan_take(&s, '{'))
		return scan_fail(&s, "no object");
	if (scan_object(&s, &split) < 0)
		return -1;
	return scan_end(&s);
}
