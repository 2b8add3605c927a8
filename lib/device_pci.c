/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/device_read.h"

#define PCI_CLASS_BRIDGE 0x06

static int read_ids(struct device_pci *pci, const struct sysfs_dir *dir, struct err *e)
{
	const struct {
		const char *attr;
		uint16_t *id;
		bool required;
	} ids[] = {
		{"vendor", &pci->vendor, true},
		{"device", &pci->device, true},
		{"subsystem_vendor", &pci->sub_vendor, false},
		{"subsystem_device", &pci->sub_device, false},
	};
	uint64_t value;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		int rc = sysfs_read_u64(dir, ids[i].attr, &value);

		if (rc == 0 && value <= UINT16_MAX)
			*ids[i].id = (uint16_t)value;
		else if (ids[i].required)
			return err_sys(e, rc ? -rc : ERANGE, "read /%s/%s", dir->path, ids[i].attr);
	}
	if (sysfs_read_u64(dir, "class", &value) == 0 && value <= 0xffffff)
		pci->class_code = (uint32_t)value;
	pci->is_bridge = pci->class_code >> 16 == PCI_CLASS_BRIDGE;
	return 0;
}

/* Counted by its links: reading sriov_numvfs waits for the lock of a driver that may hang. */
static uint64_t count_vfs(const struct sysfs_dir *dir)
{
	auto_names struct name_list names = {0};
	uint64_t count = 0;

	if (sysfs_list(dir, &names) < 0)
		return 0;
	for (size_t i = 0; i < names.count; i++)
		count += strncmp(names.names[i], "virtfn", 6) == 0;
	return count;
}

static void read_iommu(struct device *d, const struct sysfs_dir *dir)
{
	char group[16];
	uint64_t number;

	if (sysfs_read_link_name(dir, "iommu_group", group, sizeof(group)) == 0 &&
		parse_u64(group, INT32_MAX, &number) == 0)
		d->iommu_group = (int64_t)number;
	sysfs_read_link_name(dir, "iommu", d->pci.iommu, sizeof(d->pci.iommu));
}

static bool read_relations(struct device *d, const struct sysfs_dir *dir)
{
	struct device_pci *pci = &d->pci;
	bool ok = true;

	if (sysfs_read_u64(dir, "sriov_totalvfs", &pci->sriov_total) == 0)
		pci->sriov_count = count_vfs(dir);
	if (sysfs_read_link_name(dir, "physfn", pci->physfn, sizeof(pci->physfn)) == 0)
		ok = device_add_lower(d, DEVICE_PCI, pci->physfn);
	return device_take_pci_parent(d, dir->root) && ok;
}

static void pci_fingerprint(struct device *d)
{
	struct fingerprint f;
	char ids[64];

	snprintf(ids, sizeof(ids), "%04x:%04x:%04x:%04x:%06x", d->pci.vendor, d->pci.device,
		d->pci.sub_vendor, d->pci.sub_device, d->pci.class_code);
	fingerprint_init(&f, "pci");
	fingerprint_add(&f, ids);
	fingerprint_add(&f, d->syspath);
	fingerprint_text(&f, d->fingerprint);
}

int device_read_pci(
	struct device *d, const struct sysfs_dir *dir, struct pci_names *names, struct err *e)
{
	char name[256];
	uint64_t node;

	if (read_ids(&d->pci, dir, e) < 0)
		return -1;
	sysfs_read_link_name(dir, "driver", d->driver, sizeof(d->driver));
	sysfs_read_text(dir, "reset_method", d->pci.reset_methods, sizeof(d->pci.reset_methods));
	read_iommu(d, dir);
	if (!read_relations(d, dir))
		return err_sys(e, ENOMEM, "keep its relations");
	/* its own node, not that of the bridge above it */
	d->numa_node = sysfs_read_u64(dir, "numa_node", &node) == 0 && node <= INT32_MAX
			       ? (int64_t)node
			       : -1;
	if (pci_names_lookup(names, d->pci.vendor, d->pci.device, name, sizeof(name)) &&
		!device_set_name(d, "%s", name))
		return err_sys(e, ENOMEM, "keep its name");
	pci_fingerprint(d);
	return 0;
}
