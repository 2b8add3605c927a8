/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules about a device: who has it, whether it works, whether it can be made as new. */
#include <stdio.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/binding.h"
#include "daemon/passthrough_plan.h"
#include "daemon/rules.h"

#define RESOURCE_UNSET   0x20000000u /* the kernel's IORESOURCE_UNSET: it found no address */
#define DISK_MIN_BYTES   512
#define INTEL            0x8086
#define REACH_SMALL_BITS 32

/* --- who has it ------------------------------------------------------------------------------- */

static bool host_has_it(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if ((!d->host_use && !d->is_blind) || host_use_is_leg(d->host_use))
		return false;
	if (d->host_use)
		host_use_refuse(d->dev->id, d->host_use, e);
	else
		host_use_refuse_blind(d->dev->id, e);
	return true;
}

static bool is_leg(const struct facts *f, struct err *e)
{
	if (!host_use_is_leg(f->dev->host_use))
		return false;
	host_use_refuse(f->dev->dev->id, f->dev->host_use, e);
	return true;
}

static bool machine_has_it(const struct facts *f, struct err *e)
{
	if (!f->dev->vm_use)
		return false;
	host_use_refuse(f->dev->dev->id, f->dev->vm_use, e);
	return true;
}

static bool is_wedged(const struct facts *f, struct err *e)
{
	if (!f->dev->is_wedged)
		return false;
	binding_refuse_wedged(f->dev->dev->id, &f->dev->wedge, e);
	return true;
}

static bool has_console(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!d->boot_vga.known || !d->boot_vga.value || !d->dev->driver[0] ||
		bind_is_vfio(d->dev->driver))
		return false;
	err_evidence(
		e, "/sys/bus/pci/devices/%s/boot_vga: 1; driver: %s", d->dev->id, d->dev->driver);
	return rule_says(e, "%s shows the host's console", d->dev->id);
}

/* --- whether it works ------------------------------------------------------------------------- */

static bool is_dead(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!d->config.is_dead || strcmp(d->power_state, "D3cold") == 0)
		return false;
	err_evidence(e, "/sys/bus/pci/devices/%s/config: all ones; power_state: %s", d->dev->id,
		d->power_state[0] ? d->power_state : "not said");
	return rule_says(e, "%s does not answer", d->dev->id);
}

static bool is_off(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (strcmp(d->power_state, "D3cold") != 0 || !d->config.is_dead)
		return false;
	err_evidence(
		e, "/sys/bus/pci/devices/%s/power_state: D3cold; config: all ones", d->dev->id);
	return rule_says(e, "%s is without power, and does not answer", d->dev->id);
}

static bool had_errors(const struct facts *f, struct err *e)
{
	const struct fact_number *n = &f->dev->aer_fatal;

	if (!n->known || !n->value)
		return false;
	err_evidence(e, "/sys/bus/pci/devices/%s/aer_dev_fatal: TOTAL_ERR_FATAL %llu",
		f->dev->dev->id, (unsigned long long)n->value);
	return rule_says(e, "%s has reported fatal errors since the host booted", f->dev->dev->id);
}

static bool is_slow(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;
	double now = 0, most = 0;
	bool narrow = d->link_width.known && d->link_width_max.known && d->link_width.value &&
		      d->link_width.value < d->link_width_max.value;

	if (sscanf(d->link_speed, "%lf", &now) != 1 || sscanf(d->link_speed_max, "%lf", &most) != 1)
		now = most = 0;
	if (!narrow && now >= most)
		return false;
	err_evidence(e,
		"/sys/bus/pci/devices/%s/current_link_width and _speed: %llu, %s; max: %llu, %s",
		d->dev->id, (unsigned long long)d->link_width.value, d->link_speed,
		(unsigned long long)d->link_width_max.value, d->link_speed_max);
	return rule_says(e, "the link of %s is slower than it could be", d->dev->id);
}

static bool has_no_address(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	for (unsigned int i = 0; d->has_resource && i < FACTS_PCI_BARS; i++) {
		const struct fact_bar *b = &d->bars[i];

		if (!(b->flags & RESOURCE_UNSET) || b->end <= b->start)
			continue;
		err_evidence(e,
			"/sys/bus/pci/devices/%s/resource, line %u: 0x%llx bytes, flags "
			"0x%llx: no address",
			d->dev->id, i + 1, (unsigned long long)(b->end - b->start + 1),
			(unsigned long long)b->flags);
		return rule_says(e, "BAR %u of %s has no address", i, d->dev->id);
	}
	return false;
}

static bool reaches_little(const struct facts *f, struct err *e)
{
	const struct fact_number *n = &f->dev->dma_mask_bits;

	/* Before a driver has said what the device can do, every device has 32 bits. */
	if (!n->known || n->value > REACH_SMALL_BITS || !f->dev->dev->driver[0] ||
		bind_is_vfio(f->dev->dev->driver))
		return false;
	err_evidence(e, "/sys/bus/pci/devices/%s/dma_mask_bits: %llu, by the driver %s",
		f->dev->dev->id, (unsigned long long)n->value, f->dev->dev->driver);
	return rule_says(e, "%s reaches %llu bits of address", f->dev->dev->id,
		(unsigned long long)n->value);
}

/* --- whether VFIO takes it -------------------------------------------------------------------- */

/* vfio-pci's own list of devices that a machine could harm the host with. */
static const uint16_t denied[] = {0x0435, 0x0443, 0x19e2, 0x19e3, 0x37c8, 0x37c9};

static bool is_denied(const struct facts *f, struct err *e)
{
	const struct device *d = f->dev->dev;

	if (d->class != DEVICE_PCI || d->pci.vendor != INTEL || f->host->denylist_off)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++) {
		if (d->pci.device != denied[i])
			continue;
		err_evidence(e,
			"/sys/bus/pci/devices/%s/device: 0x%04x; disable_denylist of "
			"vfio_pci: N",
			d->id, d->pci.device);
		return rule_says(e, "vfio-pci refuses devices such as %s", d->id);
	}
	return false;
}

static bool cannot_be_reset(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (d->dev->class != DEVICE_PCI || d->reset_way[0] || d->dev->pci.is_bridge)
		return false;
	passthrough_refuse_no_reset(d->dev->id, e);
	return true;
}

static bool no_cdev(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!f->host->has_iommu_node || !bind_is_vfio(d->dev->driver) || d->has_cdev)
		return false;
	err_evidence(e, "/dev/iommu: there; /sys/bus/pci/devices/%s/vfio-dev: missing", d->dev->id);
	return rule_says(e, "the kernel has iommufd, but no node of its own for %s", d->dev->id);
}

static bool has_variant(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!d->vfio_driver[0] || strcmp(d->vfio_driver, "vfio-pci") == 0)
		return false;
	err_evidence(e, "modules.alias: vfio_pci:... of %s fits %s", d->vfio_driver, d->dev->id);
	return rule_says(
		e, "its maker's VFIO driver %s is taken for %s", d->vfio_driver, d->dev->id);
}

static bool driver_holds(const struct facts *f, struct err *e)
{
	if (strcmp(f->dev->dev->driver, "nvidia") != 0)
		return false;
	err_evidence(e, "/sys/bus/pci/devices/%s/driver: nvidia", f->dev->dev->id);
	return rule_says(
		e, "the driver of %s lets go only when no program uses it", f->dev->dev->id);
}

/* --- paths ------------------------------------------------------------------------------------ */

static bool fits_not(const struct facts *f, enum attachment_path path, struct err *e)
{
	const struct device *d = f->dev->dev;

	if (attach_paths[path]->fits(d))
		return false;
	err_evidence(e, "it is a %s device", device_class_names[d->class]);
	return rule_says(
		e, "%s is for %s", attachment_path_names[path], attach_paths[path]->fits_what);
}

static bool no_passthrough(const struct facts *f, struct err *e)
{
	return fits_not(f, ATTACHMENT_PASSTHROUGH, e);
}

static bool no_paravirt(const struct facts *f, struct err *e)
{
	return fits_not(f, ATTACHMENT_PARAVIRT, e);
}

static bool no_emulated(const struct facts *f, struct err *e)
{
	return fits_not(f, ATTACHMENT_EMULATED, e);
}

static bool is_disk(const struct device *d, uint64_t *size_bytes)
{
	*size_bytes = d->class == DEVICE_BLOCK  ? d->block.size_bytes
		      : d->class == DEVICE_FILE ? d->file.size_bytes
						: 0;
	return d->class == DEVICE_BLOCK || d->class == DEVICE_FILE;
}

static bool is_empty(const struct facts *f, struct err *e)
{
	uint64_t size;

	if (!is_disk(f->dev->dev, &size) || size >= DISK_MIN_BYTES)
		return false;
	if (f->dev->dev->class == DEVICE_BLOCK)
		err_evidence(e, "/sys/class/block/%s/size: %llu", f->dev->dev->id,
			(unsigned long long)size / DISK_MIN_BYTES);
	else
		err_evidence(e, "%s: %llu bytes", f->dev->dev->id, (unsigned long long)size);
	return rule_says(e, "%s has no room for a sector", f->dev->dev->id);
}

static bool is_readonly(const struct facts *f, struct err *e)
{
	const struct device *d = f->dev->dev;

	if (d->class != DEVICE_BLOCK || !d->block.read_only)
		return false;
	err_evidence(e, "/sys/class/block/%s/ro: 1", d->id);
	err_fix(e, "attach it with --readonly");
	return rule_says(e, "%s cannot be written to", d->id);
}

static bool is_removable(const struct facts *f, struct err *e)
{
	const struct device *d = f->dev->dev;

	if (d->class != DEVICE_BLOCK || !d->block.removable)
		return false;
	err_evidence(e, "/sys/class/block/%s/removable: 1", d->id);
	return rule_says(e, "the medium of %s can be taken out", d->id);
}

#define ALL_PATHS (RULE_PASSTHROUGH | RULE_PARAVIRT | RULE_EMULATED)

static const struct rule rules[] = {
	{"PATH", RULE_PASSTHROUGH, RULE_CLOSES, no_passthrough},
	{"PATH", RULE_PARAVIRT, RULE_CLOSES, no_paravirt},
	{"PATH", RULE_EMULATED, RULE_CLOSES, no_emulated},
	{"HOST-USE", ALL_PATHS, RULE_CLOSES, host_has_it},
	{"HOST-LEG", ALL_PATHS, RULE_CLOSES, is_leg},
	{"DEV-TAKEN", ALL_PATHS, RULE_CLOSES, machine_has_it},
	{"DEV-WEDGED", ALL_PATHS, RULE_CLOSES, is_wedged},
	{"DEV-DEAD", RULE_PASSTHROUGH, RULE_REFUSES, is_dead},
	{"VFIO-DENYLIST", RULE_PASSTHROUGH, RULE_REFUSES, is_denied},
	{"HOST-CONSOLE", RULE_PASSTHROUGH, RULE_REFUSES, has_console},
	{"DEV-NO-RESET", RULE_PASSTHROUGH, RULE_CLOSES, cannot_be_reset},
	{"DEV-EMPTY", RULE_PARAVIRT | RULE_EMULATED, RULE_CLOSES, is_empty},
	{"DEV-READONLY", RULE_PARAVIRT | RULE_EMULATED, RULE_CLOSES, is_readonly},
	{"DEV-ASLEEP", RULE_PASSTHROUGH, RULE_WARNS, is_off},
	{"DEV-BAR", RULE_PASSTHROUGH, RULE_WARNS, has_no_address},
	{"DEV-AER", RULE_PASSTHROUGH, RULE_WARNS, had_errors},
	{"DEV-LINK-SLOW", RULE_PASSTHROUGH, RULE_WARNS, is_slow},
	{"DEV-DMA-MASK", RULE_PASSTHROUGH, RULE_WARNS, reaches_little},
	{"DEV-REMOVABLE", RULE_PARAVIRT, RULE_WARNS, is_removable},
	{"DRV-HOLDS", RULE_PASSTHROUGH, RULE_WARNS, driver_holds},
	{"DRV-VARIANT", RULE_PASSTHROUGH, RULE_NOTES, has_variant},
	{"VFIO-NO-CDEV", RULE_PASSTHROUGH, RULE_NOTES, no_cdev},
};
const struct rule_table rules_devices = {rules, ARRAY_SIZE(rules)};
