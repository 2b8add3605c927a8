/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "lib/device_read.h"

#define SECTOR_BYTES 512 /* the unit of `size`, whatever the disk's own block is */

static bool read_flag(const struct sysfs_dir *dir, const char *attr)
{
	uint64_t value;

	return sysfs_read_u64(dir, attr, &value) == 0 && value != 0;
}

static bool parse_number(const char *text, dev_t *number)
{
	unsigned int major_nr, minor_nr;
	char extra;

	if (sscanf(text, "%u:%u%c", &major_nr, &minor_nr, &extra) != 2)
		return false;
	*number = makedev(major_nr, minor_nr);
	return true;
}

static int read_basics(struct device_block *b, const struct sysfs_dir *dir,
	const struct sysfs_dir *whole, struct err *e)
{
	char text[32];
	uint64_t sectors;
	int rc = sysfs_read_text(dir, "dev", text, sizeof(text));

	if (rc < 0 || !parse_number(text, &b->number))
		return err_sys(e, rc ? -rc : EINVAL, "read /%s/dev", dir->path);
	rc = sysfs_read_u64(dir, "size", &sectors);
	if (rc < 0 || !u64_mul(sectors, SECTOR_BYTES, &b->size_bytes))
		return err_sys(e, rc ? -rc : ERANGE, "read /%s/size", dir->path);
	if (sysfs_read_u64(whole, "queue/logical_block_size", &b->logical_block_bytes) < 0)
		b->logical_block_bytes = SECTOR_BYTES;
	b->read_only = read_flag(dir, "ro");
	b->rotational = read_flag(whole, "queue/rotational");
	b->removable = read_flag(whole, "removable");
	return 0;
}

/* A partition lies in its disk's directory; sets `whole` to the disk's, or to d's own. */
static bool find_whole(struct device *d, const struct sysfs_dir *dir, struct sysfs_dir *whole)
{
	struct device_block *b = &d->block;
	const char *end = strrchr(d->syspath, '/');
	char parent[SYSFS_PATH_MAX];
	const char *name;

	*whole = *dir;
	if (sysfs_read_u64(dir, "partition", &b->partition) < 0 || !b->partition || !end)
		return true;
	snprintf(parent, sizeof(parent), "%.*s", (int)(end - d->syspath), d->syspath);
	name = strrchr(parent, '/');
	if (!name || !str_copy(b->disk, sizeof(b->disk), name + 1))
		return true;
	str_copy(d->parent, sizeof(d->parent), b->disk);
	sysfs_dir_init(whole, dir->root, "%s", parent);
	return device_add_lower(d, DEVICE_BLOCK, b->disk);
}

/* --- who it is -------------------------------------------------------------------------------- */

static void read_first(const struct sysfs_dir *dir, const char *const *attrs, size_t count,
	char *text, size_t size)
{
	for (size_t i = 0; i < count; i++)
		if (sysfs_read_text(dir, attrs[i], text, size) == 0 && text[0])
			return;
	text[0] = '\0';
}

/* SCSI's unit serial number page: 4 bytes of header, then text. */
static void read_vpd_serial(const struct sysfs_dir *dir, char *serial, size_t size)
{
	unsigned char page[256];
	ssize_t len = sysfs_read_raw(dir, "device/vpd_pg80", page, sizeof(page));
	size_t bytes;
	char *start = (char *)page + 4;

	if (len < 4 || page[1] != 0x80)
		return;
	bytes = MIN((size_t)page[2] << 8 | page[3], (size_t)len - 4);
	while (bytes && (start[0] == ' ' || !start[0])) {
		start++;
		bytes--;
	}
	snprintf(serial, size, "%.*s", (int)bytes, start);
	for (size_t n = strlen(serial); n && serial[n - 1] == ' '; n--)
		serial[n - 1] = '\0';
	text_clean(serial);
}

static void read_identity(struct device_block *b, const struct sysfs_dir *whole)
{
	static const char *const wwids[] = {"wwid", "device/wwid", "dm/uuid", "md/uuid"};
	static const char *const serials[] = {"serial", "device/serial", "device/cid"};

	read_first(whole, wwids, ARRAY_SIZE(wwids), b->wwid, sizeof(b->wwid));
	read_first(whole, serials, ARRAY_SIZE(serials), b->serial, sizeof(b->serial));
	if (!b->serial[0])
		read_vpd_serial(whole, b->serial, sizeof(b->serial));
}

static void block_fingerprint(struct device *d, const struct sysfs_dir *dir)
{
	struct device_block *b = &d->block;
	struct fingerprint f;
	char text[64];

	fingerprint_init(&f, "block");
	fingerprint_add(&f, b->wwid);
	fingerprint_add(&f, b->serial);
	if (!b->wwid[0] && !b->serial[0]) /* nothing but its place tells it from another */
		fingerprint_add(&f, d->syspath);
	if (b->loop_file)
		fingerprint_add(&f, b->loop_file);
	if (b->partition) {
		char start[32] = "";

		sysfs_read_text(dir, "start", start, sizeof(start));
		snprintf(text, sizeof(text), "%llu:%s:%llu", (unsigned long long)b->partition,
			start, (unsigned long long)b->size_bytes);
		fingerprint_add(&f, text);
	}
	fingerprint_text(&f, d->fingerprint);
}

/* --- how people call it ----------------------------------------------------------------------- */

static bool read_name(struct device *d, const struct sysfs_dir *dir)
{
	char text[SYSFS_TEXT_MAX];

	if (d->block.partition)
		return device_set_name(d, "partition %llu of %s",
			(unsigned long long)d->block.partition, d->block.disk);
	if (d->block.loop_file)
		return device_set_name(d, "%s", d->block.loop_file);
	if (sysfs_read_text(dir, "dm/name", text, sizeof(text)) == 0 && text[0])
		return device_set_name(d, "%s", text);
	if (sysfs_read_text(dir, "md/level", text, sizeof(text)) == 0 && text[0])
		return device_set_name(d, "%s array", text);
	if (sysfs_read_text(dir, "device/model", text, sizeof(text)) == 0 && text[0])
		return device_set_name(d, "%s", text);
	return true;
}

static bool read_loop(struct device_block *b, const struct sysfs_dir *dir)
{
	char path[PATH_MAX];

	if (sysfs_read_text(dir, "loop/backing_file", path, sizeof(path)) < 0 || !path[0])
		return true;
	b->loop_file = strdup(path);
	return b->loop_file;
}

static void read_driver(struct device *d, const struct sysfs_dir *whole)
{
	if (sysfs_read_link_name(whole, "device/driver", d->driver, sizeof(d->driver)) < 0)
		/* a namespace of NVMe: `device` is the controller, whose `device` has the driver */
		sysfs_read_link_name(whole, "device/device/driver", d->driver, sizeof(d->driver));
}

/* --- what it stands on ------------------------------------------------------------------------ */

static bool read_slaves(struct device *d, const struct sysfs_dir *dir)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir slaves;
	bool ok = true;

	sysfs_dir_init(&slaves, dir->root, "%s/slaves", dir->path);
	if (sysfs_list(&slaves, &names) == -ENOMEM)
		return false;
	for (size_t i = 0; ok && i < names.count; i++)
		ok = device_add_lower(d, DEVICE_BLOCK, names.names[i]);
	return ok;
}

static bool is_nvme_controller(const char *name)
{
	return strncmp(name, "nvme", 4) == 0 && name[4] &&
	       name[4 + strspn(name + 4, "0123456789")] == '\0';
}

/* A multipath namespace of NVMe is below no controller: its subsystem links to all of them. */
static bool read_nvme_controllers(struct device *d, const struct sysfs_dir *whole)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir subsystem, controller;
	char text[SYSFS_PATH_MAX], pci[PCI_ADDR_MAX];
	bool ok = true;

	if (sysfs_read_link_name(whole, "device", text, sizeof(text)) < 0 ||
		strncmp(text, "nvme-subsys", 11) != 0)
		return true;
	sysfs_dir_init(&subsystem, whole->root, "%s/device", whole->path);
	if (sysfs_list(&subsystem, &names) == -ENOMEM)
		return false;
	for (size_t i = 0; ok && i < names.count; i++) {
		if (!is_nvme_controller(names.names[i]))
			continue;
		sysfs_dir_init(&controller, whole->root, "%s/%s", subsystem.path, names.names[i]);
		if (sysfs_real_path(&controller, text, sizeof(text)) < 0)
			continue;
		sysfs_read_link_name(&controller, "device/driver", d->driver, sizeof(d->driver));
		syspath_pci_parent(text, pci);
		ok = !pci[0] || device_add_lower(d, DEVICE_PCI, pci);
	}
	if (ok && d->lower_count == 1) /* of several, none is the parent */
		str_copy(d->parent, sizeof(d->parent), d->lower[0].id);
	return ok;
}

static bool read_holders(struct device_block *b, const struct sysfs_dir *dir)
{
	struct sysfs_dir holders;

	sysfs_dir_init(&holders, dir->root, "%s/holders", dir->path);
	return sysfs_list(&holders, &b->holders) != -ENOMEM;
}

static bool read_relations(struct device *d, const struct sysfs_dir *dir)
{
	bool disk = !d->block.partition; /* a partition is on its disk, and on nothing else */

	return read_holders(&d->block, dir) && read_slaves(d, dir) &&
	       (!disk || (read_nvme_controllers(d, dir) && device_take_pci_parent(d, dir->root)));
}

int device_read_block(struct device *d, const struct sysfs_dir *dir, struct err *e)
{
	struct sysfs_dir whole;

	if (read_flag(dir, "hidden")) /* one path of a multipath namespace: nobody can open it */
		return err_set(e, ERR_NOT_FOUND, "DEV-HIDDEN", "the kernel keeps it to itself");
	if (!find_whole(d, dir, &whole))
		return err_sys(e, ENOMEM, "find its disk");
	if (read_basics(&d->block, dir, &whole, e) < 0)
		return -1;
	read_identity(&d->block, &whole);
	read_driver(d, &whole);
	if (!read_loop(&d->block, dir) || !read_name(d, dir) || !read_relations(d, dir))
		return err_sys(e, ENOMEM, "keep what was read");
	block_fingerprint(d, dir);
	d->block.is_identified = d->block.wwid[0];
	if (d->block.partition) /* these are the disk's: a partition is not the same volume */
		d->block.wwid[0] = d->block.serial[0] = '\0';
	return 0;
}
