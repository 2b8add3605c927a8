/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk behind an attachment: opening it, and what must hold before it is given to a guest. It
 * is done by a hand (daemon/hands.h), because any of it may block for as long as the disk likes.
 *
 * So may closing it: some file systems ask their server once more, for every copy of a descriptor,
 * and whoever exits, or forks a hand, closes all. So of a file the daemon has an O_PATH descriptor,
 * which leads to it and is nothing more; those who do I/O, or look for locks, open it by that.
 */
#pragma once

#include "daemon/hands.h"

#define BACKING_OPEN_MS 10000

struct backing_facts {
	uint64_t size_bytes;
	uint64_t fs, inode;  /* of the file; of the node of a block device */
	uint64_t number;     /* of a block device, or a tap; else 0 */
	uint32_t block_size; /* as a guest will see it */
	bool is_block;
	bool is_direct; /* can be read without the page cache */
	bool can_uso;   /* of a tap: it segments UDP, too */
	uint16_t mtu;   /* of a tap's bridge */
	bool is_locked; /* a worker of some iovd has it, as far as locks on it can be seen here */
};

typedef void backing_done_fn(
	void *arg, const struct backing_facts *facts, int fd, const struct err *e);

/* Of a tap (daemon/tap_node.h), which is made, fd is the box with its queues. */
/* Opens and checks `node`; done() gets facts and a descriptor (its own from then on; of a file, O_PATH),
 * or e. */
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

/* The work "sync NODE": all that was written to it is on it. */
int backing_work_sync(char **words, void *result, int *fd, struct err *e);

/* Whether nothing is known of fd: the server of its file system is gone. Never waits. */
bool backing_is_dead(int fd);

/* Whether fd is the disk of these facts still. Never waits. */
bool backing_is(int fd, uint64_t fs, uint64_t inode, uint64_t number);

/* Bytes of an open disk, as far as the kernel knows without waiting; 0 when it cannot be told. */
uint64_t backing_size(int fd);

/* No request of any worker, dead or alive, is on its way to the disk any more (e is NULL), or that
 * cannot be said in time. */
typedef void backing_idle_fn(void *arg, const struct err *e);

/*
 * Waits for that, by a hand: `fd` must stay open until done() is called, which is not when this
 * returns -1. What is gone altogether has no requests.
 */
int backing_wait_idle(struct hands *hands, const char *node, int fd, uint64_t deadline_ms,
	backing_idle_fn *done, void *arg, struct err *e);

/* The work "idle PID FD": of the process whose descriptor it is. */
#define BACKING_WORK_IDLE "idle"
int backing_work_idle(char **words, void *result, int *fd, struct err *e);
