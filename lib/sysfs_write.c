/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one place that writes below /sys; in a file of its own, so that a test can be the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/sysfs.h"

int sysfs_write_text(const struct sysfs_dir *d, const char *attr, const char *text)
{
	auto_close int at = sysfs_open_path(d, attr);
	auto_close int fd = -1;
	size_t len = strlen(text);
	char path[32];
	ssize_t n;

	if (at < 0)
		return at;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}
