/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host trees for unit tests: made by tests/trees/make_tree.py, or file by file, in a temporary
 * folder that is gone when the test's process ends.
 */
#pragma once

#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char tree_root[PATH_MAX];

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
	const char *base = getenv("TMPDIR");

	snprintf(tree_root, sizeof(tree_root), "%s/iovd-tree.XXXXXX", base ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(tree_root));
	atexit(tree_remove);
	return tree_root;
}

/* A scene of make_tree.py. */
static inline const char *tree_make(const char *scene)
{
	const char *top = getenv("IOVD_SRC");
	char command[2 * PATH_MAX];

	tree_new();
	snprintf(command, sizeof(command), "python3 '%s/tests/trees/make_tree.py' %s '%s'",
		top ? top : ".", scene, tree_root);
	ck_assert_int_eq(system(command), 0);
	return tree_root;
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
