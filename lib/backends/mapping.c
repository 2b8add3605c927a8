/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/backends/mapping.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The unit in which this file can be mapped, or 0 with `e` set. */
static size_t file_page_size(int fd, struct err *e)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0) {
		err_sys(e, errno, "cannot tell the file system of the descriptor");
		return 0;
	}
	return fs.f_type == HUGETLBFS_MAGIC ? (size_t)fs.f_bsize : (size_t)sysconf(_SC_PAGESIZE);
}

static int check_bounds(int fd, uint64_t offset, uint64_t size, struct err *e)
{
	struct stat st;
	uint64_t end;

	if (!size)
		return err_set(e, ERR_FAILED, "MAP-SIZE", "size is 0");
	if (!u64_add(offset, size, &end))
		return err_set(e, ERR_FAILED, "MAP-SIZE",
			"offset 0x%" PRIx64 " + size 0x%" PRIx64 " overflows", offset, size);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot tell the size of the descriptor");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_FAILED, "MAP-FILE", "descriptor is not memory or a file");
	if (end > (uint64_t)st.st_size)
		return err_set(e, ERR_FAILED, "MAP-SIZE",
			"offset 0x%" PRIx64 " + size 0x%" PRIx64 " is beyond the file's 0x%" PRIx64,
			offset, size, (uint64_t)st.st_size);
	return 0;
}

int mapping_open(struct mapping *m, int fd, uint64_t offset, uint64_t size, struct err *e)
{
	uint64_t skip, len;
	size_t page;
	void *base;

	memset(m, 0, sizeof(*m));
	if (check_bounds(fd, offset, size, e) < 0)
		return -1;
	page = file_page_size(fd, e);
	if (!page)
		return -1;
	/* No overflow: offset + size is within a file, whose size is below 2^63. */
	skip = offset & (page - 1);
	len = ALIGN_UP(skip + size, page);
	base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		(off_t)(offset - skip));
	if (base == MAP_FAILED)
		return err_sys(e, errno, "cannot map 0x%" PRIx64 " bytes at 0x%" PRIx64, len,
			offset - skip);
	madvise(base, len, MADV_DONTDUMP); /* a core file is no place for a guest's memory */
	*m = (struct mapping){
		.data = (uint8_t *)base + skip,
		.size = size,
		.base = base,
		.len_bytes = len,
		.page_size = page,
	};
	return 0;
}

void mapping_close(struct mapping *m)
{
	if (m->base)
		munmap(m->base, m->len_bytes);
	memset(m, 0, sizeof(*m));
}
