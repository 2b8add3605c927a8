/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/openers.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/fdio.h"

#define LOOKS_MAX 50000 /* descriptors that are looked at: tens of milliseconds */

struct search {
	const char *path;
	pid_t ours;
	struct opener *found;
	size_t count, max;
	unsigned int looks;
};

bool openers_fdinfo_writes(const char *text)
{
	const char *flags = strstr(text, "flags:");

	return flags && (strtoul(flags + 6, NULL, 8) & O_ACCMODE) != O_RDONLY;
}

static bool is_number(const char *name)
{
	return name[0] && name[strspn(name, "0123456789")] == '\0';
}

/* The parent of a process, from "pid (comm) state ppid ..."; comm may have anything in it. */
static pid_t parent_of(int process)
{
	char text[512];
	const char *end;
	int parent;

	if (fdio_read_file(process, "stat", text, sizeof(text)) < 0)
		return -1;
	end = strrchr(text, ')');
	return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : -1;
}

static void look_at_fd(struct search *s, int process, pid_t pid, const char *fd)
{
	char name[64], target[PATH_MAX], info[1024];
	ssize_t len;

	snprintf(name, sizeof(name), "fd/%.16s", fd);
	len = readlinkat(process, name, target, sizeof(target) - 1);
	if (len < 0)
		return;
	target[len] = '\0';
	if (strcmp(target, s->path) != 0)
		return;
	snprintf(name, sizeof(name), "fdinfo/%.16s", fd);
	if (fdio_read_file(process, name, info, sizeof(info)) < 0 || !openers_fdinfo_writes(info))
		return;
	s->found[s->count].pid = pid;
	s->found[s->count].fd = atoi(fd);
	if (fdio_read_file(
		    process, "comm", s->found[s->count].comm, sizeof(s->found[s->count].comm)) < 0)
		strcpy(s->found[s->count].comm, "?");
	s->count++;
}

static void look_at_process(struct search *s, int proc, const char *name)
{
	auto_close int process = openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int fds = -1;
	auto_closedir DIR *dir = NULL;
	const struct dirent *entry;
	pid_t pid = atoi(name);
	size_t before = s->count;

	if (process < 0 || pid == getpid())
		return;
	if (s->ours && (pid == s->ours || parent_of(process) == s->ours))
		return;
	fds = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fds < 0 ? NULL : fdopendir(fds);
	if (!dir)
		return;
	fds = -1; /* the DIR's now */
	while (s->count == before && s->looks < LOOKS_MAX && (entry = readdir(dir))) {
		if (!is_number(entry->d_name))
			continue;
		s->looks++;
		look_at_fd(s, process, pid, entry->d_name);
	}
}

size_t openers_find(const char *path, pid_t ours, struct opener *found, size_t max)
{
	struct search s = {.path = path, .ours = ours, .found = found, .max = max};
	auto_closedir DIR *dir = opendir("/proc");
	const struct dirent *entry;

	while (dir && s.count < s.max && s.looks < LOOKS_MAX && (entry = readdir(dir)))
		if (is_number(entry->d_name))
			look_at_process(&s, dirfd(dir), entry->d_name);
	return s.count;
}
