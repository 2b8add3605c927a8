/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/backends/blk_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/backends/volume.h"

#define SECTOR     512u
#define MAX_ALIGN  4096u
#define PAGE_ALIGN __attribute__((aligned(4096)))

const char blk_zeroes[BLK_ZEROES_LEN] PAGE_ALIGN;

/* Whoever asks one of these waits, were it for a file's attributes before it reads. */
static bool is_served(const struct statfs *fs)
{
	static const uint32_t types[] = {FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC, CIFS_SUPER_MAGIC,
		SMB2_SUPER_MAGIC, V9FS_MAGIC, CEPH_SUPER_MAGIC, AFS_FS_MAGIC};

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++)
		if ((uint32_t)fs->f_type == types[i])
			return true;
	return false;
}

static void probe_alignment(struct blk_disk *disk)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(disk->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
		(stx.stx_mask & STATX_DIOALIGN)) {
		disk->mem_align = stx.stx_dio_mem_align;
		disk->offset_align = stx.stx_dio_offset_align;
	}
#else
	(void)disk;
#endif
}

static int probe_block_device(struct blk_disk *disk, struct err *e)
{
	unsigned int physical;
	int logical;

	if (ioctl(disk->fd, BLKSSZGET, &logical) < 0 || ioctl(disk->fd, BLKPBSZGET, &physical) < 0)
		return err_sys(e, errno, "ask the block device for its block size");
	disk->block_size = (uint32_t)logical;
	disk->physical_block_size = physical;
	if (!disk->offset_align)
		disk->offset_align = disk->mem_align = (uint32_t)logical;
	return 0;
}

/* Only root sees the attribute: a disk is looked at before the sandbox is entered. */
static void probe_volume(struct blk_disk *disk)
{
	struct volume_facts facts;

	if (fgetxattr(disk->fd, VOLUME_FACTS, &facts, sizeof(facts)) != sizeof(facts) ||
		facts.version != VOLUME_VERSION)
		return;
	disk->is_volume = true;
	disk->mem_align = disk->offset_align = 1; /* nothing of it is mapped or cached */
	disk->block_size = facts.block_size;
	disk->physical_block_size = facts.physical_block_size;
}

int blk_disk_probe(struct blk_disk *disk, int fd, struct err *e)
{
	struct statfs fs;
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	*disk = (struct blk_disk){
		.fd = fd,
		.read_only = (flags & O_ACCMODE) == O_RDONLY,
		.direct = flags & O_DIRECT,
		.block_size = SECTOR,
		.physical_block_size = MAX_ALIGN,
	};
	if (flags < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return err_sys(e, errno, "look at the disk");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, ERR_REFUSED, "DISK-KIND",
			"the disk is neither a regular file nor a block device");
	disk->in_memory =
		S_ISREG(st.st_mode) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
	disk->is_served = S_ISREG(st.st_mode) && is_served(&fs);
	probe_alignment(disk);
	if (fs.f_type == FUSE_SUPER_MAGIC)
		probe_volume(disk);
	return S_ISBLK(st.st_mode) ? probe_block_device(disk, e) : 0;
}

uint64_t blk_disk_size(const struct blk_disk *disk)
{
	struct stat st;
	uint64_t size;

	if (fstat(disk->fd, &st) < 0)
		return 0;
	if (S_ISREG(st.st_mode))
		return (uint64_t)st.st_size;
	return ioctl(disk->fd, BLKGETSIZE64, &size) == 0 ? size : 0;
}

/*
 * The guest addresses blocks of block_size; where direct I/O wants coarser offsets than that, some
 * requests would have to go through the page cache while their neighbours go past it, and the two
 * do not see each other in time. Then all of them go through it.
 */
bool blk_disk_can_be_direct(const struct blk_disk *disk)
{
	return disk->mem_align && disk->mem_align <= MAX_ALIGN && disk->offset_align &&
	       disk->offset_align <= disk->block_size;
}

struct iovec *blk_io_window(struct blk_io *io, unsigned int *count)
{
	*count = io->iov_count - io->iov_at;
	return io->iov + io->iov_at;
}

static void restore_entry(struct blk_io *io)
{
	if (io->saved.iov_len)
		io->iov[io->iov_at] = io->saved;
	io->saved = (struct iovec){0};
}

void blk_io_advance(struct blk_io *io, uint64_t n)
{
	io->done += n;
	while (n) {
		struct iovec *v;

		assert(io->iov_at < io->iov_count);
		v = &io->iov[io->iov_at];
		if (n < v->iov_len) {
			if (!io->saved.iov_len)
				io->saved = *v;
			v->iov_base = (char *)v->iov_base + n;
			v->iov_len -= n;
			return;
		}
		n -= v->iov_len;
		restore_entry(io);
		io->iov_at++;
	}
}

void blk_io_restore(struct blk_io *io)
{
	if (io->iov_at < io->iov_count)
		restore_entry(io);
}
