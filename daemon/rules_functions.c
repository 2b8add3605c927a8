/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules about virtual functions, and about moving to another host. */
#include <string.h>

#include "daemon/binding.h"
#include "daemon/rules.h"
#include "lib/pci.h"

#define RESOURCE_UNSET 0x20000000u

/* --- making them ------------------------------------------------------------------------------ */

static bool no_capability(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (d->dev->class == DEVICE_PCI && (d->sriov_total.known || d->config.sriov_at))
		return false;
	if (d->dev->class == DEVICE_PCI)
		err_evidence(e, "/sys/bus/pci/devices/%s/sriov_totalvfs: missing", d->dev->id);
	return rule_says(e, "%s cannot have virtual functions", d->dev->id);
}

static bool firmware_off(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!d->sriov_total.known || d->sriov_total.value)
		return false;
	err_evidence(e, "/sys/bus/pci/devices/%s/sriov_totalvfs: 0", d->dev->id);
	return rule_says(e, "%s was set up to have no virtual functions", d->dev->id);
}

static bool kernel_off(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!d->config.sriov_at || d->sriov_total.known)
		return false;
	err_evidence(e, "/sys/bus/pci/devices/%s/config, 0x%x: SR-IOV; sriov_totalvfs: missing",
		d->dev->id, d->config.sriov_at);
	return rule_says(
		e, "the kernel makes no virtual functions of %s, which can have them", d->dev->id);
}

static bool no_driver(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!d->sriov_total.known || !d->sriov_total.value || d->dev->driver[0])
		return false;
	err_evidence(e, "/sys/bus/pci/devices/%s/driver: missing", d->dev->id);
	return rule_says(e, "%s has no driver, which would make virtual functions", d->dev->id);
}

/* A BAR of the VFs that has a size and no address. */
static bool no_memory_space(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!d->has_resource || !d->sriov_total.known || !d->sriov_total.value)
		return false;
	for (unsigned int i = 0; i < FACTS_PCI_VF_BARS; i++) {
		const struct fact_bar *b = &d->vf_bars[i];

		if (b->end <= b->start || (b->start && !(b->flags & RESOURCE_UNSET)))
			continue;
		err_evidence(e,
			"/sys/bus/pci/devices/%s/resource, line %u: 0x%llx bytes, flags "
			"0x%llx: no address",
			d->dev->id, FACTS_PCI_BARS + 2 + i,
			(unsigned long long)(b->end - b->start + 1), (unsigned long long)b->flags);
		return rule_says(
			e, "there is no address space for the virtual functions of %s", d->dev->id);
	}
	return false;
}

/* The last VF's bus, which must be among those that the bridge above has. */
static bool no_bus(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;
	const struct pci_config *c = &d->config;
	struct pci_addr addr;
	uint32_t last;

	if (!c->sriov_at || !c->sriov_total || !d->bridge.has_header || !d->bridge.is_bridge ||
		!pci_addr_parse(d->dev->id, &addr))
		return false;
	last = (uint32_t)(addr.slot << 3 | addr.function) + c->sriov_offset +
	       (uint32_t)c->sriov_stride * (c->sriov_total - 1u);
	last = addr.bus + (last >> 8);
	if (last <= d->bridge.subordinate)
		return false;
	err_evidence(e,
		"%s, SR-IOV: offset %u, stride %u, %u VFs end on bus 0x%02x; bridge %s: "
		"buses to 0x%02x",
		d->dev->id, c->sriov_offset, c->sriov_stride, c->sriov_total, last, d->bridge_id,
		d->bridge.subordinate);
	return rule_says(
		e, "there are too few bus numbers for all virtual functions of %s", d->dev->id);
}

static bool has_some(const struct facts *f, struct err *e)
{
	return f->dev->dev->class == DEVICE_PCI && binding_check_functions(f->dev->dev, e) < 0;
}

/* --- using one -------------------------------------------------------------------------------- */

static bool pf_link_down(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (!d->pf_interface[0] || strcmp(d->pf_state, "down") != 0)
		return false;
	err_evidence(e, "/sys/class/net/%s/operstate: %s", d->pf_interface, d->pf_state);
	err_fix(e, "ip link set %s up, and plug a cable in", d->pf_interface);
	return rule_says(e, "the interface %s of its physical function is down", d->pf_interface);
}

/* --- moving ----------------------------------------------------------------------------------- */

static bool stays_here(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	if (d->dev->class != DEVICE_PCI ||
		(d->vfio_driver[0] && strcmp(d->vfio_driver, "vfio-pci") != 0))
		return false;
	err_evidence(e, "%s: no other VFIO driver than vfio-pci fits", d->dev->id);
	return rule_says(e, "a machine that has %s stays on this host", d->dev->id);
}

static const struct rule rules[] = {
	{"SRIOV-NONE", RULE_VFS, RULE_CLOSES, no_capability},
	{"SRIOV-FIRMWARE", RULE_VFS, RULE_CLOSES, firmware_off},
	{"SRIOV-KERNEL", RULE_VFS, RULE_CLOSES, kernel_off},
	{"SRIOV-NO-DRIVER", RULE_VFS, RULE_CLOSES, no_driver},
	{"SRIOV-NO-MMIO", RULE_VFS, RULE_CLOSES, no_memory_space},
	{"SRIOV-NO-BUS", RULE_VFS, RULE_WARNS, no_bus},
	{"PF-IN-USE", RULE_PASSTHROUGH, RULE_CLOSES, has_some},
	{"PF-LINK-DOWN", RULE_PASSTHROUGH, RULE_WARNS, pf_link_down},
	{"DEV-STAYS", RULE_MOVE, RULE_NOTES, stays_here},
};
const struct rule_table rules_functions = {rules, ARRAY_SIZE(rules)};
