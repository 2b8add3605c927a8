/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/file_look.h"

#include <stdlib.h>

#include "daemon/hands.h"

#define LOOK_MS 10000

struct waiting {
	file_look_fn *done;
	void *arg;
};

int file_look_work(char **words, void *result, int *fd, struct err *e)
{
	struct inventory_look *look = result;

	(void)fd, (void)e;
	look->error = -file_look(words[0], look->real, &look->facts);
	return 0;
}

static void looked(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct waiting w = *(struct waiting *)arg;

	(void)len, (void)fd;
	free(arg);
	w.done(w.arg, e ? NULL : result, e);
}

int file_look_begin(
	struct hands *hands, const char *path, file_look_fn *done, void *arg, struct err *e)
{
	const char *const words[HAND_WORDS] = {FILE_LOOK_WORK, path};
	struct waiting *w = malloc(sizeof(*w));

	if (!w)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to look at %s", path);
	*w = (struct waiting){.done = done, .arg = arg};
	if (hands_do(hands, path, words, LOOK_MS, looked, w, e) == 0)
		return 0;
	free(w);
	return -1;
}
