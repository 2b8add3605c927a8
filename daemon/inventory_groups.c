/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. IOMMU groups are part of the model, since a host may have thousands. The
 * kernel has no message for them: what changes a group changes one of its devices, and that does
 * have one. A device that changed marks its group (before and after) to be read again; a group that
 * came or went is seen in the list of their numbers, which each answer reads. A group with members
 * that are not in the inventory (no PCI functions) is read for each answer.
 *
 * What only `type` shows (a write by somebody else) has no message either: whoever decides, and
 * whoever asks for one group, has it read again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/inventory_model.h"
#include "lib/iommu/acs.h"
#include "lib/iommu/group.h"
#include "lib/iommu/stream.h"
#include "lib/log.h"

#define GROUPS        "/sys/kernel/iommu_groups"
#define EXPLAINED_MAX 256 /* members whose ways are read: those beyond have the same reasons */
#define PARENTS_MAX   8   /* from a partition to its PCI function */

struct inv_group {
	struct iommu_group facts;
	bool stale, gone;
	bool foreign;            /* has members that the inventory does not have */
	struct acs_finding *why; /* of one with several members */
	size_t why_count;
	char *json; /* as `list` shows it; NULL when it must be written again */
	size_t json_len;
};

/* --- the array -------------------------------------------------------------------------------- */

static void forget_facts(struct inv_group *g)
{
	iommu_group_release(&g->facts);
	free(g->why);
	free(g->json);
	g->why = NULL;
	g->why_count = 0;
	g->json = NULL;
}

static void group_free(struct inv_group *g)
{
	forget_facts(g);
	free(g);
}

void inv_groups_free(struct inventory *inv)
{
	for (size_t i = 0; i < inv->group_count; i++)
		group_free(inv->groups[i]);
	free(inv->groups);
	inv->groups = NULL;
	inv->group_count = 0;
}

static struct inv_group *group_find(const struct inventory *inv, int64_t id)
{
	size_t low = 0, high = inv->group_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (inv->groups[middle]->facts.id < id)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < inv->group_count && inv->groups[low]->facts.id == id)
		return inv->groups[low];
	return NULL;
}

void inv_groups_touch(struct inventory *inv, const struct device *d)
{
	struct inv_group *g = d->iommu_group >= 0 ? group_find(inv, d->iommu_group) : NULL;

	if (g)
		g->stale = true;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Of a live host only what is known by now: reading it may wait for the device. */
void inv_config_of(void *arg, const char *id, struct pci_config *c)
{
	struct inventory *inv = arg;
	const struct inv_node *node;

	if (!sysroot_is_live(inv->root)) {
		pci_config_read(inv->root, id, c);
		return;
	}
	node = inv_find(inv, DEVICE_PCI, id);
	*c = (struct pci_config){.port = PCI_PORT_UNKNOWN};
	if (node && node->config.has_header)
		*c = node->config;
}

size_t inventory_unread_configs(struct inventory *inv, const char **ids, size_t max)
{
	size_t count = 0;

	for (size_t i = inv_first(inv, DEVICE_PCI);
		sysroot_is_live(inv->root) && count < max && i < inv->node_count; i++) {
		struct inv_node *node = inv->nodes[i];

		if (node->dev->class != DEVICE_PCI)
			break;
		if (node->config_asked)
			continue;
		node->config_asked = true;
		ids[count++] = node->dev->id;
	}
	return count;
}

void inventory_put_config(struct inventory *inv, const char *id, const struct pci_config *c)
{
	struct inv_node *node = inv_find(inv, DEVICE_PCI, id);

	if (!node)
		return;
	node->config = c ? *c : (struct pci_config){.has_header = false};
	inv->reasons_stale = true;
}

/* The ways up from the members that are PCI functions; NULL if there are none (or no memory). */
static struct pci_path *read_paths(
	const struct inventory *inv, const struct iommu_group *group, size_t *count)
{
	struct pci_path *paths = calloc(MIN(group->member_count, EXPLAINED_MAX), sizeof(*paths));

	*count = 0;
	for (size_t i = 0; paths && i < group->member_count && *count < EXPLAINED_MAX; i++)
		if (pci_path_read(inv->root, group->members[i].id, inv_config_of, (void *)inv,
			    &paths[*count], NULL) == 0)
			++*count;
	return paths;
}

static void explain(const struct inventory *inv, struct inv_group *g)
{
	auto_free struct pci_path *paths = NULL;
	size_t count;

	paths = read_paths(inv, &g->facts, &count);
	free(g->why);
	free(g->json);
	g->json = NULL;
	g->why_count = 0;
	g->why = calloc(ACS_MAX_FINDINGS, sizeof(*g->why));
	if (g->why)
		g->why_count = acs_explain(g->facts.id, paths, count, g->why, ACS_MAX_FINDINGS);
}

/* A member whose facts are from before it had this group is read again. */
static void check_members(struct inventory *inv, struct inv_group *g)
{
	g->foreign = false;
	for (size_t i = 0; i < g->facts.member_count; i++) {
		const struct inv_node *node = inv_find(inv, DEVICE_PCI, g->facts.members[i].id);

		g->foreign = g->foreign || !node;
		if (node && node->dev->iommu_group != g->facts.id)
			inv_update(inv, DEVICE_PCI, g->facts.members[i].id);
	}
}

static void group_read(struct inventory *inv, struct inv_group *g)
{
	uint32_t id = g->facts.id;
	char text[16];
	struct err e = ERR_INIT;

	forget_facts(g);
	snprintf(text, sizeof(text), "%u", id);
	if (iommu_group_read(inv->root, text, &g->facts, &e) < 0) {
		if (e.kind != ERR_NOT_FOUND)
			log_warning("inventory: left out: %s", e.msg);
		g->facts.id = id;
		g->gone = true;
		return;
	}
	g->stale = false;
	if (g->facts.member_count > 1)
		explain(inv, g);
	check_members(inv, g);
}

/* The number that a name says, if it is what the kernel writes. */
static bool number_of(const char *name, uint32_t *id)
{
	uint64_t number;

	if (parse_u64(name, INT32_MAX, &number) < 0 || (name[0] == '0' && name[1]))
		return false;
	*id = (uint32_t)number;
	return true;
}

/* A group that is new in the list. */
static struct inv_group *group_new(uint32_t id)
{
	struct inv_group *g = calloc(1, sizeof(*g));

	if (g) {
		g->facts.id = id;
		g->stale = true;
	}
	return g;
}

/* Makes the array that of these numbers; both are in their order. */
static int merge(struct inventory *inv, const struct name_list *ids)
{
	struct inv_group **groups = calloc(MAX(ids->count, 1), sizeof(struct inv_group *));
	size_t old = 0, count = 0;
	uint32_t id;

	if (!groups)
		return -ENOMEM;
	for (size_t i = 0; i < ids->count; i++) {
		if (!number_of(ids->names[i], &id))
			continue;
		while (old < inv->group_count && inv->groups[old]->facts.id < id)
			group_free(inv->groups[old++]);
		if (old < inv->group_count && inv->groups[old]->facts.id == id)
			groups[count] = inv->groups[old++];
		else
			groups[count] = group_new(id);
		count += groups[count] != NULL;
	}
	while (old < inv->group_count)
		group_free(inv->groups[old++]);
	free(inv->groups);
	inv->groups = groups;
	inv->group_count = count;
	return 0;
}

static void drop_gone(struct inventory *inv)
{
	size_t kept = 0;

	for (size_t i = 0; i < inv->group_count; i++) {
		if (inv->groups[i]->gone)
			group_free(inv->groups[i]);
		else
			inv->groups[kept++] = inv->groups[i];
	}
	inv->group_count = kept;
}

void inv_groups_settle(struct inventory *inv)
{
	auto_names struct name_list ids = {0};
	int rc = iommu_group_list(inv->root, &ids);

	if (rc == 0 || rc == -ENOENT) /* a host without an IOMMU has no groups */
		rc = merge(inv, &ids);
	if (rc < 0)
		log_warning("inventory: list %s: %s", GROUPS, strerror(-rc));
	for (size_t i = 0; i < inv->group_count; i++)
		if (inv->groups[i]->stale || inv->groups[i]->foreign)
			group_read(inv, inv->groups[i]);
	drop_gone(inv);
	for (size_t i = 0; inv->reasons_stale && i < inv->group_count; i++)
		if (inv->groups[i]->facts.member_count > 1)
			explain(inv, inv->groups[i]);
	inv->reasons_stale = false;
}

size_t inv_group_reasons(
	const struct inventory *inv, uint32_t id, struct acs_finding *found, size_t max)
{
	const struct inv_group *g = group_find(inv, id);
	auto_free struct pci_path *paths = NULL;
	size_t count;

	if (!g)
		return 0;
	if (g->why) {
		count = MIN(g->why_count, MIN(max, ACS_MAX_FINDINGS));
		memcpy(found, g->why, count * sizeof(*found));
		return count;
	}
	paths = read_paths(inv, &g->facts, &count); /* of one member: not kept */
	return paths ? MIN(acs_explain(id, paths, count, found, max), max) : 0;
}

/* --- for decisions ---------------------------------------------------------------------------- */

const struct iommu_group *inventory_group(struct inventory *inv, uint32_t id, struct err *e)
{
	struct inv_group *g;

	g = group_find(inv, id);
	if (g)
		g->stale = true;
	inv_groups_settle(inv);
	g = group_find(inv, id);
	if (g)
		return &g->facts;
	err_set(e, ERR_NOT_FOUND, "NO-SUCH", "there is no IOMMU group %u", id);
	err_evidence(e, GROUPS " has %zu groups", inv->group_count);
	return NULL;
}

size_t inventory_count_groups(struct inventory *inv, const char *type)
{
	size_t count = 0;

	inv_groups_settle(inv);
	for (size_t i = 0; i < inv->group_count; i++)
		count += !type || strcmp(inv->groups[i]->facts.type, type) == 0;
	return count;
}

/* The PCI function that d is, or is on; NULL if there is none. */
static const struct device *pci_below(struct inventory *inv, const struct device *d)
{
	for (unsigned int i = 0; i < PARENTS_MAX && d && d->class != DEVICE_PCI; i++) {
		const struct inv_node *node =
			d->parent[0] ? inv_find(inv, DEVICE_PCI, d->parent) : NULL;

		if (!node && d->parent[0])
			node = inv_find(inv, DEVICE_BLOCK, d->parent);
		d = node ? node->dev : NULL;
	}
	return d && d->class == DEVICE_PCI ? d : NULL;
}

/* Why a device has none, as far as it can be seen. */
static int refuse_no_group(const struct inventory *inv, const struct device *d, struct err *e)
{
	err_set(e, ERR_REFUSED, "GRP-NONE", "%s has no IOMMU group", d->id);
	if (inv->group_count == 0) {
		err_evidence(e, GROUPS " is empty: the kernel uses no IOMMU");
		return err_fix(e,
			"switch the IOMMU on in the firmware, and boot with intel_iommu=on "
			"where the kernel wants it");
	}
	err_evidence(e,
		"/sys/bus/pci/devices/%s has no iommu_group; %zu groups there are have "
		"other devices",
		d->id, inv->group_count);
	return err_fix(e,
		"on some hosts a device gets its group only when a driver probes it: load "
		"one (iovctl bind %s vfio-pci), and see the kernel's log",
		d->id);
}

const struct iommu_group *inventory_group_of(
	struct inventory *inv, const struct device *d, struct err *e)
{
	const struct device *pci = pci_below(inv, d);

	if (!pci) {
		err_set(e, ERR_REFUSED, "GRP-NONE", "%s is on no PCI function", d->id);
		err_fix(e, "IOMMU groups are made of what is on a bus, such as PCI functions");
		return NULL;
	}
	if (pci->iommu_group < 0)
		inv_groups_settle(inv); /* it may have come since */
	pci = pci_below(inv, d);
	if (pci && pci->iommu_group >= 0)
		return inventory_group(inv, (uint32_t)pci->iommu_group, e);
	if (pci)
		refuse_no_group(inv, pci, e);
	return NULL;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void put_regions(struct json_out *o, const struct iommu_group *group)
{
	json_out_array(o, "reserved_regions");
	for (size_t i = 0; i < group->region_count; i++) {
		json_out_object(o, NULL);
		json_out_hex(o, "start", group->regions[i].start);
		json_out_hex(o, "end", group->regions[i].end);
		json_out_str(o, "type", group->regions[i].type);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_blockers(struct json_out *o, const struct iommu_group *group)
{
	json_out_array(o, "blockers");
	for (size_t i = 0; i < group->member_count; i++) {
		if (!group->members[i].blocks)
			continue;
		json_out_object(o, NULL);
		json_out_str(o, "device", group->members[i].id);
		json_out_str(o, "driver", group->members[i].driver);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_reason(struct json_out *o, const char *kind, const char *device, const char *what,
	const char *evidence)
{
	json_out_object(o, NULL);
	json_out_str(o, "kind", kind);
	json_out_str(o, "device", device);
	json_out_str(o, "what", what);
	json_out_str(o, "evidence", evidence);
	json_out_end(o);
}

static void put_findings(struct json_out *o, const struct acs_finding *found, size_t count)
{
	json_out_array(o, "why");
	for (size_t i = 0; i < count; i++)
		put_reason(o, acs_kind_names[found[i].kind], found[i].device, found[i].what,
			found[i].evidence);
	json_out_end(o);
}

static void put_list_members(struct json_out *o, const struct iommu_group *group)
{
	json_out_u64(o, "id", group->id);
	json_out_str(o, "type", group->type[0] ? group->type : NULL);
	json_out_array(o, "devices");
	for (size_t i = 0; i < group->member_count; i++)
		json_out_str(o, NULL, group->members[i].id);
	json_out_end(o);
	json_out_bool(o, "viable", iommu_group_is_viable(group));
	put_blockers(o, group);
	json_out_str(o, "iommu", group->iommu[0] ? group->iommu : NULL);
	put_regions(o, group);
}

/* What the IOMMU does with its streams; NULL while a VFIO driver has a member: its owner decides. */
static const char *context_of(const struct iommu_group *group)
{
	for (size_t i = 0; i < group->member_count; i++)
		if (strstr(group->members[i].driver, "vfio"))
			return NULL;
	return stream_context(group->type);
}

static void put_streams(const struct inventory *inv, struct json_out *o,
	const struct pci_path *path, const struct iommu_group *group)
{
	struct streams s;

	streams_read(inv->root, path, &s);
	for (size_t i = 0; i < s.count; i++) {
		const struct stream *stream = &s.at[i];

		json_out_object(o, NULL);
		json_out_str(o, "device", path->at[0].id);
		json_out_fmt(o, "requester_id", "0x%04x", stream->requester);
		if (stream->has_stream_id)
			json_out_hex(o, "stream_id", stream->stream_id);
		else
			json_out_null(o, "stream_id");
		json_out_str(o, "context", group ? context_of(group) : NULL);
		if (stream->via[0])
			json_out_str(o, "via", stream->via);
		if (stream->has_stream_id)
			json_out_str(o, "evidence", stream->source);
		if (i == 0 && s.phantoms)
			json_out_u64(o, "phantom_functions", s.phantoms);
		json_out_end(o);
	}
}

static void put_why(
	struct json_out *o, const struct inv_group *g, const struct pci_path *paths, size_t count)
{
	struct acs_finding own[ACS_MAX_FINDINGS];

	if (g->why)
		put_findings(o, g->why, g->why_count);
	else
		put_findings(o, own, acs_explain(g->facts.id, paths, count, own, ARRAY_SIZE(own)));
}

static void put_group(
	const struct inventory *inv, const struct inv_group *g, struct json_out *o, const char *key)
{
	auto_free struct pci_path *paths = NULL;
	size_t count;

	paths = read_paths(inv, &g->facts, &count);
	json_out_object(o, key);
	put_list_members(o, &g->facts);
	put_why(o, g, paths, count);
	json_out_array(o, "streams");
	for (size_t i = 0; i < count; i++)
		put_streams(inv, o, &paths[i], &g->facts);
	json_out_end(o);
	json_out_end(o);
}

int inventory_put_group(
	struct inventory *inv, uint32_t id, struct json_out *o, const char *key, struct err *e)
{
	if (!inventory_group(inv, id, e))
		return -1;
	put_group(inv, group_find(inv, id), o, key);
	return 0;
}

static void write_json(struct inv_group *g)
{
	struct json_out text;

	json_out_init(&text);
	json_out_object(&text, NULL);
	put_list_members(&text, &g->facts);
	put_findings(&text, g->why, g->why_count);
	json_out_end(&text);
	g->json = json_out_finish(&text, &g->json_len);
}

void inventory_put_groups(struct inventory *inv, struct json_out *o, const char *key)
{
	inv_groups_settle(inv);
	json_out_array(o, key);
	for (size_t i = 0; i < inv->group_count; i++) {
		struct inv_group *g = inv->groups[i];

		if (!g->json)
			write_json(g);
		if (g->json)
			json_out_raw(o, NULL, g->json, g->json_len);
	}
	json_out_end(o);
}

static void put_why_no_group(
	const struct inventory *inv, const struct device *d, struct json_out *o)
{
	struct err e = ERR_INIT;

	refuse_no_group(inv, d, &e);
	json_out_array(o, "why");
	put_reason(o, "no_group", d->id, "has no IOMMU group", e.evidence);
	json_out_end(o);
}

void inv_put_group_facts(const struct inventory *inv, const struct device *d, struct json_out *o)
{
	const struct inv_group *g = d->iommu_group >= 0 ? group_find(inv, d->iommu_group) : NULL;
	struct pci_path path;

	if (d->class != DEVICE_PCI ||
		pci_path_read(inv->root, d->id, inv_config_of, (void *)inv, &path, NULL) < 0)
		return;
	json_out_array(o, "streams");
	put_streams(inv, o, &path, g ? &g->facts : NULL);
	json_out_end(o);
	if (g)
		put_why(o, g, &path, 1);
	else
		put_why_no_group(inv, d, o);
}
