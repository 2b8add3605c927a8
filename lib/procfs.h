/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec for the tables of /proc that say who uses what. Pure: text in, one row at a time out.
 *
 * Each NAME_next() takes a row from the front of *cursor (which it moves, writing terminators into
 * the text) and fills *row, whose strings point into the text. Rows that make no sense are passed
 * over. False at the end.
 */
#pragma once

#include "lib/util.h"

struct mountinfo_row {
	unsigned int major, minor;
	const char *root; /* what of the file system is mounted */
	const char *mount_point;
	const char *fstype;
	const char *source; /* "/dev/sda1", or anything else */
};

bool mountinfo_next(char **cursor, struct mountinfo_row *row);

struct swaps_row {
	const char *path; /* of a device or a file */
	bool is_file;
};

bool swaps_next(char **cursor, struct swaps_row *row);

/* The default routes among /proc/net/route and /proc/net/ipv6_route: the interface each is by. */
struct route_row {
	const char *interface;
	bool is_default;
};

bool route_next(char **cursor, struct route_row *row);
bool ipv6_route_next(char **cursor, struct route_row *row);
