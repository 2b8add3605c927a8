/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a fault is, and what its address is. An IOMMU names a device by a requester ID or a StreamID,
 * which may be that of a bridge above several devices: of those, the one that a machine has is meant.
 * IDs and BARs of the host are read once, and again when a device came or went, but not more often
 * than a flood of faults can afford.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/faults_priv.h"
#include "daemon/inventory.h"
#include "lib/backends/session_facts.h"
#include "lib/cleanup.h"
#include "lib/iommu/group.h"
#include "lib/iommu/pci_path.h"
#include "lib/iommu/stream.h"

#define MAP_MS        1000
#define RESOURCE_MAX  4096
#define RESOURCE_BARS 6
#define RESOURCE_MEM  0x200 /* IORESOURCE_MEM */
#define PARENTS_MAX   32

/* --- the map ---------------------------------------------------------------------------------- */

/* Room for one more in an array; false without memory. */
static bool grow(void **array, size_t count, size_t *room, size_t size)
{
	size_t wanted = *room ? *room * 2 : 64;
	void *more;

	if (count < *room)
		return true;
	more = reallocarray(*array, wanted, size);
	if (!more)
		return false;
	*array = more;
	*room = wanted;
	return true;
}

static void add_stream(
	void *arg, const struct device *d, const struct pci_addr *addr, const struct stream *s)
{
	struct fault_map *map = arg;
	struct fault_stream *to;

	if (!grow((void **)&map->streams, map->stream_count, &map->stream_room, sizeof(*to)))
		return;
	to = &map->streams[map->stream_count++];
	*to = (struct fault_stream){.addr = *addr,
		.requester = s->requester,
		.has_stream_id = s->has_stream_id,
		.stream_id = s->stream_id};
	str_copy(to->id, sizeof(to->id), d->id);
}

static void add_bar(struct fault_map *map, uint64_t start, uint64_t end)
{
	if (grow((void **)&map->bars, map->bar_count, &map->bar_room, sizeof(*map->bars)))
		map->bars[map->bar_count++] = (struct fault_range){start, end};
}

static void add_bars(void *arg, const struct device *d)
{
	struct faults *f = arg;
	char text[RESOURCE_MAX], *rest = text;
	struct sysfs_dir dir;
	ssize_t len;

	sysfs_dir_init(&dir, inventory_sysroot(f->d->inventory), "sys/bus/pci/devices/%s", d->id);
	len = sysfs_read_raw(&dir, "resource", text, sizeof(text) - 1);
	text[MAX(len, 0)] = '\0';
	for (unsigned int i = 0; i < RESOURCE_BARS; i++) {
		uint64_t start = strtoull(rest, &rest, 16), end = strtoull(rest, &rest, 16);
		uint64_t flags = strtoull(rest, &rest, 16);

		if (flags & RESOURCE_MEM && start && end >= start)
			add_bar(&f->map, start, end);
	}
}

static const struct fault_map *map_now(struct faults *f)
{
	if (!f->map_is_old || (f->map_ms && now_ms() < f->map_ms + MAP_MS))
		return &f->map;
	f->map.stream_count = f->map.bar_count = 0;
	inventory_each_stream(f->d->inventory, add_stream, &f->map);
	inventory_each(f->d->inventory, DEVICE_PCI, add_bars, f);
	f->map_is_old = false;
	f->map_ms = now_ms();
	return &f->map;
}

void faults_map_release(struct faults *f)
{
	free(f->map.streams);
	free(f->map.bars);
	f->map = (struct fault_map){.stream_count = 0};
}

/* --- whose ------------------------------------------------------------------------------------ */

struct attachment *faults_attachment(const struct faults *f, const char *device)
{
	list_for_each (node, registry_list(f->d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (attachment_has(a, device))
			return a;
	}
	return NULL;
}

static bool is_stream_of(const struct fault_stream *s, const struct fault *fault)
{
	/* virtio-iommu's endpoints are requester IDs; only Arm has others. */
	if (fault->source == FAULT_FROM_SMMUV3)
		return s->has_stream_id && s->stream_id == fault->stream;
	return fault->has_device && s->requester == pci_requester_id(&fault->device) &&
	       (!fault->device.domain_given || s->addr.domain == fault->device.domain);
}

/* By its IDs: the one that a machine has, else the first one. */
static const char *find_by_stream(struct faults *f, const struct fault *fault)
{
	const struct fault_map *map = map_now(f);
	const char *found = NULL;

	for (size_t i = 0; i < map->stream_count; i++) {
		const struct fault_stream *s = &map->streams[i];

		if (!is_stream_of(s, fault))
			continue;
		if (faults_attachment(f, s->id))
			return s->id;
		found = found ?: s->id;
	}
	return found;
}

/* Of a port's fault: the device below it that a machine has. */
static const char *find_below(const struct faults *f, const char *port)
{
	list_for_each (node, registry_list(f->d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (faults_concerns(f, a, port))
			return a->spec.device;
	}
	return NULL;
}

bool faults_concerns(const struct faults *f, const struct attachment *a, const char *id)
{
	const struct attachment_passthrough *p = &a->spec.passthrough;
	const struct device *d = inventory_find(f->d->inventory, DEVICE_PCI, a->spec.device);

	if (strcmp(a->spec.device, id) == 0)
		return true;
	for (unsigned int i = 0; i < p->companion_count; i++)
		if (strcmp(p->companions[i], id) == 0)
			return true;
	if (d && strcmp(d->pci.physfn, id) == 0)
		return true;
	for (unsigned int i = 0; i < PARENTS_MAX && d && d->parent[0]; i++) {
		if (strcmp(d->parent, id) == 0)
			return true;
		d = inventory_find(f->d->inventory, DEVICE_PCI, d->parent);
	}
	return false;
}

void faults_ids_of(const struct attachment *a, char ids[static FAULTS_IDS_MAX])
{
	const struct attachment_passthrough *p = &a->spec.passthrough;
	int len = snprintf(ids, FAULTS_IDS_MAX, "%s", a->spec.device);

	for (unsigned int i = 0; i < p->companion_count; i++)
		len += snprintf(ids + len, FAULTS_IDS_MAX - (size_t)len, ",%s", p->companions[i]);
}

void faults_name(struct fault_entry *entry, const struct attachment *a)
{
	str_copy(entry->vm, sizeof(entry->vm), a->spec.vm);
	str_copy(entry->attachment, sizeof(entry->attachment), a->spec.id);
}

void faults_place(struct faults *f, const struct fault *fault, struct fault_entry *entry)
{
	const struct attachment *a;
	const char *found = NULL;
	char id[PCI_ADDR_MAX] = "";

	if (fault->has_device)
		pci_addr_format(&fault->device, id);
	if (fault->kind == FAULT_LINK)
		found = find_below(f, id);
	else if (!id[0] || !faults_attachment(f, id))
		found = find_by_stream(f, fault);
	str_copy(entry->device, sizeof(entry->device), found ? found : id);
	a = entry->device[0] ? faults_attachment(f, entry->device) : NULL;
	if (a)
		faults_name(entry, a);
}

/* --- what address ----------------------------------------------------------------------------- */

static bool is_reserved(struct faults *f, const char *device, uint64_t iova)
{
	const struct device *d = inventory_find(f->d->inventory, DEVICE_PCI, device);
	const struct iommu_group *group = d ? inventory_group_of(f->d->inventory, d, NULL) : NULL;

	for (size_t i = 0; group && i < group->region_count; i++)
		if (iova >= group->regions[i].start && iova <= group->regions[i].end)
			return true;
	return false;
}

/* As far as the machine shares it with a worker of ours. */
static bool is_ram(const struct faults *f, const char *vm, uint64_t iova)
{
	list_for_each (node, registry_list(f->d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, vm) == 0 && a->page_fd >= 0 &&
			session_find_memory(a->page_fd, iova) == SESSION_MEMORY_THERE)
			return true;
	}
	return false;
}

static bool is_bar(struct faults *f, uint64_t iova)
{
	const struct fault_map *map = map_now(f);

	for (size_t i = 0; i < map->bar_count; i++)
		if (iova >= map->bars[i].start && iova <= map->bars[i].end)
			return true;
	return false;
}

enum fault_class faults_classify(
	struct faults *f, const struct fault *fault, const struct fault_entry *entry)
{
	if (!fault->has_iova)
		return FAULT_CLASS_NONE;
	if (is_reserved(f, entry->device, fault->iova))
		return FAULT_CLASS_RESERVED;
	if (entry->vm[0] && is_ram(f, entry->vm, fault->iova))
		return FAULT_CLASS_RAM;
	return is_bar(f, fault->iova) ? FAULT_CLASS_BAR : FAULT_CLASS_UNMAPPED;
}
