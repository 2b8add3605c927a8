/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules about a device's IOMMU group, and about what keeps its members together. */
#include <string.h>

#include "daemon/binding.h"
#include "daemon/passthrough_plan.h"
#include "daemon/rules.h"

static bool no_group(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	/* Where there is an IOMMU, some kernels make the group when a driver asks for the device. */
	if (d->dev->class != DEVICE_PCI || d->group || f->host->iommu_count > 0)
		return false;
	binding_refuse_no_group(d->dev->id, e);
	return true;
}

static bool not_viable(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	for (size_t i = 0; i < d->member_count; i++) {
		const struct fact_member *m = &d->members[i];

		if (!m->blocks || (m->is_known && !m->is_bridge))
			continue;
		binding_refuse_viable(d->group->id, m->id, m->driver, BINDING_STAYS, e);
		return true;
	}
	return false;
}

static bool is_split(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;
	char names[200] = "";

	for (size_t i = 0; i < d->member_count; i++)
		if (d->members[i].is_known && !d->members[i].is_bridge)
			binding_name_companion(
				names, sizeof(names), d->members[i].id, d->members[i].driver);
	if (!names[0])
		return false;
	binding_refuse_split(d->group->id, d->dev->id, names, e);
	err_fix(e, "give the whole group: --allow GRP-SPLIT (attach), --group (bind)");
	return true;
}

static bool companion_is_used(const struct facts *f, struct err *e)
{
	const struct device_facts *d = f->dev;

	for (size_t i = 0; i < d->member_count; i++) {
		const struct fact_member *m = &d->members[i];

		if (!m->use || m->is_bridge || m->use->claim->kind == USE_VM)
			continue;
		host_use_refuse(m->id, m->use, e);
		err_wrap(e, "its IOMMU group goes to one owner");
		return true;
	}
	return false;
}

static bool unknown_type(const struct facts *f, struct err *e)
{
	const struct iommu_group *g = f->dev->group;

	if (!g || passthrough_type_is_known(g->type))
		return false;
	passthrough_refuse_type(g->id, g->type, e);
	return true;
}

/* --- why the group is as it is ---------------------------------------------------------------- */

static bool because(const struct facts *f, enum acs_kind kind, struct err *e)
{
	for (size_t i = 0; i < f->dev->why_count; i++) {
		const struct acs_finding *why = &f->dev->why[i];

		if (why->kind != kind)
			continue;
		err_evidence(e, "%s", why->evidence);
		return rule_says(e, "%s %s", why->device, why->what);
	}
	return false;
}

static bool acs_absent(const struct facts *f, struct err *e)
{
	return because(f, ACS_ABSENT, e);
}

static bool acs_off(const struct facts *f, struct err *e)
{
	return because(f, ACS_OFF, e);
}

static bool behind_bridge(const struct facts *f, struct err *e)
{
	return because(f, ACS_BRIDGE, e);
}

static bool functions_together(const struct facts *f, struct err *e)
{
	return because(f, ACS_FUNCTIONS, e);
}

static bool acs_unseen(const struct facts *f, struct err *e)
{
	return because(f, ACS_UNSEEN, e);
}

static bool acs_trusted(const struct facts *f, struct err *e)
{
	return because(f, ACS_TRUSTED, e);
}

static bool unexplained(const struct facts *f, struct err *e)
{
	return because(f, ACS_UNEXPLAINED, e);
}

/* --- addresses that the group cannot have ----------------------------------------------------- */

#define LOW_MEMORY_START 0x100000ull   /* where a guest's memory certainly is: from 1 MiB */
#define LOW_MEMORY_END   0x7fffffffull /* to 2 GiB */

static const struct iommu_region *find_region(const struct iommu_group *g, const char *type)
{
	for (size_t i = 0; g && i < g->region_count; i++)
		if (strcmp(g->regions[i].type, type) == 0)
			return &g->regions[i];
	return NULL;
}

static void show_region(const struct iommu_group *g, const struct iommu_region *r, struct err *e)
{
	err_evidence(e, "/sys/kernel/iommu_groups/%u/reserved_regions: 0x%llx-0x%llx %s", g->id,
		(unsigned long long)r->start, (unsigned long long)r->end, r->type);
}

static bool firmware_memory(const struct facts *f, struct err *e)
{
	const struct iommu_region *r = find_region(f->dev->group, "direct");

	if (!r)
		return false;
	show_region(f->dev->group, r, e);
	return rule_says(e, "the firmware itself uses %s to reach memory", f->dev->dev->id);
}

static bool firmware_memory_at_boot(const struct facts *f, struct err *e)
{
	const struct iommu_region *r = find_region(f->dev->group, "direct-relaxable");

	if (!r)
		return false;
	show_region(f->dev->group, r, e);
	return rule_says(
		e, "the firmware used %s to reach memory while the host booted", f->dev->dev->id);
}

static bool hole_in_memory(const struct facts *f, struct err *e)
{
	const struct iommu_group *g = f->dev->group;

	for (size_t i = 0; g && i < g->region_count; i++) {
		const struct iommu_region *r = &g->regions[i];

		if (strcmp(r->type, "reserved") != 0 || r->end < LOW_MEMORY_START ||
			r->start > LOW_MEMORY_END)
			continue;
		show_region(g, r, e);
		return rule_says(e, "addresses that the platform reserves lie where guests have "
				    "their memory");
	}
	return false;
}

static const struct rule rules[] = {
	{"GRP-NONE", RULE_PASSTHROUGH, RULE_CLOSES, no_group},
	{"GRP-VIABLE", RULE_PASSTHROUGH, RULE_CLOSES, not_viable},
	{"GRP-SPLIT", RULE_PASSTHROUGH, RULE_CLOSES, is_split},
	{"HOST-USE", RULE_PASSTHROUGH, RULE_CLOSES, companion_is_used},
	{"GRP-TYPE", RULE_PASSTHROUGH, RULE_CLOSES, unknown_type},
	{"DEV-RMRR", RULE_PASSTHROUGH, RULE_REFUSES, firmware_memory},
	{"RMRR-RELAXED", RULE_PASSTHROUGH, RULE_NOTES, firmware_memory_at_boot},
	{"GRP-HOLE", RULE_PASSTHROUGH, RULE_WARNS, hole_in_memory},
	{"ACS-ABSENT", RULE_PASSTHROUGH, RULE_WARNS, acs_absent},
	{"ACS-OFF", RULE_PASSTHROUGH, RULE_WARNS, acs_off},
	{"ACS-BRIDGE", RULE_PASSTHROUGH, RULE_WARNS, behind_bridge},
	{"ACS-FUNCTIONS", RULE_PASSTHROUGH, RULE_WARNS, functions_together},
	{"ACS-UNSEEN", RULE_PASSTHROUGH, RULE_WARNS, acs_unseen},
	{"ACS-TRUSTED", RULE_PASSTHROUGH, RULE_NOTES, acs_trusted},
	{"GRP-UNEXPLAINED", RULE_PASSTHROUGH, RULE_WARNS, unexplained},
};
const struct rule_table rules_groups = {rules, ARRAY_SIZE(rules)};
