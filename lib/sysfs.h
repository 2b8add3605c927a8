/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading what the kernel says under /sys, /proc and /dev: on the live host, or on a recorded tree
 * of the same shape (--sysroot). A path never leads out of the root, whatever links the tree
 * holds; only regular files are read, never more of one than asked for. No state beyond one
 * descriptor, thread safe. Writing, which may block for as long as a driver likes, is for hands.
 *
 * Results are 0, a length or -errno: a missing attribute is the ordinary case here, and the
 * callers know what it means. Paths are without a leading slash: "sys/class/net".
 */
#pragma once

#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/err.h"

#define SYSFS_PATH_MAX 512
#define SYSFS_TEXT_MAX 512 /* enough for every attribute that is one line */

struct sysroot;

/* Opens `dir` ("/" for the live host). */
int sysroot_open(const char *dir, struct sysroot **out, struct err *e);
void sysroot_close(struct sysroot *root);
bool sysroot_is_live(const struct sysroot *root);

/* The root's own path, "" for the live host's: what stands in front of "/sys". Of the root. */
const char *sysroot_path(const struct sysroot *root);

/* A directory below a root, by its name: whether it exists is found out by reading from it. */
struct sysfs_dir {
	const struct sysroot *root;
	char path[SYSFS_PATH_MAX];
};

/* False if the name is too long (then the directory is one that does not exist). */
bool sysfs_dir_init(struct sysfs_dir *d, const struct sysroot *root, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/*
 * `attr` may have slashes ("device/serial") and go through links. read_raw: at most `size` bytes,
 * -EFBIG if there are more. read_text: one line as printable text, blanks at both ends removed.
 */
ssize_t sysfs_read_raw(const struct sysfs_dir *d, const char *attr, void *data, size_t size);
int sysfs_read_text(const struct sysfs_dir *d, const char *attr, char *text, size_t size);
int sysfs_read_u64(const struct sysfs_dir *d, const char *attr, uint64_t *value);

/* Where the link `attr` points to: all of it, or the last component only. */
int sysfs_read_link(const struct sysfs_dir *d, const char *attr, char *target, size_t size);
int sysfs_read_link_name(const struct sysfs_dir *d, const char *attr, char *name, size_t size);

bool sysfs_exists(const struct sysfs_dir *d, const char *attr);

/*
 * Writes `text` in one piece into an attribute that exists: 0 or -errno, the driver's own word
 * (lib/sysfs_write.c). It changes the host, and blocks for as long as a driver likes: for hands.
 */
int sysfs_write_text(const struct sysfs_dir *d, const char *attr, const char *text);

/* An O_PATH descriptor of the regular file that `attr` is, or -errno. */
int sysfs_open_path(const struct sysfs_dir *d, const char *attr);

/*
 * A number that the thing behind `attr` has as long as it exists, and that the next one of the same
 * name does not have (the kernel's /sys counts it up).
 */
int sysfs_read_inode(const struct sysfs_dir *d, const char *attr, uint64_t *inode);

/* The path, from the root, that d is once all links are followed: "sys/devices/...". */
int sysfs_real_path(const struct sysfs_dir *d, char *path, size_t size);

/* What is at a path: its device number if it is a block device node, else 0 with *is_block false.
 */
int sysroot_stat_block(const struct sysroot *root, const char *path, bool *is_block, dev_t *dev);

/* The names in a directory, sorted (41 before 100), without "." and ".."; bounded. */
struct name_list {
	char **names;
	size_t count;
};

int sysfs_list(const struct sysfs_dir *d, struct name_list *list);
void name_list_release(struct name_list *list);
#define auto_names __attribute__((cleanup(name_list_release)))

/*
 * A descriptor to read what goes on and on, without waiting: whatever it is on the live host; in a
 * recorded tree a file, or a FIFO that the caller has made. Or -errno.
 */
int sysroot_open_stream(const struct sysroot *root, const char *path);

/* A whole file of at most `limit` bytes, terminated, to be freed by the caller. */
int sysroot_read_file(const struct sysroot *root, const char *path, size_t limit, char **text);

/* Makes text fit to be shown on one line: control characters become '?'. In place. */
void text_clean(char *text);
