/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The io_uring that a worker does its host I/O on, and why it is not the worker's own.
 *
 * seccomp does not see io_uring operations, so a sandboxed process with a ring it made itself can
 * open files and sockets at will. And a process killed by SIGKILL leaves io_uring requests behind
 * that may still reach the disk. Both are answered by who makes the ring: the keeper (or a worker
 * that runs alone, before it enters its sandbox) creates it disabled, the files are registered,
 * the ring is restricted to a short list of operations on registered files, and only then enabled.
 * The keeper keeps its descriptor: a successor inherits it and can wait until every submission of
 * the dead worker has its completion (uring_drain()); nothing of the old one is pending then.
 *
 * That count is exact because every submission gives exactly one completion: operations that give
 * more or none (multishot, CQE_SKIP) are not used, and the flag for the latter is not allowed.
 */
#pragma once

#include <liburing.h>

#include "lib/err.h"

/* The registered files, by index. */
enum uring_file {
	URING_FILE_DIRECT,      /* the disk, O_DIRECT where it can be (else the same as the next) */
	URING_FILE_BUFFERED,    /* the disk through the page cache */
	URING_FILE_CONN,        /* the VMM's connection */
	URING_FILE_BACKEND_REQ, /* our channel to the VMM */
	URING_FILES
};

/*
 * Makes a disabled ring with room for `entries` submissions and twice as many completions. Returns
 * its fd (close-on-exec) and fills `params`, which uring_map() needs: keep them together.
 */
int uring_create(unsigned int entries, struct io_uring_params *params, struct err *e);

/*
 * Registers `files` (-1: empty for now), restricts the ring and enables it. After this the ring
 * refuses, with -EACCES, every operation but read, write, fsync, fallocate, cancel, poll, send,
 * timeout and nop on registered files, and every registration but the exchange of those files.
 */
int uring_arm(int ring_fd, const int files[URING_FILES], struct err *e);

/*
 * Maps an armed ring into this process: `ring` is then used with liburing as usual. Does not
 * consume ring_fd. uring_unmap() undoes it and leaves the fd open.
 */
int uring_map(
	struct io_uring *ring, int ring_fd, const struct io_uring_params *params, struct err *e);
void uring_unmap(struct io_uring *ring);

/* Puts `fd` (-1: nothing) at `index` of the registered files. */
int uring_set_file(struct io_uring *ring, enum uring_file index, int fd, struct err *e);

/* Submissions that the kernel has taken and not completed. */
unsigned int uring_pending(const struct io_uring *ring);

/*
 * For a ring whose submitter is dead: waits until nothing is pending, calling `seen` (may be NULL)
 * for each completion not reaped before, oldest first. -1 when deadline_ms passes first.
 */
typedef void uring_seen_fn(void *arg, uint64_t user_data, int32_t res);
int uring_drain(
	struct io_uring *ring, uint64_t deadline_ms, uring_seen_fn *seen, void *arg, struct err *e);
