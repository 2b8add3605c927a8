/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/xml.h"

#include <string.h>

void xml_begin(struct xml *x, const char *text)
{
	*x = (struct xml){.at = text};
}

bool xml_failed(const struct xml *x)
{
	return x->failed;
}

static bool fail(struct xml *x)
{
	x->failed = true;
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t name_length(const char *s)
{
	return strcspn(s, " \t\r\n/>=<'\"");
}

/* Behind `end`, or NULL. */
static const char *behind(const char *at, const char *end)
{
	const char *found = strstr(at, end);

	return found ? found + strlen(end) : NULL;
}

/* One level up. False at the top. */
static bool leave(struct xml *x)
{
	char *slash = strrchr(x->path, '/');

	if (!x->depth)
		return fail(x);
	x->depth--;
	if (slash)
		*slash = '\0';
	else
		x->path[0] = '\0';
	return true;
}

static bool enter(struct xml *x, const char *name, size_t len)
{
	size_t used = strlen(x->path);

	if (!len || x->depth == XML_MAX_DEPTH || used + 1 + len >= sizeof(x->path))
		return fail(x);
	if (x->depth++)
		x->path[used++] = '/';
	memcpy(x->path + used, name, len);
	x->path[used + len] = '\0';
	return true;
}

/* </name>: it must be the one that is open. */
static bool close_element(struct xml *x)
{
	const char *name = x->at + 2, *last = strrchr(x->path, '/');
	size_t len = name_length(name);

	last = last ? last + 1 : x->path;
	if (strlen(last) != len || memcmp(last, name, len) != 0 || !leave(x))
		return fail(x);
	name += len;
	while (is_blank(*name))
		name++;
	if (*name != '>')
		return fail(x);
	x->at = name + 1;
	return true;
}

/* Behind the '>' of the tag at `at`, past quoted values. NULL: it has none. */
static const char *tag_end(const char *at)
{
	for (char quote = 0; *at; at++) {
		if (quote)
			quote = *at == quote ? 0 : quote;
		else if (*at == '\'' || *at == '"')
			quote = *at;
		else if (*at == '>')
			return at + 1;
	}
	return NULL;
}

static bool open_element(struct xml *x)
{
	const char *name = x->at + 1, *end = tag_end(name);
	size_t len = name_length(name);

	if (!end || !enter(x, name, len))
		return fail(x);
	x->element = x->at;
	x->attributes = name + len;
	x->at = end;
	x->is_empty = end[-2] == '/';
	x->closes = x->is_empty;
	return true;
}

/* What is neither the begin nor the end of an element. NULL: it has no end. */
static const char *skip_other(const char *at)
{
	if (strncmp(at, "<!--", 4) == 0)
		return behind(at + 4, "-->");
	if (strncmp(at, "<![CDATA[", 9) == 0)
		return behind(at, "]]>");
	return behind(at, ">");
}

bool xml_next(struct xml *x)
{
	if (x->failed)
		return false;
	if (x->closes && !leave(x))
		return false;
	x->closes = false;
	while ((x->at = x->at ? strchr(x->at, '<') : NULL)) {
		if (x->at[1] == '/') {
			if (!close_element(x))
				return false;
		} else if (x->at[1] == '!' || x->at[1] == '?') {
			x->at = skip_other(x->at);
		} else {
			return open_element(x);
		}
	}
	return x->depth ? fail(x) : false;
}

bool xml_is(const struct xml *x, const char *path)
{
	return strcmp(x->path, path) == 0;
}

static const struct {
	const char *text;
	char c;
} entities[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&apos;", '\''}, {"&quot;", '"'}};

/* The character at *s, and past it. */
static char next_char(const char **s)
{
	for (size_t i = 0; **s == '&' && i < ARRAY_SIZE(entities); i++) {
		size_t len = strlen(entities[i].text);

		if (strncmp(*s, entities[i].text, len) == 0) {
			*s += len;
			return entities[i].c;
		}
	}
	return *(*s)++;
}

/* The value between begin and end. */
static bool take_value(const char *begin, const char *end, char *value, size_t size)
{
	size_t len = 0;

	while (begin < end && len + 1 < size)
		value[len++] = next_char(&begin);
	value[begin < end ? 0 : len] = '\0';
	return begin >= end;
}

bool xml_attribute(const struct xml *x, const char *name, char *value, size_t size)
{
	size_t wanted = strlen(name);

	value[0] = '\0';
	for (const char *s = x->attributes; s < x->at;) {
		const char *key, *end;
		size_t len;

		while (is_blank(*s))
			s++;
		key = s;
		len = name_length(s);
		s += len;
		if (!len || s[0] != '=' || (s[1] != '\'' && s[1] != '"'))
			return false;
		end = strchr(s + 2, s[1]);
		if (!end)
			return false;
		if (len == wanted && memcmp(key, name, len) == 0)
			return take_value(s + 2, end, value, size);
		s = end + 1;
	}
	return false;
}

const char *xml_content(const struct xml *x)
{
	return x->at;
}

const char *xml_end(const struct xml *x)
{
	struct xml inner = *x;
	unsigned int depth = x->depth;

	if (x->is_empty)
		return x->at;
	while (inner.at && (inner.at = strchr(inner.at, '<'))) {
		if (inner.at[1] == '!' || inner.at[1] == '?') {
			inner.at = skip_other(inner.at);
		} else if (inner.at[1] == '/') {
			if (!close_element(&inner))
				return NULL;
			if (inner.depth < depth)
				return inner.at;
		} else {
			if (!open_element(&inner) || (inner.closes && !leave(&inner)))
				return NULL;
		}
	}
	return NULL;
}

bool xml_escape(char *out, size_t size, const char *text)
{
	size_t len = 0;

	for (; *text; text++) {
		const char *word = NULL;
		size_t more;

		for (size_t i = 0; i < ARRAY_SIZE(entities); i++)
			if (entities[i].c == *text)
				word = entities[i].text;
		more = word ? strlen(word) : 1;
		if (len + more >= size)
			return false;
		memcpy(out + len, word ? word : text, more);
		len += more;
	}
	out[len] = '\0';
	return true;
}
