/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the keeper does for its workers, done by a worker that has none, before it enters its
 * sandbox: the disk opened and locked, the ring made and restricted, the page, the socket.
 */
#pragma once

#include "daemon/worker_args.h"
#include "lib/backends/blk_engine.h"
#include "lib/backends/uring.h"
#include "lib/backends/vault.h"

/*
 * Opens the disk twice (through the page cache and, where it can be, past it), takes the generation
 * lock on both, and makes the ring with them. Fills `disk` and `params`; returns the ring's fd.
 * A lock that a dead worker's I/O still holds is waited for; a live one's is an error.
 */
int worker_alone_disk(const struct worker_args *args, struct blk_disk *disk,
	struct io_uring_params *params, struct err *e);

/* The ring of a worker without a disk. */
int worker_alone_ring(struct io_uring_params *params, struct err *e);

/*
 * The socket of --socket-path or --fd, put into VAULT_LISTEN, or returned when it is a connection
 * already (else -1 and *listening is set).
 */
int worker_alone_socket(
	const struct worker_args *args, struct vault *vault, bool *listening, struct err *e);
