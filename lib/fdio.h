/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File descriptor work that is the same everywhere. Every descriptor made here is close-on-exec.
 * Functions return 0 / an fd, or -1 with `e` set, unless they say otherwise. Thread safe.
 */
#pragma once

#include <sys/types.h>

#include "lib/err.h"
#include "lib/util.h"

#define FDIO_MAX_FDS 8 /* most descriptors in one message: the vhost-user limit */

/* One received message: bytes, and the descriptors that came with it (the caller's to close). */
struct fdio_msg {
	ssize_t len; /* 0: the peer closed */
	int fds[FDIO_MAX_FDS];
	unsigned int fd_count;
	bool truncated; /* more data or descriptors were sent than fit; the extra ones are closed */
};

/*
 * recvmsg() with descriptors. Returns 0, or -errno (-EAGAIN when nothing is there) with no
 * descriptor left open. `flags` as for recvmsg (MSG_PEEK gives duplicates of the descriptors).
 */
int fdio_recv(int sock, void *data, size_t size, int flags, struct fdio_msg *msg);

/* sendmsg() of the whole of `data` with `fd_count` descriptors (not consumed). 0 or -errno. */
int fdio_send(int sock, const void *data, size_t len, const int *fds, unsigned int fd_count);

/*
 * One sendmsg() that does not wait: how many bytes were taken (then the descriptors have left with
 * the first of them), or -errno.
 */
ssize_t fdio_send_some(
	int sock, const void *data, size_t len, const int *fds, unsigned int fd_count);

/* Closes msg->fds[] that are still >= 0 and forgets them. */
void fdio_msg_close(struct fdio_msg *msg);

/* Writes all, through short writes and EINTR. 0 or -errno. */
int fdio_write_all(int fd, const void *data, size_t len);

/*
 * Reads a whole small file (sysfs, procfs) relative to `dirfd`, at most size-1 bytes, terminates
 * it and strips one trailing newline. Returns the length or -errno; -EFBIG when it did not fit.
 */
ssize_t fdio_read_file(int dirfd, const char *path, char *data, size_t size);

/* O_NONBLOCK on or off. 0 or -errno. */
int fdio_set_nonblock(int fd, bool on);

/*
 * A memfd of exactly len bytes, zeroed, sealed SHRINK|GROW|SEAL: nobody who gets it can change its
 * size, so a process that maps it cannot be killed by SIGBUS through it.
 */
int fdio_sealed_memfd(const char *name, size_t len, struct err *e);
