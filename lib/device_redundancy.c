/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel itself does for a volume, as /sys shows it. It does not show what a device-mapper
 * volume does: that is known of multipath by its UUID, and of LVM's mirrors by the names of their
 * members.
 */
#include <string.h>

#include "lib/device_read.h"

const char *const device_redundancy_names[] = {
	[REDUNDANCY_NONE] = "none",
	[REDUNDANCY_MIRROR] = "kernel mirror",
	[REDUNDANCY_RAID] = "kernel RAID",
	[REDUNDANCY_MULTIPATH] = "multipath",
};
static_assert(ARRAY_SIZE(device_redundancy_names) == REDUNDANCIES, "a name for each");

static bool look_at_md(const struct sysfs_dir *dir, struct device_redundancy *r)
{
	char level[32];
	uint64_t disks = 0;

	if (sysfs_read_text(dir, "md/level", level, sizeof(level)) < 0)
		return false;
	if (strcmp(level, "raid1") == 0 || strcmp(level, "raid10") == 0)
		r->kind = REDUNDANCY_MIRROR;
	else if (strncmp(level, "raid", 4) == 0 && level[4] >= '4' && level[4] <= '6')
		r->kind = REDUNDANCY_RAID;
	else
		return false;
	sysfs_read_u64(dir, "md/raid_disks", &disks);
	r->count = (unsigned int)disks;
	return true;
}

static void count_member(const struct sysfs_dir *slaves, const char *name,
	struct device_redundancy *r, unsigned int *images)
{
	char path[DEVICE_NAME_MAX + 16], dm[128];

	r->count++;
	snprintf(path, sizeof(path), "%s/dm/name", name);
	if (sysfs_read_text(slaves, path, dm, sizeof(dm)) < 0)
		return;
	if (strstr(dm, "_mimage_"))
		r->kind = REDUNDANCY_MIRROR;
	else if (strstr(dm, "_rmeta_")) /* which level it has is not shown */
		r->kind = REDUNDANCY_RAID;
	*images += strstr(dm, "_mimage_") || strstr(dm, "_rimage_");
}

static void look_at_dm(const struct sysfs_dir *dir, struct device_redundancy *r)
{
	auto_names struct name_list names = {0};
	unsigned int images = 0;
	struct sysfs_dir slaves;
	char uuid[160];

	if (sysfs_read_text(dir, "dm/uuid", uuid, sizeof(uuid)) < 0)
		return;
	sysfs_dir_init(&slaves, dir->root, "%s/slaves", dir->path);
	sysfs_list(&slaves, &names);
	for (size_t i = 0; i < names.count; i++)
		count_member(&slaves, names.names[i], r, &images);
	if (strncmp(uuid, "mpath-", 6) == 0)
		r->kind = REDUNDANCY_MULTIPATH;
	else
		r->count = images;
}

/* A namespace that is below its subsystem is reached by any of the subsystem's controllers. */
static void look_at_nvme(const struct sysfs_dir *dir, struct device_redundancy *r)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir subsystem;
	char link[SYSFS_PATH_MAX];

	if (sysfs_read_link_name(dir, "device", link, sizeof(link)) < 0 ||
		strncmp(link, "nvme-subsys", 11) != 0)
		return;
	sysfs_dir_init(&subsystem, dir->root, "%s/device", dir->path);
	sysfs_list(&subsystem, &names);
	for (size_t i = 0; i < names.count; i++) {
		const char *name = names.names[i];
		size_t len = strlen(name);

		r->count += strncmp(name, "nvme", 4) == 0 && len > 4 &&
			    strspn(name + 4, "0123456789") == len - 4;
	}
	r->kind = REDUNDANCY_MULTIPATH;
}

void device_redundancy_read(
	const struct sysroot *root, const struct device *d, struct device_redundancy *r)
{
	struct sysfs_dir dir;

	*r = (struct device_redundancy){0};
	if (d->class != DEVICE_BLOCK || d->block.partition ||
		!sysfs_dir_init(&dir, root, "%s", d->syspath))
		return;
	if (look_at_md(&dir, r))
		return;
	look_at_dm(&dir, r);
	if (r->kind == REDUNDANCY_NONE)
		look_at_nvme(&dir, r);
	if (r->kind == REDUNDANCY_NONE)
		r->count = 0;
}
