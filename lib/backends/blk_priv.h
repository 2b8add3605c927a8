/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of virtio-blk share: blk.c, blk_judge.c. */
#pragma once

#include <linux/virtio_blk.h>

#include "lib/backends/blk.h"

#define SECTOR           512u
#define MAX_DISCARD      (1u << 21) /* sectors: 1 GiB */
#define MAX_WRITE_ZEROES (1u << 18) /* sectors: 128 MiB, written if it must be */
/* Not a status of virtio: the request is good, and has to be done. */
#define STATUS_PENDING 0xff

struct blk_req {
	struct blk_io io;
	struct virtq_chain *chain;
	uint8_t *status;
	uint16_t ring;
	bool status_joined; /* the last writable entry was shortened by the status byte */
};

/* Survives the worker: in the session page. */
struct blk_saved {
	uint8_t known;
	uint8_t write_cache; /* config.wce as the driver set it */
	uint8_t pad[2];
	int32_t flush_error; /* the errno that ended it, 0: none */
	uint64_t capacity; /* sectors, as the VMM knows it: a successor must see that it changed */
};

struct blk {
	struct backend backend; /* first */
	struct blk_options options;
	struct blk_engine *engine;
	struct blk_saved *saved;
	struct blk_saved unsaved; /* until restore() gives a better place */
	uint64_t features;        /* acknowledged */
	bool is_fenced;           /* with engine->carrying: what fails is carried, too */
	struct blk_req *reqs;     /* by ring and slot */
	char serial[VIRTIO_BLK_ID_BYTES];
	char failure[128];
};

static inline uint64_t blk_bit(unsigned int n)
{
	return 1ull << n;
}

/* A write is on stable storage before it is reported (virtio 1.2, 5.2.6.2). */
bool blk_is_writethrough(const struct blk *blk);

/* --- blk_judge.c ------------------------------------------------------------------------------ */

/*
 * Makes req->io of req->chain: STATUS_PENDING when it has to be done, else the status that answers
 * it. Finds the status byte, and leaves it out of the entries: blk_judge_end() puts it back.
 */
uint8_t blk_judge(struct blk *blk, struct blk_req *req);
void blk_judge_end(struct blk_req *req, uint8_t status);
