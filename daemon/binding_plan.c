/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * May a PCI function be taken, and what goes with it? In the order of what can be done about it:
 * what the host needs is refused first (nothing can), then a group that is of no use, then one that
 * would be torn apart.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/binding_internal.h"
#include "daemon/daemon.h"
#include "daemon/hands.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "lib/iommu/group.h"

bool binding_is_for_vfio(const struct binding_ask *ask)
{
	return strcmp(ask->driver, BIND_VFIO) == 0 || bind_is_vfio(ask->driver);
}

/* --- one function ----------------------------------------------------------------------------- */

/* What the holder has already, and has as it wants it, needs no leave any more. */
static bool is_taken_already(struct daemon *d, const struct binding_ask *ask, const char *id)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, id);
	struct binding_row row;

	return device && binding_find(d, id, ask->holder, &row) &&
	       strcmp(row.driver, device->driver) == 0;
}

static int check_wedged(struct daemon *d, const char *id, struct err *e)
{
	struct hand_wedge wedge;

	return hands_find_wedge(d->hands, id, &wedge) ? binding_refuse_wedged(id, &wedge, e) : 0;
}

int binding_refuse_wedged(const char *id, const struct hand_wedge *wedge, struct err *e)
{
	err_set(e, ERR_REFUSED, "DEV-WEDGED", "something is stuck at %s", id);
	err_evidence(e, "process %d (%s)%s%s", (int)wedge->pid, wedge->work,
		wedge->waits_in[0] ? " waits in " : "", wedge->waits_in);
	return err_fix(e, "end what holds it; a host that has lost a device may need a reboot");
}

/* A driver that goes takes its virtual functions along, or does not go. */
int binding_check_functions(const struct device *device, struct err *e)
{
	if (device->pci.sriov_count == 0)
		return 0;
	err_set(e, ERR_REFUSED, "PF-IN-USE", "%s has %llu virtual functions, which need its driver",
		device->id, (unsigned long long)device->pci.sriov_count);
	err_evidence(e, "/sys/bus/pci/devices/%s/virtfn0", device->id);
	return err_fix(
		e, "take its virtual functions away first (iovctl vf create %s 0)", device->id);
}

int binding_check_member(
	struct daemon *d, const struct binding_ask *ask, const char *id, struct err *e)
{
	const struct host_use_own own = {.attachment = ask->holder,
		.vm = strcmp(id, ask->device) == 0 ? NULL : ask->vm,
		.unknown = ask->unknown};
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, id);

	if (!device) {
		err_set(e, ERR_NOT_FOUND, "NO-SUCH", "there is no PCI device %s", id);
		return err_fix(e, "iovctl list devices --class pci shows those there are");
	}
	if (is_taken_already(d, ask, id))
		return 0;
	if (check_wedged(d, id, e) < 0 || host_use_check_own(d->inventory, device, &own, e) < 0)
		return -1;
	device = inventory_find(d->inventory, DEVICE_PCI, id);
	return device ? binding_check_functions(device, e) : 0;
}

/* --- its group -------------------------------------------------------------------------------- */

static bool host_has_iommu(const struct sysroot *root)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, root, "sys/class/iommu");
	return sysfs_list(&dir, &names) == 0 && names.count > 0;
}

int binding_refuse_no_group(const char *id, struct err *e)
{
	err_set(e, ERR_REFUSED, "GRP-NONE", "no IOMMU isolates %s: it could reach all memory", id);
	err_evidence(e, "/sys/bus/pci/devices/%s/iommu_group and /sys/class/iommu/*: none", id);
	return err_fix(e, "switch the IOMMU on: in the firmware's setup (VT-d, AMD-Vi, SMMU), and "
			  "by the kernel's option (intel_iommu=on)");
}

int binding_refuse_viable(
	uint32_t group, const char *id, const char *driver, const char *why, struct err *e)
{
	err_set(e, ERR_REFUSED, "GRP-VIABLE", "IOMMU group %u cannot be taken from the host: %s %s",
		group, id, why);
	err_evidence(e, "/sys/kernel/iommu_groups/%u/devices/%s/driver: %s", group, id,
		driver[0] ? driver : "(none)");
	return err_fix(e, "take its driver from it, or use a device of another group");
}

/* Ports and bridges stay with the host; everything else goes along. */
static int add_companions(
	struct daemon *d, const struct iommu_group *g, struct binding_plan *plan, struct err *e)
{
	for (size_t i = 0; i < g->member_count; i++) {
		const struct iommu_member *m = &g->members[i];
		const struct device *device = inventory_find(d->inventory, DEVICE_PCI, m->id);
		struct binding_member *to = &plan->members[plan->count];

		if (strcmp(m->id, plan->members[0].id) == 0)
			continue;
		if (!device || device->pci.is_bridge) {
			if (m->blocks)
				return binding_refuse_viable(
					g->id, m->id, m->driver, BINDING_STAYS, e);
			continue;
		}
		if (plan->count == BINDING_MAX)
			return binding_refuse_viable(g->id, m->id, m->driver, "is one too many", e);
		str_copy(to->id, sizeof(to->id), m->id);
		str_copy(to->driver, sizeof(to->driver), m->driver);
		plan->count++;
	}
	return 0;
}

static bool is_split(struct daemon *d, const struct binding_ask *ask, const struct binding_plan *p)
{
	for (size_t i = 1; i < p->count; i++)
		if (!is_taken_already(d, ask, p->members[i].id))
			return !ask->whole_group;
	return false;
}

int binding_refuse_split(int64_t group, const char *id, const char *companions, struct err *e)
{
	err_set(e, ERR_REFUSED, "GRP-SPLIT", "%s cannot be taken without its companions", id);
	err_evidence(e, "IOMMU group %lld has %s, too", (long long)group, companions);
	return err_fix(e, "take the whole group, with --group");
}

void binding_name_companion(char *text, size_t size, const char *id, const char *driver)
{
	size_t len = strlen(text);

	snprintf(text + len, size - len, "%s%s%s%s", len ? ", " : "", id,
		driver[0] ? " with driver " : "", driver);
}

static int refuse_split(const struct binding_plan *plan, struct err *e)
{
	char names[200] = "";

	for (size_t i = 1; i < plan->count; i++)
		binding_name_companion(
			names, sizeof(names), plan->members[i].id, plan->members[i].driver);
	return binding_refuse_split(plan->group, plan->members[0].id, names, e);
}

static int plan_group(
	struct daemon *d, const struct binding_ask *ask, struct binding_plan *plan, struct err *e)
{
	const struct sysroot *root = inventory_sysroot(d->inventory);
	struct iommu_group group;
	char number[24];
	int rc;

	/* Some kernels make a device's group when a driver asks for the device. */
	if (plan->group < 0)
		return host_has_iommu(root) ? 0 : binding_refuse_no_group(ask->device, e);
	snprintf(number, sizeof(number), "%lld", (long long)plan->group);
	if (iommu_group_read(root, number, &group, e) < 0)
		return -1;
	rc = add_companions(d, &group, plan, e);
	iommu_group_release(&group);
	return rc == 0 && is_split(d, ask, plan) ? refuse_split(plan, e) : rc;
}

static int check_companion(
	struct daemon *d, const struct binding_ask *ask, const char *id, struct err *e)
{
	if (binding_check_member(d, ask, id, e) == 0)
		return 0;
	if (strcmp(e->code, "DEV-TAKEN") == 0)
		str_copy(e->code, sizeof(e->code), "GRP-SPLIT");
	return err_wrap(e, "its IOMMU group goes to one owner");
}

int binding_plan(
	struct daemon *d, const struct binding_ask *ask, struct binding_plan *plan, struct err *e)
{
	const struct device *device;

	*plan = (struct binding_plan){.group = -1, .count = 1};
	str_copy(plan->members[0].id, sizeof(plan->members[0].id), ask->device);
	if (binding_check_member(d, ask, ask->device, e) < 0)
		return -1;
	device = inventory_find(d->inventory, DEVICE_PCI, ask->device);
	if (!device)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", ask->device);
	str_copy(plan->members[0].driver, sizeof(plan->members[0].driver), device->driver);
	plan->group = device->iommu_group;
	if (!binding_is_for_vfio(ask))
		return 0;
	if (plan_group(d, ask, plan, e) < 0)
		return -1;
	for (size_t i = 1; i < plan->count; i++)
		if (check_companion(d, ask, plan->members[i].id, e) < 0)
			return -1;
	return 0;
}
