/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The layout of IORT (Arm DEN 0049, all little-endian):
 *
 *	table	0 "IORT"  4 length  36 number of nodes  40 where the first one is
 *	node	0 type  1 length (16)  8 number of mappings  12 where they are, from the node
 *		16 what the type says:	root complex: 28 segment
 *					SMMUv1/2, SMMUv3: 16 base address
 *	mapping	0 first input ID  4 number of IDs less one  8 first output ID
 *		12 node that the IDs come out at  16 flags: bit 0, a single ID, whatever comes in
 *
 * The IDs that come out of a root complex at an SMMU are StreamIDs. What goes past it to an
 * interrupt controller, or on from the SMMU, is not asked for.
 *
 * iommu-map (big-endian cells): first input ID, the IOMMU's phandle, first output ID, number of IDs.
 */
#include "lib/iommu/iort.h"

#include <errno.h>
#include <string.h>

enum { NODE_ROOT_COMPLEX = 2, NODE_SMMU = 3, NODE_SMMU_V3 = 4 };

#define TABLE_SIZE        48
#define TABLE_LENGTH      4
#define TABLE_NODES       36
#define TABLE_FIRST       40
#define NODE_SIZE         16
#define NODE_LENGTH       1
#define NODE_MAPPINGS     8
#define NODE_MAPPINGS_AT  12
#define NODE_BASE_ADDRESS 16
#define NODE_SEGMENT      28
#define MAPPING_SIZE      20
#define MAPPING_SINGLE    1u
#define CELLS_SIZE        16

/* A piece of the table that is known to be there. */
struct bytes {
	const uint8_t *at;
	size_t len;
};

static uint32_t le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t be32(const uint8_t *p)
{
	return p[3] | (uint32_t)p[2] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[0] << 24;
}

/* The node at this place; false if it is not all there. */
static bool node_at(const struct bytes *table, uint32_t at, struct bytes *node)
{
	uint32_t len;

	if (at < TABLE_SIZE || at > table->len || table->len - at < NODE_SIZE)
		return false;
	node->at = table->at + at;
	len = node->at[NODE_LENGTH] | (uint32_t)node->at[NODE_LENGTH + 1] << 8;
	node->len = len;
	return len >= NODE_SIZE && len <= table->len - at;
}

/* The mappings of a node, as many as are inside it. */
static bool node_mappings(const struct bytes *node, struct bytes *mappings, uint32_t *count)
{
	uint32_t at = le32(node->at + NODE_MAPPINGS_AT);

	*count = le32(node->at + NODE_MAPPINGS);
	if (*count == 0)
		return true;
	if (at < NODE_SIZE || at > node->len || *count > (node->len - at) / MAPPING_SIZE)
		return false;
	mappings->at = node->at + at;
	mappings->len = (size_t)*count * MAPPING_SIZE;
	return true;
}

/* Where an ID comes out by this mapping; false if not by this one. */
static bool mapping_takes(const uint8_t *mapping, uint32_t id, uint32_t *out)
{
	uint32_t first = le32(mapping), more = le32(mapping + 4), output = le32(mapping + 8);

	if (le32(mapping + 16) & MAPPING_SINGLE) {
		*out = output;
		return true;
	}
	if (id < first || id - first > more)
		return false;
	*out = output + (id - first);
	return true;
}

/* The output node is an SMMU: what came out is a StreamID of it. */
static bool smmu_at(const struct bytes *table, uint32_t at, struct stream_map *map)
{
	struct bytes node;

	if (!node_at(table, at, &node) || node.len < NODE_BASE_ADDRESS + 8 ||
		(node.at[0] != NODE_SMMU && node.at[0] != NODE_SMMU_V3))
		return false;
	map->smmu = le32(node.at + NODE_BASE_ADDRESS) |
		    (uint64_t)le32(node.at + NODE_BASE_ADDRESS + 4) << 32;
	return true;
}

static int map_by_node(const struct bytes *table, const struct bytes *node, uint16_t requester,
	struct stream_map *map)
{
	struct bytes mappings = {NULL, 0};
	uint32_t count;

	if (!node_mappings(node, &mappings, &count))
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *mapping = mappings.at + (size_t)i * MAPPING_SIZE;

		if (mapping_takes(mapping, requester, &map->stream_id) &&
			smmu_at(table, le32(mapping + 12), map))
			return 0;
	}
	return -ENOENT;
}

static bool is_root_complex(const struct bytes *node, uint32_t segment)
{
	return node->at[0] == NODE_ROOT_COMPLEX && node->len >= NODE_SEGMENT + 4 &&
	       le32(node->at + NODE_SEGMENT) == segment;
}

static int table_check(struct bytes *table)
{
	uint32_t len;

	if (table->len < TABLE_SIZE || memcmp(table->at, "IORT", 4) != 0)
		return -EINVAL;
	len = le32(table->at + TABLE_LENGTH);
	if (len < TABLE_SIZE || len > table->len)
		return -EINVAL;
	table->len = len;
	return 0;
}

int iort_map(const uint8_t *bytes, size_t len, uint32_t segment, uint16_t requester,
	struct stream_map *map)
{
	struct bytes table = {bytes, len}, node;
	uint32_t count, at;

	if (table_check(&table) < 0)
		return -EINVAL;
	count = le32(bytes + TABLE_NODES);
	at = le32(bytes + TABLE_FIRST);
	/* A node has a length of its own, so that this ends with the table. */
	for (uint32_t i = 0; i < count; i++, at += (uint32_t)node.len) {
		int rc;

		if (!node_at(&table, at, &node))
			return -EINVAL;
		rc = is_root_complex(&node, segment) ? map_by_node(&table, &node, requester, map)
						     : -ENOENT;
		if (rc != -ENOENT)
			return rc;
	}
	return -ENOENT;
}

int iommu_map_map(
	const uint8_t *cells, size_t len, uint32_t mask, uint16_t requester, struct stream_map *map)
{
	uint32_t id = requester & mask;

	if (len % CELLS_SIZE)
		return -EINVAL;
	for (const uint8_t *row = cells; row < cells + len; row += CELLS_SIZE) {
		uint32_t first = be32(row), count = be32(row + 12);

		if (id < first || id - first >= count)
			continue;
		map->stream_id = be32(row + 8) + (id - first);
		map->smmu = be32(row + 4);
		return 0;
	}
	return -ENOENT;
}
