/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel does not list: image files, and NBD volumes.
 *
 * Image files. A path may lead through a file system whose server is gone, and then whoever looks
 * there waits for ever. So looking is for hands; in between, the kernel is asked for what it has in
 * its caches only: the path by RESOLVE_CACHED, the attributes by AT_STATX_DONT_SYNC. A file that
 * somebody has open is always there, unless its server wants to be asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/device_read.h"
#include "lib/nbd_uri.h"

int file_look(const char *path, char real[static PATH_MAX], struct file_facts *facts)
{
	struct stat st;

	if (!realpath(path, real) || stat(real, &st) < 0)
		return -errno;
	*facts = (struct file_facts){.fs = st.st_dev,
		.inode = st.st_ino,
		.number = S_ISBLK(st.st_mode) ? st.st_rdev : 0,
		.size_bytes = (uint64_t)st.st_size,
		.is_regular = S_ISREG(st.st_mode),
		.is_block = S_ISBLK(st.st_mode)};
	return 0;
}

int file_look_now(const char *path, struct file_facts *facts)
{
	const struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED};
	auto_close int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	struct statx st;

	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &st) < 0)
		return -errno;
	*facts = (struct file_facts){.fs = makedev(st.stx_dev_major, st.stx_dev_minor),
		.inode = st.stx_ino,
		.number = S_ISBLK(st.stx_mode) ? makedev(st.stx_rdev_major, st.stx_rdev_minor) : 0,
		.size_bytes = st.stx_size,
		.is_regular = S_ISREG(st.stx_mode),
		.is_block = S_ISBLK(st.stx_mode)};
	return 0;
}

struct device *device_of_file(const char *path, const struct file_facts *facts, struct err *e)
{
	struct fingerprint f;
	struct device *d;
	char text[64];

	if (!facts->is_regular) {
		err_set(e, ERR_USAGE, "DEV-NAME", "%s is neither a device nor an image file", path);
		return NULL;
	}
	d = device_new(DEVICE_FILE, path, NULL);
	if (!d) {
		err_sys(e, ENOMEM, "read the facts of %s", path);
		return NULL;
	}
	d->file = (struct device_file){
		.fs = facts->fs, .inode = facts->inode, .size_bytes = facts->size_bytes};
	snprintf(text, sizeof(text), "%llx:%llx", (unsigned long long)facts->fs,
		(unsigned long long)facts->inode);
	fingerprint_init(&f, "file");
	fingerprint_add(&f, text);
	fingerprint_text(&f, d->fingerprint);
	return d;
}

/*
 * Who it is: server and export. Nothing that a server says of itself tells one volume from another, and
 * the size alone would make strangers of the same size equal.
 */
struct device *device_of_nbd(const char *name, uint64_t size_bytes, struct err *e)
{
	char text[NBD_URI_MAX];
	struct nbd_uri uri;
	struct fingerprint f;
	struct device *d;

	if (nbd_uri_parse(name, &uri, e) < 0)
		return NULL;
	nbd_uri_format(&uri, text);
	d = device_new(DEVICE_NBD, text, NULL);
	if (!d) {
		err_sys(e, ENOMEM, "read the facts of %.200s", text);
		return NULL;
	}
	d->nbd.size_bytes = size_bytes;
	fingerprint_init(&f, "nbd");
	fingerprint_add(&f, text);
	fingerprint_text(&f, d->fingerprint);
	return d;
}

bool device_is_file(const struct device *d, const char *path)
{
	struct file_facts facts = {0};

	if (d->class != DEVICE_FILE)
		return false;
	if (file_look_now(path, &facts) < 0)
		return strcmp(d->id, path) == 0;
	return facts.fs == d->file.fs && facts.inode == d->file.inode;
}
