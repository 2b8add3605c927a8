/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host as a whole: what of it works, and what the rules say of the rest. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/explain.h"
#include "lib/cleanup.h"

/* --- what works ------------------------------------------------------------------------------- */

#define DETAIL_MAX 160

/* Whether it works; `detail` is how, or what is there instead. */
typedef bool part_fn(const struct host_facts *h, char detail[static DETAIL_MAX]);

static bool part_kernel(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	snprintf(detail, DETAIL_MAX, "%s", h->release[0] ? h->release : "not known");
	return h->release[0];
}

static bool part_kvm(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	snprintf(detail, DETAIL_MAX, "%s", h->has_kvm_node ? "/dev/kvm" : "no /dev/kvm");
	return h->has_kvm_node;
}

static bool part_iommu(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	const char *kind = facts_iommu_kind(h);

	if (!kind)
		snprintf(detail, DETAIL_MAX, "none in use");
	else
		snprintf(detail, DETAIL_MAX, "%s, %zu units, %zu groups", kind, h->iommu_count,
			h->group_count);
	return kind;
}

static bool part_interrupts(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	snprintf(detail, DETAIL_MAX, "%s",
		h->remaps_interrupts ? "remapped"
		: h->interrupts_seen ? "not remapped"
				     : "not known");
	return h->remaps_interrupts || !h->is_x86;
}

static bool part_vfio(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	bool works = h->vfio_pci.is_available && (h->type1.is_available || h->has_iommu_node);

	snprintf(detail, DETAIL_MAX, "vfio-pci %s, type 1 %s, iommufd %s",
		h->vfio_pci.is_loaded      ? "loaded"
		: h->vfio_pci.is_available ? "can be loaded"
					   : "not found",
		h->type1.is_loaded      ? "loaded"
		: h->type1.is_available ? "can be loaded"
					: "not found",
		h->has_iommu_node         ? "there"
		: h->iommufd.is_available ? "can be loaded"
					  : "not found");
	return works;
}

static bool part_io_uring(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	bool off = h->io_uring_disabled.known && h->io_uring_disabled.value > 1;

	snprintf(detail, DETAIL_MAX, "%s", off ? "switched off" : "allowed");
	return !off;
}

static bool part_hugepages(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	if (h->hugepages.known && h->hugepages.value)
		snprintf(detail, DETAIL_MAX, "%llu of %llu KiB, %llu free",
			(unsigned long long)h->hugepages.value,
			(unsigned long long)h->hugepage_kib.value,
			(unsigned long long)h->hugepages_free.value);
	else
		snprintf(detail, DETAIL_MAX, "none set aside");
	return h->hugepages.known && h->hugepages.value;
}

static bool part_memlock(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	if (!h->memlock_bytes.known)
		snprintf(detail, DETAIL_MAX, "not known");
	else if (h->memlock_bytes.value == UINT64_MAX)
		snprintf(detail, DETAIL_MAX, "unlimited");
	else
		snprintf(detail, DETAIL_MAX, "%llu KiB",
			(unsigned long long)h->memlock_bytes.value >> 10);
	return h->memlock_bytes.known;
}

static bool part_faults(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	snprintf(detail, DETAIL_MAX, "%s",
		h->has_log          ? "the kernel's log can be read"
		: h->log_problem[0] ? h->log_problem
				    : "not known");
	return h->has_log;
}

static bool part_qemu(const struct host_facts *h, char detail[static DETAIL_MAX])
{
	snprintf(detail, DETAIL_MAX, "%s%s%s", h->qemu[0] ? h->qemu : "not installed",
		h->qemu_version[0] ? ", " : "", h->qemu_version);
	return h->qemu[0];
}

static const struct part {
	const char *what;
	part_fn *look;
} parts[] = {
	{"kernel", part_kernel},
	{"KVM", part_kvm},
	{"IOMMU", part_iommu},
	{"interrupts", part_interrupts},
	{"VFIO", part_vfio},
	{"io_uring", part_io_uring},
	{"hugepages", part_hugepages},
	{"locked memory", part_memlock},
	{"faults", part_faults},
	{"QEMU", part_qemu},
};

/* --- the answer ------------------------------------------------------------------------------- */

static void put_parts(const struct host_facts *h, struct json_out *o)
{
	char detail[DETAIL_MAX];

	json_out_array(o, "parts");
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		bool works = parts[i].look(h, detail);

		json_out_object(o, NULL);
		json_out_str(o, "what", parts[i].what);
		json_out_bool(o, "works", works);
		json_out_str(o, "detail", detail);
		json_out_end(o);
	}
	json_out_end(o);
}

static size_t count_problems(const struct findings *found)
{
	size_t count = 0;

	for (size_t i = 0; i < found->count; i++)
		count += found->at[i].weight != RULE_NOTES;
	return count;
}

struct checkup {
	struct host_facts host;
	struct findings found;
};

void explain_host(struct daemon *d, struct json_out *o, const char *key)
{
	auto_free struct checkup *c = calloc(1, sizeof(*c));
	const struct facts facts = {.host = &c->host};

	if (!c)
		return; /* the answer lacks the member, and the client says so */
	facts_read_host(d->inventory, &c->host);
	facts_read_programs(inventory_sysroot(d->inventory), &c->host);
	rules_judge(&facts, RULE_HOST, &c->found);
	json_out_object(o, key);
	json_out_u64(o, "problems", count_problems(&c->found));
	put_parts(&c->host, o);
	explain_put_findings(&c->found, o, "findings");
	json_out_end(o);
}
