/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hands as /proc shows them, to a daemon that did not start them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/hands.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/sysfs.h"

#define CMDLINE_MAX (3 * PATH_MAX)
#define FRAMES_MAX  5 /* of a kernel stack: further out, all are alike */

/* The word after this one of a command line; NULL at its end. */
static const char *next_word(const char *text, size_t len, const char *word)
{
	const char *next = word + strlen(word) + 1;

	return next < text + len ? next : NULL;
}

/* The words from `word` on, with blanks between them. */
static void join_words(const char *text, size_t len, const char *word, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (; word && used < size; word = next_word(text, len, word))
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "", word);
	text_clean(out);
}

/* A process of ours by the name of hands; its command line (NULs between words), or -1. */
static ssize_t read_hand(int process, char *text, size_t size)
{
	char comm[32];
	struct stat st;

	if (fdio_read_file(process, "comm", comm, sizeof(comm)) < 0 || strcmp(comm, HAND_NAME) != 0)
		return -1;
	if (fstat(process, &st) < 0 || st.st_uid != geteuid())
		return -1; /* anybody can call himself so */
	return fdio_read_file(process, "cmdline", text, size);
}

static void see_process(int proc, const char *name, const char *home, hand_seen_fn *fn, void *arg)
{
	auto_close int process = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[CMDLINE_MAX], work[sizeof(((struct hand_wedge *)0)->work)];
	const char *word;
	ssize_t len;

	if (process < 0)
		return;
	len = read_hand(process, text, sizeof(text));
	if (len <= 0)
		return;
	word = next_word(text, (size_t)len, text);
	if (!word || strcmp(word, home) != 0)
		return;
	word = next_word(text, (size_t)len, word);
	if (!word)
		return;
	join_words(text, (size_t)len, next_word(text, (size_t)len, word), work, sizeof(work));
	fn(arg, (pid_t)strtol(name, NULL, 10), word, work);
}

int hands_each_process(const char *home, hand_seen_fn *fn, void *arg, struct err *e)
{
	auto_closedir DIR *proc = opendir("/proc");
	const struct dirent *entry;

	if (!proc)
		return err_sys(e, errno, "list the processes in /proc");
	while ((entry = readdir(proc)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			see_process(dirfd(proc), entry->d_name, home, fn, arg);
	return 0;
}

/* --- what one is at --------------------------------------------------------------------------- */

/* "[<0>] vfio_unregister_group_dev+0x1a/0x2b [vfio]" for each frame, innermost first. */
static void put_frames(char *stack, char *out, size_t size)
{
	size_t used = 0, frames = 0;
	char *lines = NULL;

	for (char *line = strtok_r(stack, "\n", &lines); line;
		line = strtok_r(NULL, "\n", &lines)) {
		char *name = strchr(line, ']');

		if (!name || used >= size || frames++ == FRAMES_MAX)
			break;
		name += strspn(name, "] ");
		name[strcspn(name, "+ ")] = '\0';
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " < " : "", name);
	}
}

void hand_look(pid_t pid, struct hand_wedge *wedge)
{
	char path[64], text[4096];
	ssize_t len;

	*wedge = (struct hand_wedge){.pid = pid};
	snprintf(path, sizeof(path), "/proc/%d/stack", (int)pid);
	len = fdio_read_file(AT_FDCWD, path, text, sizeof(text));
	if (len > 0)
		put_frames(text, wedge->waits_in, sizeof(wedge->waits_in));
	if (wedge->waits_in[0])
		return;
	/* a kernel that shows no stacks */
	snprintf(path, sizeof(path), "/proc/%d/wchan", (int)pid);
	if (fdio_read_file(AT_FDCWD, path, wedge->waits_in, sizeof(wedge->waits_in)) < 0 ||
		strcmp(wedge->waits_in, "0") == 0)
		wedge->waits_in[0] = '\0';
}
