/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk as its driver reads it in the configuration space (virtio 1.2, 5.2.4), and back. */
#pragma once

#include <stdbool.h>

#include "lib/util.h"

struct blk_geometry {
	uint64_t sectors; /* of 512 bytes */
	uint32_t block_size, physical_block_size;
	uint16_t queues;
	bool write_cache; /* as the driver has set it */
};

/* The features that a disk of ours offers, besides those of any device (VU_RING_FEATURES). */
uint64_t blk_features_of(bool read_only);

/* What does not fit into the fields (a worker's word may be anything) is 0. */
struct blk_geometry blk_geometry_of_config(const uint8_t config[256]);

/* Everything else in the configuration is left as it is. The sizes are powers of two. */
void blk_geometry_to_config(const struct blk_geometry *g, uint8_t config[256]);
