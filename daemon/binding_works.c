/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/binding_works.h"

#include <string.h>

#define NOTHING "-"

const char *binding_word(const char *name)
{
	return name[0] ? name : NOTHING;
}

static void read_word(const char *word, char name[static BIND_DRIVER_MAX])
{
	str_copy(name, BIND_DRIVER_MAX, strcmp(word, NOTHING) == 0 ? "" : word);
}

int binding_work_look(char **words, void *result, int *fd, struct err *e)
{
	struct binding_look *look = result;
	struct sysroot *root;
	int rc;

	(void)fd;
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	rc = bind_look(root, words[1], &look->now, e);
	if (rc == 0)
		rc = bind_choose(root, words[1], words[2], look->driver, e);
	sysroot_close(root);
	return rc;
}

int binding_work_make(char **words, void *result, int *fd, struct err *e)
{
	struct bind_state wanted = {0};
	struct sysroot *root;
	int rc;

	(void)result, (void)fd;
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	read_word(words[3], wanted.driver);
	read_word(words[4], wanted.override);
	rc = bind_make(root, words[1], &wanted, e);
	sysroot_close(root);
	return rc;
}
