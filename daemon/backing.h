/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk behind an attachment: opening it, and what must hold before it is given to a guest. It
 * is done by a hand (daemon/hands.h), because any of it may block for as long as the disk likes.
 */
#pragma once

#include "daemon/hands.h"

#define BACKING_OPEN_MS 10000

struct backing_facts {
	uint64_t size_bytes;
	uint64_t fs, inode;  /* of the file; of the node of a block device */
	uint64_t number;     /* of a block device, else 0 */
	uint32_t block_size; /* as a guest will see it */
	bool is_block;
	bool is_direct; /* can be read without the page cache */
};

typedef void backing_done_fn(
	void *arg, const struct backing_facts *facts, int fd, const struct err *e);

/* Opens and checks `node`; done() gets facts and a descriptor (its own from then on), or e. */
int backing_open(struct hands *hands, const char *node, bool readonly, backing_done_fn *done,
	void *arg, struct err *e);

/*
 * In the hand: the checks themselves. 0 with *fd open, or -1: not a file or block device
 * (DEV-KIND), empty (DEV-EMPTY), not writable (DEV-READONLY), a file system without locks
 * (DEV-NO-LOCKS), another program has it locked (DEV-BUSY), or something on the host has a block
 * device for itself (HOST-USE).
 */
int backing_probe(
	const char *node, bool readonly, struct backing_facts *facts, int *fd, struct err *e);

/* The work "open NODE ro|rw" (struct backing_facts, and the descriptor). */
int backing_work_open(char **words, void *result, int *fd, struct err *e);

/* Whether fd is the disk of these facts still. */
bool backing_is(int fd, uint64_t fs, uint64_t inode, uint64_t number);

/* Bytes of an open disk now; 0 when it cannot be told. */
uint64_t backing_size(int fd);

/* Whether requests of any worker, dead or alive, may still be on their way to it. */
bool backing_has_requests(int fd);
