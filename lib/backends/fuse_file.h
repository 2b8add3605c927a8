/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One regular file whose bytes are ours, through FUSE, in a file system that is mounted nowhere: it
 * has no name, and is there as long as somebody has the file open. Past the page cache: each request
 * comes as it was made (in pieces, when it is large), many at a time, and is answered when it is done.
 */
#pragma once

#include <sys/types.h>

#include "lib/err.h"
#include "lib/list.h"

#define FUSE_FILE_MOST 128 /* under way at a time, at most */

struct fuse_file;

enum fuse_op_kind {
	FUSE_FILE_READ,
	FUSE_FILE_WRITE,
	FUSE_FILE_SYNC,
	FUSE_FILE_ALLOCATE, /* mode: of fallocate() */
	FUSE_FILE_SET,      /* an attribute: name, its value in data */
};

/* A request; the callee's until fuse_file_answer(). */
struct fuse_op {
	enum fuse_op_kind kind;
	bool durable; /* WRITE: on stable storage before it is answered */
	uint32_t mode;
	uint64_t offset, len;
	char *data; /* len bytes: read into, or to be written */
	const char *name;

	struct list_node node; /* the callee's, while it has it */
	char *buffer;          /* ours, as is what follows */
	uint64_t unique;
};

struct fuse_file_ops {
	/* A request of any kind: fuse_file_answer() is called for it, now or later. */
	void (*start)(void *arg, struct fuse_op *op);
	/* The value of an attribute: its length, or -errno. */
	ssize_t (*get)(void *arg, const char *name, void *value, size_t size);
};

struct fuse_file_config {
	uint64_t size_bytes;
	uint32_t max_io; /* bytes of a read or write; at least a page */
	bool readonly;
	const struct fuse_file_ops *ops;
	void *arg;
};

/*
 * *mount_fd: what to open (by /proc/self/fd) for the file; it is not there before somebody works on
 * requests. Needs CAP_SYS_ADMIN, once.
 */
struct fuse_file *fuse_file_new(
	const struct fuse_file_config *config, int *mount_fd, struct err *e);

/* To be polled for reading, when fuse_file_has_room(). */
int fuse_file_fd(const struct fuse_file *f);
bool fuse_file_has_room(const struct fuse_file *f);

/* Takes the requests that are there. 1; 0: nobody has the file any more; -1. */
int fuse_file_work(struct fuse_file *f, struct err *e);

/* error: 0, or an errno. */
void fuse_file_answer(struct fuse_file *f, struct fuse_op *op, int error);
