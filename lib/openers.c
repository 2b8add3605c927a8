/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Most of what is looked at is nobody's business here: whose a process is, a file of /proc that the
 * kernel takes long to write, is asked only of one that has the file open.
 */
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
	const char *const *paths;
	size_t path_count;
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

static bool is_ours(const struct search *s, int process, pid_t pid)
{
	return s->ours && (pid == s->ours || parent_of(process) == s->ours);
}

/* Which of the paths a descriptor leads to; path_count: none of them. */
static size_t which_path(const struct search *s, int fds, const char *fd)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(fds, fd, target, sizeof(target) - 1);
	size_t i = 0;

	target[MAX(len, 0)] = '\0';
	while (i < s->path_count && strcmp(target, s->paths[i]) != 0)
		i++;
	return i;
}

/* A descriptor that leads there: whether it writes, and is not one of ours. */
static void add_opener(struct search *s, int process, pid_t pid, const char *fd, size_t path)
{
	struct opener *o = &s->found[s->count];
	char name[64], info[1024];

	snprintf(name, sizeof(name), "fdinfo/%.16s", fd);
	if (fdio_read_file(process, name, info, sizeof(info)) < 0 || !openers_fdinfo_writes(info) ||
		is_ours(s, process, pid))
		return;
	*o = (struct opener){.pid = pid, .fd = atoi(fd), .path = path};
	if (fdio_read_file(process, "comm", o->comm, sizeof(o->comm)) < 0)
		strcpy(o->comm, "?");
	s->count++;
}

static void look_at_process(struct search *s, int proc, const char *name)
{
	auto_close int process = -1, fds = -1;
	auto_closedir DIR *dir = NULL;
	const struct dirent *entry;
	pid_t pid = atoi(name);
	size_t before = s->count;
	char path[32];

	snprintf(path, sizeof(path), "%.16s/fd", name);
	if (pid != getpid())
		fds = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fds < 0 ? NULL : fdopendir(fds);
	if (!dir)
		return;
	fds = -1; /* the DIR's now */
	while (s->count == before && s->looks < LOOKS_MAX && (entry = readdir(dir))) {
		size_t found;

		if (!is_number(entry->d_name))
			continue;
		s->looks++;
		found = which_path(s, dirfd(dir), entry->d_name);
		if (found == s->path_count)
			continue;
		if (process < 0)
			process = openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		add_opener(s, process, pid, entry->d_name, found);
	}
}

size_t openers_find_any(
	const char *const *paths, size_t path_count, pid_t ours, struct opener *found, size_t max)
{
	struct search s = {
		.paths = paths, .path_count = path_count, .ours = ours, .found = found, .max = max};
	auto_closedir DIR *dir = opendir("/proc");
	const struct dirent *entry;

	while (dir && s.count < s.max && s.looks < LOOKS_MAX && (entry = readdir(dir)))
		if (is_number(entry->d_name))
			look_at_process(&s, dirfd(dir), entry->d_name);
	return s.count;
}

size_t openers_find(const char *path, pid_t ours, struct opener *found, size_t max)
{
	return openers_find_any(&path, 1, ours, found, max);
}
