/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host trees for unit tests: made by tests/trees/make_tree.py, recorded by ./dev record (the
 * archives in tests/trees), or written file by file, in a folder that goes with the program's
 * (tests/unit/unit.h).
 */
#pragma once

#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/unit.h"

static char tree_root[PATH_MAX];

/* For tests that make many. */
static inline void tree_remove(void)
{
	char command[PATH_MAX + 16];

	snprintf(command, sizeof(command), "rm -rf '%s'", tree_root);
	if (system(command) != 0)
		perror(command);
}

/* An empty folder, as the root of a tree. */
static inline const char *tree_new(void)
{
	unit_path(tree_root, sizeof(tree_root), "tree");
	ck_assert_ptr_nonnull(mkdtemp(tree_root));
	return tree_root;
}

/* A tree made by a line of shell, for which $top is the source tree and $root the new one. */
static inline const char *tree_run(const char *command)
{
	const char *top = getenv("IOVD_SRC");
	char words[3 * PATH_MAX];

	tree_new();
	snprintf(words, sizeof(words), "top='%s'; root='%s'; %s", top ? top : ".", tree_root,
		command);
	ck_assert_int_eq(system(words), 0);
	return tree_root;
}

/* A scene of make_tree.py. */
static inline const char *tree_make(const char *scene)
{
	char command[256];

	snprintf(command, sizeof(command), "python3 \"$top/tests/trees/make_tree.py\" %s \"$root\"",
		scene);
	return tree_run(command);
}

/* A recorded tree. */
static inline const char *tree_unpack(const char *name)
{
	char command[256];

	snprintf(command, sizeof(command), "tar -C \"$root\" -xJf \"$top/tests/trees/%s.tar.xz\"",
		name);
	return tree_run(command);
}

/* Writes a file below the root; its folder must exist. */
static inline void tree_write(const char *path, const void *data, size_t len)
{
	char full[2 * PATH_MAX];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", tree_root, path);
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static inline void tree_text(const char *path, const char *text)
{
	tree_write(path, text, strlen(text));
}
