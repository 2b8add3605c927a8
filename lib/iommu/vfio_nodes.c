/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which nodes a function has, and by which interface it can be had: found out by trying. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/iommu/iommu_priv.h"

#define NO_IOMMU "vfio-noiommu" /* the name of a group in the mode that isolates nothing */

/* The function's entry of the class of VFIO devices: "vfio0". False if it has none. */
static bool find_vfio_dev(const struct sysfs_dir *dir, char *name, size_t size)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir class;

	return sysfs_dir_init(&class, dir->root, "%s/vfio-dev", dir->path) &&
	       sysfs_list(&class, &names) == 0 && names.count == 1 &&
	       str_copy(name, size, names.names[0]);
}

static int find_group(
	const struct sysfs_dir *dir, const char *id, struct vfio_nodes *nodes, struct err *e)
{
	char name[SYSFS_TEXT_MAX];

	if (sysfs_read_link_name(dir, "iommu_group", nodes->group, sizeof(nodes->group)) < 0) {
		err_set(e, ERR_REFUSED, "GRP-NONE", "%s is in no IOMMU group", id);
		err_evidence(e, "/%s/iommu_group is not there", dir->path);
		return err_fix(e, "switch the IOMMU on in the firmware and on the kernel's command "
				  "line");
	}
	if (sysfs_read_text(dir, "iommu_group/name", name, sizeof(name)) == 0 &&
		strcmp(name, NO_IOMMU) == 0) {
		err_set(e, ERR_REFUSED, "GRP-NONE",
			"%s is in a group of VFIO's no-IOMMU mode, which isolates nothing", id);
		return err_evidence(e, "/%s/iommu_group/name: " NO_IOMMU, dir->path);
	}
	return 0;
}

int vfio_nodes_find(const struct sysroot *root, const struct pci_addr *addr,
	struct vfio_nodes *nodes, struct err *e)
{
	char id[PCI_ADDR_MAX], class[32], attr[64];
	struct sysfs_dir dir;
	bool has_class;

	*nodes = (struct vfio_nodes){0};
	pci_addr_format(addr, id);
	sysfs_dir_init(&dir, root, "sys/bus/pci/devices/%s", id);
	if (!sysfs_exists(&dir, "vendor"))
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "there is no PCI function %s", id);
	sysfs_read_link_name(&dir, "driver", nodes->driver, sizeof(nodes->driver));
	if (find_group(&dir, id, nodes, e) < 0)
		return -1;
	has_class = find_vfio_dev(&dir, class, sizeof(class));
	/* Before Linux 6.1 there is no such class, and the name is all there is to go by. */
	if (!has_class && !strstr(nodes->driver, "vfio")) {
		err_set(e, ERR_REFUSED, "DEV-NOT-VFIO", "no VFIO driver has %s", id);
		err_evidence(
			e, "/%s/driver: %s", dir.path, nodes->driver[0] ? nodes->driver : "none");
		return err_fix(e, "iovctl bind %s vfio-pci", id);
	}
	snprintf(nodes->group_node, sizeof(nodes->group_node), "/dev/vfio/%s", nodes->group);
	snprintf(attr, sizeof(attr), "vfio-dev/%s/dev", class);
	if (has_class && sysfs_exists(&dir, attr))
		snprintf(nodes->cdev_node, sizeof(nodes->cdev_node), "/dev/vfio/devices/%s", class);
	return 0;
}

int iommu_probe(
	const struct sysroot *root, const struct pci_addr *addr, enum iommu_api *api, struct err *e)
{
	auto_space struct iommu_space *space = NULL;
	struct err no_iommufd = ERR_INIT, no_type1 = ERR_INIT;
	struct vfio_nodes nodes;

	if (vfio_nodes_find(root, addr, &nodes, e) < 0)
		return -1;
	if (!nodes.cdev_node[0])
		err_set(&no_iommufd, ERR_FAILED, "SYS", "the kernel has no node per device");
	else if (access(nodes.cdev_node, F_OK) < 0)
		err_sys(&no_iommufd, errno, "%s", nodes.cdev_node);
	else
		iommu_space_new(IOMMU_IOMMUFD, &space, &no_iommufd);
	if (space || iommu_space_new(IOMMU_TYPE1, &space, &no_type1) == 0) {
		*api = iommu_space_api(space);
		return 0;
	}
	err_set(e, ERR_FAILED, "IOMMU-NONE", "the kernel offers no way to program the IOMMU");
	err_evidence(e, "%.140s; %.140s", no_iommufd.msg, no_type1.msg);
	return err_fix(e, "load the modules vfio_iommu_type1 and vfio_pci");
}
