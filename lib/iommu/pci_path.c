/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/pci_path.h"

#include <stdio.h>
#include <string.h>

uint16_t pci_requester_id(const struct pci_addr *addr)
{
	return (uint16_t)(addr->bus << 8 | (addr->slot & 0x1f) << 3 | (addr->function & 7));
}

bool pci_config_read(const struct sysroot *root, const char *id, struct pci_config *c)
{
	uint8_t bytes[PCI_CONFIG_MAX];
	struct sysfs_dir dir;
	ssize_t got;

	sysfs_dir_init(&dir, root, "sys/bus/pci/devices/%s", id);
	got = sysfs_read_raw(&dir, "config", bytes, sizeof(bytes));
	return pci_config_decode(bytes, got < 0 ? 0 : (size_t)got, c);
}

void pci_config_at_once(void *arg, const char *id, struct pci_config *c)
{
	pci_config_read(arg, id, c);
}

static int64_t read_group(const struct sysroot *root, const char *id)
{
	struct sysfs_dir dir;
	char group[16];
	uint64_t number;

	sysfs_dir_init(&dir, root, "sys/bus/pci/devices/%s", id);
	if (sysfs_read_link_name(&dir, "iommu_group", group, sizeof(group)) < 0 ||
		parse_u64(group, INT32_MAX, &number) < 0)
		return -1;
	return (int64_t)number;
}

/*
 * "sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0": the words that are addresses, from the end.
 * The first word that is none ends the path.
 */
static void read_upwards(const char *place, struct pci_path *path)
{
	size_t end = strlen(place);

	while (end && path->count < PCI_PATH_MAX) {
		struct pci_function *f = &path->at[path->count];
		size_t start = end;

		while (start && place[start - 1] != '/')
			start--;
		if (end - start >= sizeof(f->id))
			return;
		memcpy(f->id, place + start, end - start);
		f->id[end - start] = '\0';
		if (!pci_addr_parse(f->id, &f->addr) || !f->addr.domain_given)
			return;
		path->count++;
		end = start ? start - 1 : 0;
	}
}

int pci_path_read(const struct sysroot *root, const char *id, pci_config_fn *config, void *arg,
	struct pci_path *path, struct err *e)
{
	char place[SYSFS_PATH_MAX];
	struct sysfs_dir dir;

	*path = (struct pci_path){.count = 0};
	sysfs_dir_init(&dir, root, "sys/bus/pci/devices/%s", id);
	if (sysfs_real_path(&dir, place, sizeof(place)) < 0)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", id);
	read_upwards(place, path);
	if (!path->count || strcmp(path->at[0].id, id) != 0)
		return err_set(e, ERR_FAILED, "SYSFS", "/%s is no place of %s", place, id);
	for (size_t i = 0; i < path->count; i++) {
		path->at[i].group = read_group(root, path->at[i].id);
		config(arg, path->at[i].id, &path->at[i].config);
	}
	return 0;
}
