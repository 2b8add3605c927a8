/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/iommu/acs.h"
#include "lib/iommu/iort.h"

#define IORT_MAX      ((size_t)1 << 20)
#define IOMMU_MAP_MAX 4096 /* 256 rows */

/* --- requester IDs ---------------------------------------------------------------------------- */

static struct stream *add(struct streams *s, uint16_t requester, const char *via)
{
	struct stream *stream = &s->at[s->count];

	for (size_t i = 0; i < s->count; i++)
		if (s->at[i].requester == requester)
			return NULL;
	if (s->count == STREAM_MAX)
		return NULL;
	s->count++;
	*stream = (struct stream){.requester = requester};
	str_copy(stream->via, sizeof(stream->via), via);
	return stream;
}

static void find_requesters(const struct pci_path *path, struct streams *s)
{
	uint16_t id;

	add(s, pci_requester_id(&path->at[0].addr), "");
	for (size_t i = 1; i < path->count; i++)
		if (acs_bridge_alias(path, i, &id))
			add(s, id, path->at[i].id);
	if (path->at[0].config.phantom_bits)
		s->phantoms = (1u << path->at[0].config.phantom_bits) - 1;
}

/* --- StreamIDs -------------------------------------------------------------------------------- */

static void set_stream_id(struct stream *stream, const struct stream_map *map, const char *source)
{
	stream->has_stream_id = true;
	stream->stream_id = map->stream_id;
	str_copy(stream->source, sizeof(stream->source), source);
}

static bool map_by_iort(const struct sysroot *root, uint32_t segment, struct streams *s)
{
	auto_free uint8_t *table = malloc(IORT_MAX);
	struct sysfs_dir tables;
	struct stream_map map;
	ssize_t len;

	sysfs_dir_init(&tables, root, "sys/firmware/acpi/tables");
	len = table ? sysfs_read_raw(&tables, "IORT", table, IORT_MAX) : -1;
	if (len < 0)
		return false;
	for (size_t i = 0; i < s->count; i++)
		if (iort_map(table, (size_t)len, segment, s->at[i].requester, &map) == 0)
			set_stream_id(&s->at[i], &map, "IORT");
	return true;
}

static uint32_t read_mask(const struct sysfs_dir *bridge)
{
	uint8_t cell[4];

	if (sysfs_read_raw(bridge, "of_node/iommu-map-mask", cell, sizeof(cell)) != sizeof(cell))
		return UINT32_MAX;
	return (uint32_t)cell[0] << 24 | (uint32_t)cell[1] << 16 | (uint32_t)cell[2] << 8 | cell[3];
}

/* The host bridge is the nearest folder above the function whose node of the tree has the map. */
static void map_by_tree(const struct sysroot *root, const char *id, struct streams *s)
{
	uint8_t cells[IOMMU_MAP_MAX];
	char place[SYSFS_PATH_MAX];
	struct sysfs_dir dir;
	struct stream_map map;
	ssize_t len = -1;

	sysfs_dir_init(&dir, root, "sys/bus/pci/devices/%s", id);
	if (sysfs_real_path(&dir, place, sizeof(place)) < 0)
		return;
	for (char *slash = strrchr(place, '/'); len < 0 && slash; slash = strrchr(place, '/')) {
		*slash = '\0';
		sysfs_dir_init(&dir, root, "%s", place);
		len = sysfs_read_raw(&dir, "of_node/iommu-map", cells, sizeof(cells));
	}
	for (size_t i = 0; len > 0 && i < s->count; i++)
		if (iommu_map_map(cells, (size_t)len, read_mask(&dir), s->at[i].requester, &map) ==
			0)
			set_stream_id(&s->at[i], &map, "iommu-map");
}

void streams_read(const struct sysroot *root, const struct pci_path *path, struct streams *s)
{
	*s = (struct streams){.count = 0};
	if (!path->count)
		return;
	find_requesters(path, s);
	if (!map_by_iort(root, path->at[0].addr.domain, s))
		map_by_tree(root, path->at[0].id, s);
}

/* --- contexts --------------------------------------------------------------------------------- */

const char *stream_context(const char *type)
{
	static const struct {
		const char *type, *context;
	} contexts[] = {
		{"DMA", "translate"},
		{"DMA-FQ", "translate"},
		{"identity", "bypass"},
		{"blocked", "block"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++)
		if (strcmp(type, contexts[i].type) == 0)
			return contexts[i].context;
	return NULL;
}
