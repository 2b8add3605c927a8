/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS "sys/kernel/iommu_groups"

int iommu_group_list(const struct sysroot *root, struct name_list *ids)
{
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, root, GROUPS);
	return sysfs_list(&dir, ids);
}

/*
 * Drivers that the kernel marks as driver_managed_dma: they do no DMA for the host, or leave it to
 * whoever opens the device. The kernel has no file that shows the mark, and each VFIO driver, those
 * of vendors too, has "vfio" in its name.
 */
static const char *const bystanders[] = {"pci-stub", "pcieport"};

bool iommu_driver_blocks(const char *driver)
{
	if (!driver[0] || strstr(driver, "vfio"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(bystanders); i++)
		if (strcmp(driver, bystanders[i]) == 0)
			return false;
	return true;
}

static int read_members(struct iommu_group *group, const struct sysfs_dir *dir)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir devices;
	int rc;

	sysfs_dir_init(&devices, dir->root, "%s/devices", dir->path);
	rc = sysfs_list(&devices, &names);
	if (rc < 0 || names.count == 0)
		return rc;
	group->members = calloc(names.count, sizeof(*group->members));
	if (!group->members)
		return -ENOMEM;
	for (size_t i = 0; i < names.count; i++) {
		struct iommu_member *m = &group->members[group->member_count];
		char link[SYSFS_PATH_MAX];

		if (!str_copy(m->id, sizeof(m->id), names.names[i]))
			continue;
		text_clean(m->id);
		group->member_count++;
		snprintf(link, sizeof(link), "%s/driver", names.names[i]);
		sysfs_read_link_name(&devices, link, m->driver, sizeof(m->driver));
		m->blocks = iommu_driver_blocks(m->driver);
		snprintf(link, sizeof(link), "%s/iommu", names.names[i]);
		if (!group->iommu[0])
			sysfs_read_link_name(&devices, link, group->iommu, sizeof(group->iommu));
	}
	return 0;
}

static int read_regions(struct iommu_group *group, const struct sysfs_dir *dir)
{
	struct iommu_region regions[IOMMU_MAX_REGIONS];
	char text[16384];
	ssize_t len = sysfs_read_raw(dir, "reserved_regions", text, sizeof(text) - 1);
	size_t count;

	if (len < 0)
		return 0;
	text[len] = '\0';
	count = iommu_parse_regions(text, regions, ARRAY_SIZE(regions));
	group->regions = count ? calloc(count, sizeof(*regions)) : NULL;
	if (count && !group->regions)
		return -ENOMEM;
	if (count)
		memcpy(group->regions, regions, count * sizeof(*regions));
	group->region_count = count;
	return 0;
}

int iommu_group_read(
	const struct sysroot *root, const char *id, struct iommu_group *group, struct err *e)
{
	struct sysfs_dir dir;
	uint64_t number;
	int rc;

	*group = (struct iommu_group){0};
	sysfs_dir_init(&dir, root, GROUPS "/%s", id);
	if (parse_u64(id, INT32_MAX, &number) < 0 || !sysfs_exists(&dir, "devices"))
		return err_set(e, ERR_NOT_FOUND, "NO-SUCH", "there is no IOMMU group %s", id);
	group->id = (uint32_t)number;
	sysfs_read_text(&dir, "type", group->type, sizeof(group->type));
	rc = read_regions(group, &dir);
	if (rc == 0)
		rc = read_members(group, &dir);
	if (rc < 0) {
		iommu_group_release(group);
		return err_sys(e, -rc, "read IOMMU group %s", id);
	}
	return 0;
}

void iommu_group_release(struct iommu_group *group)
{
	free(group->members);
	free(group->regions);
	group->members = NULL;
	group->regions = NULL;
	group->member_count = group->region_count = 0;
}

static const struct iommu_member *first_blocker(const struct iommu_group *group)
{
	for (size_t i = 0; i < group->member_count; i++)
		if (group->members[i].blocks)
			return &group->members[i];
	return NULL;
}

bool iommu_group_is_viable(const struct iommu_group *group)
{
	return !first_blocker(group);
}

int iommu_group_check_viable(const struct iommu_group *group, struct err *e)
{
	const struct iommu_member *m = first_blocker(group);
	unsigned int others = 0;

	if (!m)
		return 0;
	for (const struct iommu_member *o = m + 1; o < group->members + group->member_count; o++)
		others += o->blocks;
	err_set(e, ERR_REFUSED, "GRP-VIABLE", "IOMMU group %u is not viable: %s works for the host",
		group->id, m->id);
	if (others)
		err_evidence(e, "/" GROUPS "/%u/devices/%s/driver: %s, and %u more like it",
			group->id, m->id, m->driver, others);
	else
		err_evidence(
			e, "/" GROUPS "/%u/devices/%s/driver: %s", group->id, m->id, m->driver);
	if (strcmp(m->driver, "shpchp") == 0)
		return err_fix(e,
			"the hot-plug driver of a bridge is not needed: echo %s > "
			"/sys/bus/pci/drivers/shpchp/unbind, or boot with module_blacklist=shpchp",
			m->id);
	return err_fix(e, "all of a group go together: iovctl bind %s vfio-pci", m->id);
}

const struct iommu_member *iommu_group_member(const struct iommu_group *group, const char *id)
{
	for (size_t i = 0; i < group->member_count; i++)
		if (strcmp(group->members[i].id, id) == 0)
			return &group->members[i];
	return NULL;
}

size_t iommu_parse_regions(char *text, struct iommu_region *regions, size_t max)
{
	size_t count = 0;
	char *lines, *words;

	for (char *line = strtok_r(text, "\n", &lines); line && count < max;
		line = strtok_r(NULL, "\n", &lines)) {
		struct iommu_region *r = &regions[count];
		const char *start = strtok_r(line, " ", &words);
		const char *end = strtok_r(NULL, " ", &words);
		const char *type = strtok_r(NULL, " ", &words);

		if (!type || parse_u64(start, UINT64_MAX, &r->start) < 0 ||
			parse_u64(end, UINT64_MAX, &r->end) < 0 || r->start > r->end ||
			!str_copy(r->type, sizeof(r->type), type))
			continue;
		text_clean(r->type);
		count++;
	}
	return count;
}
