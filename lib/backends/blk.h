/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk (virtio 1.2, 5.2): requests of the guest, checked, to operations of an engine; and the
 * configuration space.
 */
#pragma once

#include "lib/backends/backend.h"
#include "lib/backends/blk_engine.h"

struct blk_options {
	uint16_t queues; /* 1..VU_MAX_QUEUES */
	bool read_only;
	bool hold;           /* what the host cannot do is parked, and not reported to the guest */
	bool write_through;  /* each write is on stable storage before it is reported */
	const char *serial;  /* GET_ID, at most 20 bytes count; NULL: none */
	uint32_t block_size; /* logical, as told to the guest */
	uint32_t physical_block_size;
};

/* Consumes the engine, also on failure. */
struct backend *blk_new(
	const struct blk_options *options, struct blk_engine *engine, struct err *e);
