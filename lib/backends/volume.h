/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of a network volume: what iovd-nbd (daemon/nbd_main.c) serves, and what worker and daemon
 * know of it besides being a file. All of it are attributes that only root can ask for; that the file
 * has them tells it from others.
 *
 * Its space is the server's. PUNCH_HOLE is a discard (what is read there afterwards may be anything),
 * ZERO_RANGE writes zeroes, and may give the space back unless it comes with KEEP_SIZE.
 */
#pragma once

#include <stdint.h>

/* struct volume_facts. */
#define VOLUME_FACTS   "trusted.iovd.volume"
#define VOLUME_VERSION 1u

struct volume_facts {
	uint32_t version;
	uint32_t block_size; /* what requests must be aligned to, at least 512 */
	uint32_t physical_block_size;
};

/*
 * Setting it ends the volume: what is under way is awaited, for as many milliseconds as the value (a
 * uint32_t) says, then given up; what comes later fails. The answer comes when nothing is under way
 * any more. 0: nothing of it can come later either; ECONNABORTED: the server did not answer some
 * write, and may do it yet.
 */
#define VOLUME_END "trusted.iovd.end"
