/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vhost-user in-flight region: which requests were taken from each ring and not yet completed,
 * in the layout that the specification gives ("Inflight I/O tracking"), split and packed, so that
 * it survives the worker, and the VMM can carry it over a reconnect. inflight.c has the theory of
 * operation: the bytes, who writes what when, and what each interrupted step leaves behind.
 *
 * The region's bytes come from outside: they are copied once, bounded, and only then believed.
 * Used by virtq_split.c and virtq_packed.c, which alone keep the order between ring and region
 * (their side of the interface is inflight_priv.h). One thread; nothing allocates after open.
 */
#pragma once

#include "lib/err.h"

struct inflight;       /* one mapped region, all rings */
struct inflight_queue; /* one ring's part of it */

/* Bytes that `queues` rings of `queue_size` entries take. */
uint64_t inflight_region_size(uint16_t queues, uint16_t queue_size, bool packed);

/*
 * Maps a region of mmap_size bytes at `offset` of `fd` (not consumed). Refused: more queues than
 * `max_queues`, a queue_size that is 0 or over 32768 (or no power of two when split), a size that
 * does not hold them, a file that is shorter.
 */
int inflight_open(struct inflight **inflight, int fd, uint64_t mmap_size, uint64_t offset,
	uint16_t queues, uint16_t queue_size, uint16_t max_queues, bool packed, struct err *e);
void inflight_close(struct inflight *inflight);
void *inflight_base(struct inflight *inflight, size_t *len);

/* Ring `index`'s part, or NULL when the region has fewer rings. Valid until inflight_close(). */
struct inflight_queue *inflight_queue_get(struct inflight *inflight, uint16_t index);

/*
 * Makes the part of a ring that does not run fresh: what it knew of the ring's position and of
 * requests in flight is gone, and the next virtq_start() goes by its base. For a region of our own,
 * when the VMM starts a ring anew; one that the VMM keeps is renewed by the VMM.
 */
void inflight_queue_reset(struct inflight_queue *iq);
