/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NBD volume, through libnbd: connected once, on as many connections as help, then requests as
 * they come and end. A connection that is lost is the end of it: nothing is sent again, and nobody is
 * connected to anew, since what the server has got and not answered it may still do. Not thread safe.
 */
#pragma once

#include <poll.h>

#include "lib/err.h"
#include "lib/list.h"

#define BLK_NBD_CONNECTIONS 2

struct blk_nbd;

struct blk_nbd_target {
	const char *socket; /* "": host and port are */
	const char *host, *port;
	const char *export;
	bool readonly;
};

struct blk_nbd_facts {
	uint64_t size_bytes;
	uint32_t block_size; /* what requests must be aligned to, a power of two of at least 512 */
	uint32_t physical_block_size;
	uint32_t max_io; /* bytes of a read or write */
	bool readonly;   /* the server says so */
};

enum blk_nbd_command {
	BLK_NBD_READ,
	BLK_NBD_WRITE,
	BLK_NBD_FLUSH,
	BLK_NBD_DISCARD,
	BLK_NBD_ZERO,
};

/* The caller's, in whose own structure it lies; ours from submit() until done() is called. */
struct blk_nbd_request {
	enum blk_nbd_command command;
	bool durable;   /* WRITE, ZERO: on stable storage before it is done */
	bool may_unmap; /* ZERO */
	uint64_t offset, len;
	char *data;

	int error;       /* when it is done: 0, or an errno */
	bool unanswered; /* it was sent, and the connection was lost: it may be done or not, even later */

	struct list_node node; /* ours */
	struct blk_nbd *nbd;
	uint64_t done_bytes;
	bool sent, syncs;
};

typedef void blk_nbd_done_fn(void *arg, struct blk_nbd_request *rq);

/* NULL with e set: nobody there, no such export, no NBD, or a geometry that no disk has. */
struct blk_nbd *blk_nbd_new(const struct blk_nbd_target *target, uint64_t deadline_ms,
	struct blk_nbd_facts *facts, blk_nbd_done_fn *done, void *arg, struct err *e);

void blk_nbd_free(struct blk_nbd *n);

/* done() is called by a later blk_nbd_settle(). */
void blk_nbd_submit(struct blk_nbd *n, struct blk_nbd_request *rq);

/* What to wait for, at most BLK_NBD_CONNECTIONS; what came of it; and the ends of requests. */
unsigned int blk_nbd_prepare(struct blk_nbd *n, struct pollfd *fds);
void blk_nbd_react(struct blk_nbd *n, const struct pollfd *fds, unsigned int count);
void blk_nbd_settle(struct blk_nbd *n);

/* Whether settle() has something to do. */
bool blk_nbd_is_due(const struct blk_nbd *n);

/* Lost: every request fails. Why: a sentence. */
bool blk_nbd_is_lost(const struct blk_nbd *n);
const char *blk_nbd_why_lost(const struct blk_nbd *n);

/* Nothing is under way, and nothing will be: the server is told, and has room for others. */
void blk_nbd_hang_up(struct blk_nbd *n);

/* Loses it by will: all that is unanswered ends so. */
void blk_nbd_drop(struct blk_nbd *n, const char *why);
