/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices as JSON. A device's text as `list` shows it is kept with its node, and written again only
 * when its facts or its uses changed: a list of ten thousand is then little more than a copy.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "daemon/inventory_model.h"
#include "daemon/vf.h"
#include "lib/iommu/sriov.h"

/* --- state ------------------------------------------------------------------------------------ */

static bool host_uses(const struct inv_node *node)
{
	for (size_t i = 0; i < node->use_count; i++)
		if (node->uses[i].claim->kind < USE_UNKNOWN)
			return true;
	return false;
}

static bool is_wedged(const struct inventory *inv, const struct inv_node *node, struct json_out *o)
{
	return inv->wedged && inv->wedged(inv->wedged_arg, node->dev, o);
}

static const char *state_name(const struct inventory *inv, const struct inv_node *node)
{
	if (is_wedged(inv, node, NULL))
		return "wedged";
	if (node->attachment)
		return node->attachment->is_untrusted ? "quarantined" : "attached";
	if (host_uses(node))
		return "host";
	if (node->use_count && node->uses[0].claim->kind == USE_UNKNOWN)
		return "unknown";
	if (node->use_count && node->uses[0].claim->kind == USE_QUARANTINE)
		return "quarantined";
	if (node->use_count)
		return "attached"; /* with the disk that it is a part of, or in parts */
	return inv->blind ? "unknown" : "free";
}

/* --- the members ------------------------------------------------------------------------------ */

static void put_id(struct json_out *o, const char *key, const struct device *d, uint16_t id)
{
	if (d->class == DEVICE_PCI)
		json_out_fmt(o, key, "0x%04x", id);
	else
		json_out_null(o, key);
}

static void put_str_or_null(struct json_out *o, const char *key, const char *text)
{
	json_out_str(o, key, text && text[0] ? text : NULL);
}

static void put_uses(struct json_out *o, const struct inv_node *node)
{
	json_out_array(o, "in_use_by");
	for (size_t i = 0; i < node->use_count; i++) {
		const struct host_use *use = &node->uses[i];

		json_out_object(o, NULL);
		json_out_str(o, "kind", use_kind_names[use->claim->kind]);
		json_out_str(o, "what", use->claim->what);
		if (use->via)
			json_out_str(o, "via", use->via->dev->id);
		json_out_str(o, "evidence", use->claim->evidence);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_paths(struct json_out *o, const struct device *d)
{
	json_out_array(o, "paths");
	if ((d->class == DEVICE_BLOCK && d->block.size_bytes) || d->class == DEVICE_FILE ||
		d->class == DEVICE_NBD)
		json_out_str(o, NULL, "paravirt");
	if (d->class == DEVICE_PCI && !d->pci.is_bridge && d->iommu_group >= 0)
		json_out_str(o, NULL, "passthrough");
	json_out_end(o);
}

static void put_known_size(struct json_out *o, uint64_t bytes)
{
	if (bytes)
		json_out_u64(o, "size_bytes", bytes);
}

static void put_stands_on(struct json_out *o, const struct device *d)
{
	json_out_array(o, "stands_on");
	for (size_t i = 0; i < d->lower_count; i++)
		json_out_str(o, NULL, d->lower[i].id);
	json_out_end(o);
}

static void put_short_facts(struct json_out *o, const struct device *d)
{
	if (d->parent[0])
		json_out_str(o, "parent", d->parent);
	if (d->numa_node >= 0)
		json_out_i64(o, "numa_node", d->numa_node);
	if (d->class == DEVICE_BLOCK)
		json_out_u64(o, "size_bytes", d->block.size_bytes);
	else if (d->class == DEVICE_FILE)
		json_out_u64(o, "size_bytes", d->file.size_bytes);
	else if (d->class == DEVICE_NBD)
		put_known_size(o, d->nbd.size_bytes);
	else if (d->class == DEVICE_NET)
		put_str_or_null(o, "mac", d->net.mac);
	else if (d->pci.physfn[0])
		json_out_str(o, "pf", d->pci.physfn);
	else if (d->pci.sriov_total)
		json_out_u64(o, "vfs", d->pci.sriov_count);
	if (d->lower_count > 1)
		put_stands_on(o, d);
}

/* --- all that is known, for `show` ------------------------------------------------------------ */

void inventory_set_vf_settings(
	struct inventory *inv, const char *id, const struct vf_settings *settings)
{
	str_copy(inv->vf, sizeof(inv->vf), id && settings ? id : "");
	if (settings)
		inv->vf_settings = *settings;
}

/* Its number among the VFs of its PF, by which drivers know it, and what it is set to. */
static void put_vf_facts(struct json_out *o, const struct inventory *inv, const struct device *d)
{
	int index = d->pci.physfn[0] ? sriov_index(inv->root, d->pci.physfn, d->id) : -1;

	if (index < 0)
		return;
	json_out_i64(o, "virtual_function_index", index);
	if (strcmp(inv->vf, d->id) != 0)
		return;
	json_out_object(o, "virtual_function_settings");
	vf_settings_put(&inv->vf_settings, o);
	json_out_end(o);
}

static void put_pci_facts(struct json_out *o, const struct inventory *inv, const struct device *d)
{
	const struct device_pci *pci = &d->pci;

	json_out_fmt(o, "class_code", "0x%06x", pci->class_code);
	json_out_fmt(o, "subsystem_vendor_id", "0x%04x", pci->sub_vendor);
	json_out_fmt(o, "subsystem_device_id", "0x%04x", pci->sub_device);
	json_out_bool(o, "is_bridge", pci->is_bridge);
	put_str_or_null(o, "iommu", pci->iommu);
	put_str_or_null(o, "reset_methods", pci->reset_methods);
	put_str_or_null(o, "physical_function", pci->physfn);
	put_vf_facts(o, inv, d);
	json_out_u64(o, "virtual_functions_possible", pci->sriov_total);
	json_out_u64(o, "virtual_functions", pci->sriov_count);
}

static void put_net_facts(struct json_out *o, const struct device_net *net)
{
	put_str_or_null(o, "kind", net->kind);
	put_str_or_null(o, "operstate", net->operstate);
	put_str_or_null(o, "master", net->master);
	json_out_u64(o, "ifindex", net->ifindex);
}

static void put_redundancy(struct json_out *o, const struct inventory *inv, const struct device *d)
{
	struct device_redundancy r;

	device_redundancy_read(inv->root, d, &r);
	if (r.kind == REDUNDANCY_NONE) {
		json_out_null(o, "redundancy");
		return;
	}
	json_out_object(o, "redundancy");
	json_out_str(o, "kind", device_redundancy_names[r.kind]);
	json_out_u64(o, "count", r.count);
	json_out_end(o);
}

static void put_block_facts(struct json_out *o, const struct device_block *b)
{
	json_out_fmt(o, "number", "%u:%u", major(b->number), minor(b->number));
	json_out_u64(o, "logical_block_bytes", b->logical_block_bytes);
	json_out_bool(o, "read_only", b->read_only);
	json_out_bool(o, "rotational", b->rotational);
	json_out_bool(o, "removable", b->removable);
	put_str_or_null(o, "wwid", b->wwid);
	put_str_or_null(o, "serial", b->serial);
	put_str_or_null(o, "backing_file", b->loop_file);
	if (b->partition)
		json_out_u64(o, "partition", b->partition);
	json_out_array(o, "holders");
	for (size_t i = 0; i < b->holders.count; i++)
		json_out_str(o, NULL, b->holders.names[i]);
	json_out_end(o);
}

/* "qemu-system-x86 (pid 1234)" */
static void put_openers(struct json_out *o, const struct inventory *inv, const struct device *d)
{
	struct opener found[8];
	char path[PATH_MAX];
	size_t count = host_use_openers(inv, d, path, sizeof(path), found, ARRAY_SIZE(found));

	json_out_array(o, "open_for_writing_by");
	for (size_t i = 0; i < count; i++)
		json_out_fmt(o, NULL, "%s (pid %d)", found[i].comm, (int)found[i].pid);
	json_out_end(o);
}

/* Opens the object, to which more may be added. */
static void put_facts(struct json_out *o, const struct inventory *inv, const struct device *d)
{
	char node[PATH_MAX];

	device_node_path(d, node, sizeof(node));
	json_out_object(o, "facts");
	put_str_or_null(o, "node", node);
	if (d->syspath)
		json_out_fmt(o, "syspath", "/%s", d->syspath);
	switch (d->class) {
	case DEVICE_PCI:
		put_pci_facts(o, inv, d);
		break;
	case DEVICE_NET:
		put_net_facts(o, &d->net);
		break;
	case DEVICE_BLOCK:
		put_block_facts(o, &d->block);
		put_redundancy(o, inv, d);
		break;
	case DEVICE_FILE:
	case DEVICE_NBD:
	case DEVICE_CLASS_COUNT:
		break;
	}
	put_stands_on(o, d);
}

void inv_put_json(const struct inventory *inv, const struct inv_node *node, struct json_out *o,
	const char *key, enum inv_detail detail)
{
	const struct device *d = node->dev;

	json_out_object(o, key);
	json_out_str(o, "id", d->id);
	json_out_str(o, "state", state_name(inv, node));
	json_out_str(o, "class", device_class_names[d->class]);
	put_str_or_null(o, "name", d->name);
	put_str_or_null(o, "driver", d->driver);
	put_id(o, "vendor_id", d, d->pci.vendor);
	put_id(o, "device_id", d, d->pci.device);
	if (d->iommu_group >= 0)
		json_out_i64(o, "iommu_group", d->iommu_group);
	else
		json_out_null(o, "iommu_group");
	put_uses(o, node);
	put_paths(o, d);
	json_out_str(o, "fingerprint", d->fingerprint);
	is_wedged(inv, node, o);
	put_short_facts(o, d);
	if (detail >= INV_FACTS) {
		put_facts(o, inv, d);
		if (detail == INV_ALL)
			inv_put_group_facts(inv, d, o);
		if (detail == INV_ALL && sysroot_is_live(inv->root))
			put_openers(o, inv, d);
		if (detail == INV_ALL && inv->facts)
			inv->facts(inv->facts_arg, d, o);
		json_out_end(o);
	}
	json_out_end(o);
}

/* --- lists ------------------------------------------------------------------------------------ */

static void write_json(struct inventory *inv, struct inv_node *node)
{
	struct json_out text;

	json_out_init(&text);
	inv_put_json(inv, node, &text, NULL, INV_LIST);
	node->json = json_out_finish(&text, &node->json_len);
}

void inv_write_all(struct inventory *inv)
{
	host_use_update(inv);
	for (size_t i = 0; i < inv->node_count; i++)
		if (!inv->nodes[i]->json)
			write_json(inv, inv->nodes[i]);
}

static void put_cached(struct inventory *inv, struct inv_node *node, struct json_out *o)
{
	if (!node->json)
		write_json(inv, node);
	if (node->json)
		json_out_raw(o, NULL, node->json, node->json_len);
	else
		inv_put_json(inv, node, o, NULL, INV_LIST);
}

static bool is_of_vm(const struct inv_node *node, const char *vm)
{
	for (size_t i = 0; i < node->use_count; i++) {
		const char *user = node->uses[i].claim->vm;

		if (!node->uses[i].via && user && strcmp(user, vm) == 0)
			return true;
	}
	return false;
}

int inventory_put_devices(struct inventory *inv, const struct inventory_filter *filter,
	struct json_out *o, const char *key, struct err *e)
{
	enum device_class class = DEVICE_CLASS_COUNT;

	if (filter->class && !device_class_by_name(filter->class, &class)) {
		err_set(e, ERR_USAGE, "NO-SUCH-CLASS", "there is no class %s of devices",
			filter->class);
		return err_fix(e, "one of block, net, pci, file, nbd");
	}
	host_use_update(inv);
	json_out_array(o, key);
	for (size_t i = 0; i < inv->node_count; i++) {
		struct inv_node *node = inv->nodes[i];

		if (filter->class && node->dev->class != class)
			continue;
		if (filter->vm && !is_of_vm(node, filter->vm))
			continue;
		if (filter->free_only && strcmp(state_name(inv, node), "free") != 0)
			continue;
		if (node->dev->class >= DEVICE_FILE && !node->attachment)
			continue; /* named once, that is all */
		put_cached(inv, node, o);
	}
	json_out_end(o);
	return 0;
}

int inventory_put_device(struct inventory *inv, const struct device *d, struct json_out *o,
	const char *key, struct err *e)
{
	enum device_class class = d->class;
	auto_free char *id = strdup(d->id);
	const struct inv_node *node;

	if (!id)
		return err_sys(e, ENOMEM, "show the device");
	inv_groups_settle(inv);
	host_use_update(inv); /* after which d may be gone */
	node = inv_find(inv, class, id);
	if (!node)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", id);
	inv_put_json(inv, node, o, key, INV_ALL);
	return 0;
}
