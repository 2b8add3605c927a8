/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Every name is opened by openat2() from the descriptor of the root with
 * RESOLVE_IN_ROOT: absolute links and ".." then mean the root we were given, so that a recorded
 * tree (which may come from anybody) cannot make us read the machine we run on. /proc's magic
 * links are not followed either. In a recorded tree a name is first opened with O_PATH, which has
 * no effect on a device or a FIFO, and read only if it is a regular file; the kernel's own /sys and
 * /proc hold nothing else.
 */
#include "lib/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIST_MAX_NAMES 262144 /* more than the kernel's own limits on devices of a kind */

struct sysroot {
	int fd;
	bool live;
	char *real; /* the root's own path, for sysfs_real_path() */
};

static int in_root_open(const struct sysroot *root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	do {
		fd = syscall(SYS_openat2, root->fd, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

/* The path behind an O_PATH descriptor, as this process sees it. */
static int fd_path(int fd, char *path, size_t size)
{
	char link[32];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, size);
	if (len < 0)
		return -errno;
	if ((size_t)len >= size)
		return -ENAMETOOLONG;
	path[len] = '\0';
	return 0;
}

int sysroot_open(const char *dir, struct sysroot **out, struct err *e)
{
	auto_close int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct sysroot *root;
	char real[PATH_MAX];
	struct stat here, top;
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "open the system root %s", dir);
	rc = fd_path(fd, real, sizeof(real));
	if (rc < 0)
		return err_sys(e, -rc, "find the path of the system root %s", dir);
	if (fstat(fd, &here) < 0 || stat("/", &top) < 0)
		return err_sys(e, errno, "look at the system root %s", dir);
	root = calloc(1, sizeof(*root));
	if (!root || !(root->real = strdup(strcmp(real, "/") == 0 ? "" : real))) {
		free(root);
		return err_sys(e, ENOMEM, "open the system root %s", dir);
	}
	root->live = here.st_dev == top.st_dev && here.st_ino == top.st_ino;
	root->fd = steal_fd(&fd);
	*out = root;
	return 0;
}

void sysroot_close(struct sysroot *root)
{
	if (!root)
		return;
	close(root->fd);
	free(root->real);
	free(root);
}

bool sysroot_is_live(const struct sysroot *root)
{
	return root->live;
}

const char *sysroot_path(const struct sysroot *root)
{
	return root->real;
}

bool sysfs_dir_init(struct sysfs_dir *d, const struct sysroot *root, const char *fmt, ...)
{
	va_list ap;
	int len;

	d->root = root;
	va_start(ap, fmt);
	len = vsnprintf(d->path, sizeof(d->path), fmt, ap);
	va_end(ap);
	if (len > 0 && (size_t)len < sizeof(d->path))
		return true;
	d->path[0] = '\0'; /* openat2("") is ENOENT */
	return false;
}

static int attr_path(const struct sysfs_dir *d, const char *attr, char *path, size_t size)
{
	int len = snprintf(path, size, "%s/%s", d->path, attr);

	if (!d->path[0])
		return -ENOENT;
	return len > 0 && (size_t)len < size ? 0 : -ENAMETOOLONG;
}

static int check_regular(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

/* Opens a regular file for reading. */
static int file_open(const struct sysroot *root, const char *path)
{
	int how = root->live ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH;
	auto_close int at = in_root_open(root, path, how);
	char again[32];
	int fd, rc;

	if (at < 0)
		return at;
	rc = check_regular(at);
	if (rc < 0)
		return rc;
	if (root->live)
		return steal_fd(&at);
	snprintf(again, sizeof(again), "/proc/self/fd/%d", at);
	fd = open(again, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int sysroot_open_stream(const struct sysroot *root, const char *path)
{
	auto_close int at = in_root_open(root, path, root->live ? O_RDONLY | O_NONBLOCK : O_PATH);
	struct stat st;
	char again[32];
	int fd;

	if (at < 0 || root->live)
		return steal_fd(&at);
	if (fstat(at, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", at);
	/* A FIFO that we can write, too, has no end when its last writer goes. */
	fd = open(again, (S_ISFIFO(st.st_mode) ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * Reads an attribute, at most `size` bytes: the length, or -EFBIG. The kernel gives all of one in
 * one read (and so does a file of a tree): less than was asked for is all there is.
 */
static ssize_t read_attr(int fd, char *data, size_t size)
{
	char extra;
	ssize_t n;

	do {
		n = read(fd, data, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n == size && read(fd, &extra, 1) > 0)
		return -EFBIG;
	return n;
}

ssize_t sysfs_read_raw(const struct sysfs_dir *d, const char *attr, void *data, size_t size)
{
	char path[2 * SYSFS_PATH_MAX];
	int rc = attr_path(d, attr, path, sizeof(path));
	auto_close int fd = rc < 0 ? rc : file_open(d->root, path);

	return fd < 0 ? fd : read_attr(fd, data, size);
}

static void text_strip(char *text)
{
	size_t len = strlen(text);
	size_t lead = strspn(text, " \t\n");

	while (len > lead && strchr(" \t\n", text[len - 1]))
		len--;
	memmove(text, text + lead, len - lead);
	text[len - lead] = '\0';
}

int sysfs_read_text(const struct sysfs_dir *d, const char *attr, char *text, size_t size)
{
	ssize_t len = sysfs_read_raw(d, attr, text, size - 1);

	if (len < 0) {
		text[0] = '\0';
		return (int)len;
	}
	text[len] = '\0';
	text_strip(text);
	text_clean(text);
	return 0;
}

int sysfs_read_u64(const struct sysfs_dir *d, const char *attr, uint64_t *value)
{
	char text[64];
	int rc = sysfs_read_text(d, attr, text, sizeof(text));

	if (rc < 0)
		return rc;
	return parse_u64(text, UINT64_MAX, value) < 0 ? -EINVAL : 0;
}

int sysfs_read_link(const struct sysfs_dir *d, const char *attr, char *target, size_t size)
{
	char path[2 * SYSFS_PATH_MAX];
	int rc = attr_path(d, attr, path, sizeof(path));
	auto_close int fd = rc < 0 ? rc : in_root_open(d->root, path, O_PATH | O_NOFOLLOW);
	ssize_t len;

	target[0] = '\0';
	if (fd < 0)
		return fd;
	len = readlinkat(fd, "", target, size);
	if (len < 0) {
		target[0] = '\0';
		return errno == ENOENT ? -EINVAL : -errno; /* ENOENT here: not a link */
	}
	if ((size_t)len >= size) {
		target[0] = '\0';
		return -ENAMETOOLONG;
	}
	target[len] = '\0';
	return 0;
}

int sysfs_read_link_name(const struct sysfs_dir *d, const char *attr, char *name, size_t size)
{
	char target[SYSFS_PATH_MAX];
	int rc = sysfs_read_link(d, attr, target, sizeof(target));
	const char *slash = strrchr(target, '/');

	name[0] = '\0';
	if (rc < 0)
		return rc;
	if (!str_copy(name, size, slash ? slash + 1 : target)) {
		name[0] = '\0';
		return -ENAMETOOLONG;
	}
	text_clean(name);
	return 0;
}

bool sysfs_exists(const struct sysfs_dir *d, const char *attr)
{
	char path[2 * SYSFS_PATH_MAX];
	int rc = attr_path(d, attr, path, sizeof(path));
	auto_close int fd = rc < 0 ? rc : in_root_open(d->root, path, O_PATH);

	return fd >= 0;
}

int sysfs_read_inode(const struct sysfs_dir *d, const char *attr, uint64_t *inode)
{
	char path[2 * SYSFS_PATH_MAX];
	int rc = attr_path(d, attr, path, sizeof(path));
	auto_close int fd = rc < 0 ? rc : in_root_open(d->root, path, O_PATH);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*inode = st.st_ino;
	return 0;
}

/* A tree may hold a FIFO. */
int sysfs_open_path(const struct sysfs_dir *d, const char *attr)
{
	char path[2 * SYSFS_PATH_MAX];
	int rc = attr_path(d, attr, path, sizeof(path));
	auto_close int fd = rc < 0 ? rc : in_root_open(d->root, path, O_PATH);

	if (fd < 0)
		return fd;
	rc = check_regular(fd);
	return rc < 0 ? rc : steal_fd(&fd);
}

int sysfs_real_path(const struct sysfs_dir *d, char *path, size_t size)
{
	auto_close int fd = in_root_open(d->root, d->path, O_PATH);
	size_t skip = strlen(d->root->real);
	char real[PATH_MAX];
	int rc;

	if (fd < 0)
		return fd;
	rc = fd_path(fd, real, sizeof(real));
	if (rc < 0)
		return rc;
	if (strncmp(real, d->root->real, skip) != 0 || real[skip] != '/')
		return -EXDEV; /* the root was moved while we read it */
	return str_copy(path, size, real + skip + 1) ? 0 : -ENAMETOOLONG;
}

int sysroot_stat_block(const struct sysroot *root, const char *path, bool *is_block, dev_t *dev)
{
	auto_close int fd = in_root_open(root, path, O_PATH);
	struct stat st;

	*is_block = false;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*is_block = S_ISBLK(st.st_mode);
	*dev = *is_block ? st.st_rdev : 0;
	return 0;
}

static int name_order(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

static int name_list_add(struct name_list *list, size_t *room, const char *name)
{
	if (list->count == LIST_MAX_NAMES)
		return -E2BIG;
	if (list->count == *room) {
		size_t more = *room ? *room * 2 : 16;
		char **names = reallocarray(list->names, more, sizeof(*names));

		if (!names)
			return -ENOMEM;
		list->names = names;
		*room = more;
	}
	list->names[list->count] = strdup(name);
	if (!list->names[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

int sysfs_list(const struct sysfs_dir *d, struct name_list *list)
{
	auto_close int fd = in_root_open(d->root, d->path, O_RDONLY | O_DIRECTORY);
	auto_closedir DIR *dir = NULL;
	const struct dirent *entry;
	size_t room = 0;
	int rc = 0;

	*list = (struct name_list){0};
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	fd = -1; /* the DIR's now */
	while (rc == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = name_list_add(list, &room, entry->d_name);
	if (rc < 0)
		name_list_release(list);
	else if (list->count)
		qsort(list->names, list->count, sizeof(*list->names), name_order);
	return rc;
}

void name_list_release(struct name_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->names[i]);
	free(list->names);
	*list = (struct name_list){0};
}

int sysroot_read_file(const struct sysroot *root, const char *path, size_t limit, char **text)
{
	auto_close int fd = file_open(root, path);
	auto_free char *data = NULL;
	size_t room = 4096, len = 0;

	while (fd >= 0) {
		char *more = realloc(data, room + 1);
		ssize_t n;

		if (!more)
			return -ENOMEM;
		data = more;
		n = read(fd, data + len, room - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0) {
			data[len] = '\0';
			*text = steal_ptr(&data);
			return 0;
		}
		len += n > 0 ? (size_t)n : 0;
		if (len > limit)
			return -EFBIG;
		if (len == room)
			room *= 2;
	}
	return fd;
}

void text_clean(char *text)
{
	for (unsigned char *s = (unsigned char *)text; *s; s++)
		if (*s < 0x20 || *s == 0x7f)
			*s = '?';
}
