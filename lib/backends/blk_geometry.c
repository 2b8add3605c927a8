/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/backends/blk_geometry.h"

#include <linux/virtio_blk.h>
#include <string.h>

#define EXP_MOST 16u /* of a physical block size that anybody has */

struct blk_geometry blk_geometry_of_config(const uint8_t config[256])
{
	struct virtio_blk_config c;

	memcpy(&c, config, sizeof(c));
	return (struct blk_geometry){
		.sectors = c.capacity,
		.block_size = c.blk_size,
		.physical_block_size =
			c.physical_block_exp <= EXP_MOST ? c.blk_size << c.physical_block_exp : 0,
		.queues = c.num_queues,
		.write_cache = c.wce != 0,
	};
}

void blk_geometry_to_config(const struct blk_geometry *g, uint8_t config[256])
{
	struct virtio_blk_config c;

	memcpy(&c, config, sizeof(c));
	c.capacity = g->sectors;
	c.blk_size = g->block_size;
	c.physical_block_exp =
		(uint8_t)(__builtin_ctz(g->physical_block_size) - __builtin_ctz(g->block_size));
	c.num_queues = g->queues;
	c.wce = g->write_cache;
	memcpy(config, &c, sizeof(c));
}

uint64_t blk_features_of(bool read_only)
{
	static const unsigned int always[] = {VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_BLK_SIZE,
		VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE,
		VIRTIO_BLK_F_MQ};
	uint64_t f = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(always); i++)
		f |= 1ull << always[i];
	if (read_only)
		return f | 1ull << VIRTIO_BLK_F_RO;
	return f | 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}
