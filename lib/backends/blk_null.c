/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk without bytes: every operation is done at once, reads leave the buffer as it is. */
#include <stdlib.h>

#include "lib/backends/blk_engine.h"

struct blk_null {
	struct blk_engine engine; /* first */
	uint64_t size;
};

static bool null_has_room(struct blk_engine *g)
{
	(void)g;
	return true;
}

static void null_start(struct blk_engine *g, struct blk_io *io)
{
	g->done(g->arg, io, 0);
}

static void null_flush(struct blk_engine *g)
{
	(void)g;
}

static void null_complete(struct blk_engine *g, uint64_t user_data, int32_t res)
{
	(void)g, (void)user_data, (void)res;
}

static unsigned int null_in_kernel(struct blk_engine *g)
{
	(void)g;
	return 0;
}

static uint64_t null_size(struct blk_engine *g)
{
	return ((struct blk_null *)g)->size;
}

static void null_free(struct blk_engine *g)
{
	free(g);
}

static const struct blk_engine_ops null_ops = {
	.has_room = null_has_room,
	.start = null_start,
	.flush = null_flush,
	.complete = null_complete,
	.in_kernel = null_in_kernel,
	.size = null_size,
	.free = null_free,
};

struct blk_engine *blk_null_new(uint64_t size, struct err *e)
{
	struct blk_null *n = calloc(1, sizeof(*n));

	if (!n) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a null disk");
		return NULL;
	}
	n->engine.ops = &null_ops;
	n->size = size;
	return &n->engine;
}
