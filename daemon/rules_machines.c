/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules about the machine that is to have a device: a libvirt domain. */
#include "daemon/domain_xml.h"
#include "daemon/rules.h"

static const char *definition(const struct machine_facts *m)
{
	return m->is_live ? "its running definition" : "its definition";
}

static bool memory_is_its_own(const struct facts *f, struct err *e)
{
	const struct machine_facts *m = f->machine;

	if (m->shares_memory)
		return false;
	err_evidence(e, "%s has no <access mode='shared'/> in <memoryBacking>", definition(m));
	err_fix(e, "%s: %s%s",
		m->is_live ? "shut it down, then put into its definition"
			   : "put into its definition",
		domain_xml_sharing, m->is_live ? "" : ", or attach with --fix");
	return rule_says(e, "the memory of the machine is not shared with other processes");
}

static bool has_no_bus(const struct facts *f, struct err *e)
{
	if (f->machine->bus != MACHINE_NO_PCI)
		return false;
	err_evidence(e, "%s: <type machine='%s'>", definition(f->machine), f->machine->type);
	return rule_says(e, "a machine of type %s has no PCI", f->machine->type);
}

static bool has_old_bus(const struct facts *f, struct err *e)
{
	if (f->machine->bus != MACHINE_PCI)
		return false;
	err_evidence(e, "%s: <type machine='%s'>", definition(f->machine), f->machine->type);
	return rule_says(e, "a machine of type %s has no PCI Express", f->machine->type);
}

/* One that does not run gets another port when it is defined. */
static bool has_no_port(const struct facts *f, struct err *e)
{
	const struct machine_facts *m = f->machine;

	if (!m->is_live || m->bus != MACHINE_PCIE || !m->ports || m->free_ports)
		return false;
	err_evidence(e, "%s: %u controllers of model pcie-root-port, each with a device",
		definition(m), m->ports);
	return rule_says(e, "the machine runs, and has no free port to plug a device into");
}

static bool may_lock_too_little(const struct facts *f, struct err *e)
{
	const struct machine_facts *m = f->machine;

	if (!m->limit_kib || !m->memory_kib || m->limit_kib >= m->memory_kib)
		return false;
	err_evidence(e, "%s: <hard_limit> %llu KiB, <memory> %llu KiB", definition(m),
		(unsigned long long)m->limit_kib, (unsigned long long)m->memory_kib);
	return rule_says(e, "the machine may not lock as much memory as it has");
}

static bool has_more_than_host(const struct facts *f, struct err *e)
{
	const struct machine_facts *m = f->machine;
	const struct fact_number *host = &f->host->memory_kib;

	if (!host->known || !m->memory_kib || m->memory_kib < host->value)
		return false;
	err_evidence(e, "%s: <memory> %llu KiB; /proc/meminfo: MemTotal: %llu kB", definition(m),
		(unsigned long long)m->memory_kib, (unsigned long long)host->value);
	return rule_says(e, "the machine has more memory than the host, which cannot lock it");
}

static bool has_balloon(const struct facts *f, struct err *e)
{
	if (!f->machine->has_balloon)
		return false;
	err_evidence(e, "%s has a <memballoon>", definition(f->machine));
	return rule_says(e, "the machine's balloon gives no memory back any more");
}

static const struct rule rules[] = {
	{"VM-SHMEM", RULE_VM_PARAVIRT, RULE_REFUSES, memory_is_its_own},
	{"VM-NO-PCI", RULE_VM_PASSTHROUGH | RULE_VM_PARAVIRT, RULE_REFUSES, has_no_bus},
	{"VM-PORTS", RULE_VM_PASSTHROUGH | RULE_VM_PARAVIRT, RULE_REFUSES, has_no_port},
	{"VM-LOCK", RULE_VM_PASSTHROUGH, RULE_REFUSES, may_lock_too_little},
	{"VM-MEMORY", RULE_VM_PASSTHROUGH, RULE_REFUSES, has_more_than_host},
	{"VM-MACHINE", RULE_VM_PASSTHROUGH, RULE_WARNS, has_old_bus},
	{"VM-BALLOON", RULE_VM_PASSTHROUGH, RULE_NOTES, has_balloon},
};
const struct rule_table rules_machines = {rules, ARRAY_SIZE(rules)};
