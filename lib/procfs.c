/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Every table is lines of fields that are separated by blanks; blanks, tabs,
 * newlines and backslashes inside a field are three octal digits behind a backslash.
 *
 *	mountinfo   36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/sda1 rw,errors=continue
 *	            (any number of optional fields before the "-")
 *	swaps       Filename Type Size Used Priority                        (after a line of titles)
 *	route       Iface Destination Gateway Flags RefCnt Use Metric Mask  (after a line of titles)
 *	ipv6_route  destination length source length gateway metric refcount use flags interface
 */
#include "lib/procfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS 64

#define RTF_UP     0x0001
#define RTF_REJECT 0x0200

/* The line at the front of *cursor, terminated; NULL at the end. */
static char *take_line(char **cursor)
{
	char *line = *cursor;
	char *end;

	if (!*line)
		return NULL;
	end = strchr(line, '\n');
	if (end) {
		*end = '\0';
		*cursor = end + 1;
	} else {
		*cursor = line + strlen(line);
	}
	return line;
}

/* Cuts a line at its blanks; more than MAX_FIELDS are not looked at. */
static unsigned int split(char *line, char *fields[MAX_FIELDS])
{
	unsigned int count = 0;
	char *rest;

	for (char *f = strtok_r(line, " \t", &rest); f && count < MAX_FIELDS;
		f = strtok_r(NULL, " \t", &rest))
		fields[count++] = f;
	return count;
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

static const char *unescape(char *field)
{
	const char *from = field;
	char *to = field;

	while (*from) {
		int code = 0;

		if (from[0] == '\\' && is_octal(from[1]) && is_octal(from[2]) && is_octal(from[3]))
			code = (from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0');
		if (code > 0 && code < 256) {
			*to++ = (char)code;
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
	return field;
}

static bool parse_mountinfo(char *line, struct mountinfo_row *row)
{
	char *f[MAX_FIELDS];
	unsigned int count = split(line, f);
	unsigned int dash = 6;
	char extra;

	while (dash < count && strcmp(f[dash], "-") != 0)
		dash++;
	if (dash + 2 >= count || sscanf(f[2], "%u:%u%c", &row->major, &row->minor, &extra) != 2)
		return false;
	row->root = unescape(f[3]);
	row->mount_point = unescape(f[4]);
	row->fstype = f[dash + 1];
	row->source = unescape(f[dash + 2]);
	return true;
}

bool mountinfo_next(char **cursor, struct mountinfo_row *row)
{
	char *line;

	while ((line = take_line(cursor)))
		if (parse_mountinfo(line, row))
			return true;
	return false;
}

bool swaps_next(char **cursor, struct swaps_row *row)
{
	char *line;

	while ((line = take_line(cursor))) {
		char *f[MAX_FIELDS];

		if (split(line, f) < 5 || f[0][0] != '/')
			continue;
		row->path = unescape(f[0]);
		row->is_file = strcmp(f[1], "file") == 0;
		return true;
	}
	return false;
}

static bool parse_hex(const char *text, uint64_t *value)
{
	char *end;

	if (!*text || strspn(text, "0123456789abcdefABCDEF") > 16)
		return false;
	*value = strtoull(text, &end, 16);
	return *end == '\0';
}

static bool is_usable(uint64_t flags)
{
	return (flags & RTF_UP) && !(flags & RTF_REJECT);
}

bool route_next(char **cursor, struct route_row *row)
{
	uint64_t destination, flags, mask;
	char *line;

	while ((line = take_line(cursor))) {
		char *f[MAX_FIELDS];

		if (split(line, f) < 8 || !parse_hex(f[1], &destination) ||
			!parse_hex(f[3], &flags) || !parse_hex(f[7], &mask))
			continue;
		row->interface = f[0];
		row->is_default = destination == 0 && mask == 0 && is_usable(flags);
		return true;
	}
	return false;
}

bool ipv6_route_next(char **cursor, struct route_row *row)
{
	uint64_t length, flags;
	char *line;

	while ((line = take_line(cursor))) {
		char *f[MAX_FIELDS];

		if (split(line, f) < 10 || !parse_hex(f[1], &length) || !parse_hex(f[8], &flags))
			continue;
		row->interface = f[9];
		row->is_default = length == 0 && strspn(f[0], "0") == strlen(f[0]) &&
				  is_usable(flags) && strcmp(f[9], "lo") != 0;
		return true;
	}
	return false;
}
