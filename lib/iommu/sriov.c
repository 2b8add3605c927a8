/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/sriov.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NO_DRIVER "none" /* a driver that does not exist */

static bool sriov_dir(struct sysfs_dir *d, const struct sysroot *root, const char *function)
{
	return sysfs_dir_init(d, root, "sys/bus/pci/devices/%s", function);
}

void sriov_boot(const struct sysroot *root, char boot[static 40])
{
	struct sysfs_dir d;

	sysfs_dir_init(&d, root, "proc/sys/kernel/random");
	sysfs_read_text(&d, "boot_id", boot, 40); /* "" on a tree without one */
}

int sriov_vf(const struct sysroot *root, const char *pf, uint32_t index, char vf[PCI_ADDR_MAX])
{
	struct sysfs_dir d;
	char link[24];

	sriov_dir(&d, root, pf);
	snprintf(link, sizeof(link), "virtfn%u", index);
	return sysfs_read_link_name(&d, link, vf, PCI_ADDR_MAX);
}

int sriov_index(const struct sysroot *root, const char *pf, const char *vf)
{
	char name[PCI_ADDR_MAX];

	for (uint32_t i = 0; i < SRIOV_MAX_VFS && sriov_vf(root, pf, i, name) == 0; i++)
		if (strcmp(name, vf) == 0)
			return (int)i;
	return -1;
}

/* A switch in the device shows the far ends of its VFs as interfaces of the PF, too. */
static bool is_representor(const struct sysroot *root, const char *name)
{
	char port[32];
	struct sysfs_dir d;

	sysfs_dir_init(&d, root, "sys/class/net/%s", name);
	return sysfs_read_text(&d, "phys_port_name", port, sizeof(port)) == 0 && strstr(port, "vf");
}

bool sriov_interface(const struct sysroot *root, const char *pf, char *name, size_t size)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir d;

	if (!sysfs_dir_init(&d, root, "sys/bus/pci/devices/%s/net", pf) ||
		sysfs_list(&d, &names) < 0)
		return false;
	for (size_t i = 0; i < names.count; i++)
		if (!is_representor(root, names.names[i]))
			return str_copy(name, size, names.names[i]);
	return false;
}

static int read_count(const struct sysfs_dir *d, const char *attr, uint32_t *count, struct err *e)
{
	uint64_t value;
	int rc = sysfs_read_u64(d, attr, &value);

	if (rc == 0 && value > SRIOV_MAX_VFS)
		rc = -ERANGE;
	if (rc < 0)
		return err_sys(e, -rc, "read /%s/%s", d->path, attr);
	*count = (uint32_t)value;
	return 0;
}

int sriov_look(const struct sysroot *root, const char *pf, struct sriov_facts *facts, struct err *e)
{
	struct sysfs_dir d;
	uint64_t probes = 1;

	memset(facts, 0, sizeof(*facts));
	sriov_dir(&d, root, pf);
	if (!sysfs_exists(&d, "sriov_totalvfs")) {
		err_set(e, ERR_REFUSED, "SRIOV-NONE", "%s cannot have virtual functions", pf);
		return err_evidence(e, "/%s has no sriov_totalvfs", d.path);
	}
	if (read_count(&d, "sriov_totalvfs", &facts->total, e) < 0 ||
		read_count(&d, "sriov_numvfs", &facts->count, e) < 0)
		return -1;
	sysfs_read_u64(&d, "sriov_drivers_autoprobe", &probes); /* absent: they always are */
	facts->probes = probes != 0;
	sriov_boot(root, facts->boot);
	if (facts->count && sysfs_read_inode(&d, "virtfn0", &facts->mark) < 0)
		facts->mark = 0;
	return 0;
}

int sriov_set_probes(const struct sysroot *root, const char *pf, bool on, struct err *e)
{
	struct sysfs_dir d;
	int rc;

	sriov_dir(&d, root, pf);
	rc = sysfs_write_text(&d, "sriov_drivers_autoprobe", on ? "1" : "0");
	return rc < 0 ? err_sys(e, -rc, "write %d to /%s/sriov_drivers_autoprobe", on, d.path) : 0;
}

static int refused_by_driver(
	const struct sysfs_dir *d, const char *pf, uint32_t to, int sys, struct err *e)
{
	char driver[32];

	sysfs_read_link_name(d, "driver", driver, sizeof(driver));
	err_sys(e, sys, "give %s %u virtual functions", pf, to);
	err_evidence(e, "write %u to /%s/sriov_numvfs: %s; its driver is %s", to, d->path,
		strerror(sys), driver[0] ? driver : "none");
	if (sys == ENOENT)
		err_fix(e, "bind %s to its host driver, if that one can make them", pf);
	else if (sys == ENOMEM)
		err_fix(e, "the firmware left too little bus or memory space for them: see the "
			   "kernel's log, pci=realloc, and the firmware's settings");
	return -1;
}

int sriov_set_count(const struct sysroot *root, const char *pf, uint32_t from, uint32_t to,
	uint64_t mark, struct err *e)
{
	struct sriov_facts now;
	struct sysfs_dir d;
	char text[16];
	int rc;

	if (sriov_look(root, pf, &now, e) < 0)
		return -1;
	if (now.count == to)
		return 0;
	if (now.count != from || (mark && now.mark != mark)) {
		err_set(e, ERR_REFUSED, "VF-FOREIGN", "somebody else changed the VFs of %s", pf);
		return err_evidence(e, "it has %u VFs, made after ours", now.count);
	}
	sriov_dir(&d, root, pf);
	snprintf(text, sizeof(text), "%u", to);
	rc = sysfs_write_text(&d, "sriov_numvfs", text);
	if (rc < 0)
		return refused_by_driver(&d, pf, to, -rc, e);
	if (sriov_look(root, pf, &now, e) < 0)
		return -1;
	return now.count == to
		       ? 0
		       : err_set(e, ERR_FAILED, "SRIOV", "%s has %u VFs after %u were asked for",
				 pf, now.count, to);
}

int sriov_keep_free(const struct sysroot *root, const char *pf, struct err *e)
{
	char vf[PCI_ADDR_MAX];
	struct sysfs_dir d;
	int rc;

	for (uint32_t i = 0; i < SRIOV_MAX_VFS && sriov_vf(root, pf, i, vf) == 0; i++) {
		sriov_dir(&d, root, vf);
		rc = sysfs_write_text(&d, "driver_override", NO_DRIVER);
		if (rc < 0)
			return err_sys(e, -rc, "write to /%s/driver_override", d.path);
	}
	return 0;
}
