/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rules want to know of one device (daemon/facts.h), out of the inventory and of /sys. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/facts.h"
#include "daemon/inventory_model.h"
#include "daemon/passthrough_plan.h"
#include "lib/iommu/pci_path.h"
#include "lib/iommu/sriov.h"

/* --- one number, one file --------------------------------------------------------------------- */

static void read_number(const struct sysfs_dir *dir, const char *attr, struct fact_number *n)
{
	n->known = sysfs_read_u64(dir, attr, &n->value) == 0;
}

/* The line of the word: "TOTAL_ERR_FATAL 3". */
static void read_errors(const struct sysfs_dir *dir, struct fact_number *n)
{
	char text[1024];
	ssize_t len = sysfs_read_raw(dir, "aer_dev_fatal", text, sizeof(text) - 1);
	const char *line;

	if (len <= 0)
		return;
	text[len] = '\0';
	line = strstr(text, "TOTAL_ERR_FATAL ");
	n->known = line && sscanf(line, "TOTAL_ERR_FATAL %" SCNu64, &n->value) == 1;
}

/* `resource`: a line for each BAR, the ROM, and each BAR of the VFs: first and last address, flags. */
static void read_resources(const struct sysfs_dir *dir, struct device_facts *f)
{
	char text[2048], *rest = text, *line;
	ssize_t len = sysfs_read_raw(dir, "resource", text, sizeof(text) - 1);

	if (len <= 0)
		return;
	text[len] = '\0';
	f->has_resource = true;
	for (unsigned int i = 0; (line = strsep(&rest, "\n")); i++) {
		struct fact_bar bar;

		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &bar.start, &bar.end,
			    &bar.flags) != 3)
			return;
		if (i < FACTS_PCI_BARS)
			f->bars[i] = bar;
		else if (i > FACTS_PCI_BARS && i <= FACTS_PCI_BARS + FACTS_PCI_VF_BARS)
			f->vf_bars[i - FACTS_PCI_BARS - 1] = bar;
	}
}

/* "16.0 GT/s PCIe": the kernel's words. */
static void read_link(const struct sysfs_dir *dir, struct device_facts *f)
{
	read_number(dir, "current_link_width", &f->link_width);
	read_number(dir, "max_link_width", &f->link_width_max);
	sysfs_read_text(dir, "current_link_speed", f->link_speed, sizeof(f->link_speed));
	sysfs_read_text(dir, "max_link_speed", f->link_speed_max, sizeof(f->link_speed_max));
}

/* --- configuration spaces --------------------------------------------------------------------- */

/* Of a live host what a hand has read before; never waits. */
static void read_config(const struct inventory *inv, const char *id, struct pci_config *c)
{
	const struct inv_node *node;

	if (!sysroot_is_live(inv->root)) {
		pci_config_read(inv->root, id, c);
		return;
	}
	node = inv_find((struct inventory *)inv, DEVICE_PCI, id);
	if (node)
		*c = node->config;
}

/* The word before the last one of its place, if that is a function's address. */
static void find_bridge(const struct device *d, char bridge[static PCI_ADDR_MAX])
{
	auto_free char *place = strdup(d->syspath ?: "");
	struct pci_addr addr;
	char *slash = place ? strrchr(place, '/') : NULL;

	if (!slash)
		return;
	*slash = '\0';
	slash = strrchr(place, '/');
	if (slash && pci_addr_parse(slash + 1, &addr))
		str_copy(bridge, PCI_ADDR_MAX, slash + 1);
}

/* --- its group -------------------------------------------------------------------------------- */

static void add_member(struct inventory *inv, const struct iommu_member *m,
	const struct host_use_own *own, struct device_facts *f)
{
	const struct inv_node *node = inv_find(inv, DEVICE_PCI, m->id);
	struct fact_member *to = &f->members[f->member_count];

	if (f->member_count == FACTS_MAX_MEMBERS || strcmp(m->id, f->dev->id) == 0)
		return;
	*to = (struct fact_member){
		.id = m->id, .driver = m->driver, .blocks = m->blocks, .is_known = node};
	if (node) {
		to->is_bridge = node->dev->pci.is_bridge;
		to->use = host_use_worst(inv, node->dev, own, false)
				  ?: host_use_worst(inv, node->dev, own, true);
	}
	f->member_count++;
}

static void read_group(
	struct inventory *inv, const struct host_use_own *own, struct device_facts *f)
{
	if (f->dev->iommu_group < 0)
		return;
	f->group = inventory_group(inv, (uint32_t)f->dev->iommu_group, NULL);
	if (!f->group)
		return;
	f->why_count = inv_group_reasons(inv, f->group->id, f->why, ARRAY_SIZE(f->why));
	for (size_t i = 0; i < f->group->member_count; i++)
		add_member(inv, &f->group->members[i], own, f);
}

/* How it can be reset when its companions go with it. */
static void read_reset(struct inventory *inv, struct device_facts *f)
{
	const char *given[1 + FACTS_MAX_MEMBERS] = {f->dev->id};
	size_t count = 1;

	for (size_t i = 0; i < f->member_count; i++)
		if (!f->members[i].is_bridge)
			given[count++] = f->members[i].id;
	passthrough_find_reset(inv, f->dev, given, count, f->reset_way);
}

/* --- virtual functions ------------------------------------------------------------------------ */

static void read_pf(const struct inventory *inv, struct device_facts *f)
{
	struct sysfs_dir dir;

	if (!f->dev->pci.physfn[0] || !sriov_interface(inv->root, f->dev->pci.physfn,
					      f->pf_interface, sizeof(f->pf_interface)))
		return;
	sysfs_dir_init(&dir, inv->root, "sys/class/net/%s", f->pf_interface);
	sysfs_read_text(&dir, "operstate", f->pf_state, sizeof(f->pf_state));
}

/* The kernel's table of aliases is asked on the live host, and in a tree that has one. */
static void read_variant(const struct inventory *inv, struct device_facts *f)
{
	if (bind_choose(inv->root, f->dev->id, BIND_VFIO, f->vfio_driver, NULL) < 0)
		f->vfio_driver[0] = '\0';
}

static void read_pci(struct inventory *inv, const struct host_use_own *own, struct device_facts *f)
{
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, inv->root, "sys/bus/pci/devices/%s", f->dev->id);
	read_group(inv, own, f);
	read_reset(inv, f);
	read_config(inv, f->dev->id, &f->config);
	find_bridge(f->dev, f->bridge_id);
	if (f->bridge_id[0])
		read_config(inv, f->bridge_id, &f->bridge);
	sysfs_read_text(&dir, "power_state", f->power_state, sizeof(f->power_state));
	read_number(&dir, "boot_vga", &f->boot_vga);
	read_number(&dir, "dma_mask_bits", &f->dma_mask_bits);
	read_number(&dir, "sriov_totalvfs", &f->sriov_total);
	read_errors(&dir, &f->aer_fatal);
	read_link(&dir, f);
	read_resources(&dir, f);
	f->has_cdev = sysfs_exists(&dir, "vfio-dev");
	read_pf(inv, f);
	read_variant(inv, f);
}

void facts_read_device(
	struct inventory *inv, const struct device *dev, const char *vm, struct device_facts *f)
{
	const struct host_use_own own = {.vm = vm};

	*f = (struct device_facts){.dev = dev, .vm = vm, .is_blind = inv->blind};
	f->host_use = host_use_worst(inv, dev, &own, false);
	f->vm_use = host_use_worst(inv, dev, &own, true);
	if (dev->class == DEVICE_PCI)
		read_pci(inv, &own, f);
}
