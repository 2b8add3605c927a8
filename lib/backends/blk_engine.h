/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a disk's bytes are: the side of virtio-blk that touches the host. blk.c turns requests into
 * a struct blk_io and an engine carries it out:
 *
 *	blk_uring.c   a file or block device through the ring, batched
 *	blk_inline.c  a file that lives in memory: plain system calls, no detour
 *	blk_null.c    no bytes at all: the ceiling of everything else, and the test double
 */
#pragma once

#include <sys/uio.h>

#include "lib/err.h"
#include "lib/list.h"

enum blk_op {
	BLK_OP_READ,
	BLK_OP_WRITE,
	BLK_OP_FLUSH,
	BLK_OP_DISCARD, /* the bytes may be lost: nothing need happen */
	BLK_OP_ZERO,    /* the bytes read as zeroes afterwards */
};

/*
 * One operation. An engine may use iov[] entries in place while it works but leaves them as they
 * were. The last group is the engine's own.
 */
struct blk_io {
	enum blk_op op;
	bool durable;   /* WRITE, ZERO: on stable storage before it is done */
	bool may_unmap; /* ZERO: space may be given back */
	uint64_t offset, len;
	struct iovec *iov; /* READ, WRITE: exactly len bytes in all */
	unsigned int iov_count;

	uint64_t done;      /* bytes carried out */
	uint32_t tag;       /* names it in completions; set by blk.c */
	uint8_t step;       /* which way of doing it is being tried */
	struct iovec saved; /* the entry that is shortened at the moment, as it was */
	unsigned int saved_at, iov_at;
	void *bounce;
	struct list_node turn; /* among those that wait for others to end, */
	bool waits;            /* if it is one of them */
};

struct blk_engine;

struct blk_engine_ops {
	bool (*has_room)(struct blk_engine *g);
	/* Carries out `io`, which stays put until blk_engine.done() is called for it. */
	void (*start)(struct blk_engine *g, struct blk_io *io);
	void (*flush)(struct blk_engine *g);
	/* Asks for the end of `io`, which it may or may not come to. NULL: nothing ever waits. */
	void (*cancel)(struct blk_engine *g, struct blk_io *io);
	void (*complete)(struct blk_engine *g, uint64_t user_data, int32_t res);
	unsigned int (*in_kernel)(struct blk_engine *g);
	uint64_t (*size)(struct blk_engine *g); /* bytes, now */
	void (*free)(struct blk_engine *g);
};

struct blk_engine {
	const struct blk_engine_ops *ops;
	/* Set by blk.c: `error` is 0 or an errno. */
	void (*done)(void *arg, struct blk_io *io, int error);
	/* The operation that a completion's tag names. */
	struct blk_io *(*io_of)(void *arg, uint32_t tag);
	void *arg;
	/*
	 * What the kernel gives back undone, or half done, is not submitted again but ended, with
	 * ECANCELED: nothing of it is with the kernel then.
	 */
	bool carrying;
};

struct io_uring;

/* What is known about the disk before the sandbox is entered. */
struct blk_disk {
	int fd; /* this generation's own description: size, and inline I/O */
	bool read_only;
	bool in_memory;        /* tmpfs, ramfs: a system call does not wait */
	bool is_served;        /* by a process or another host, which may never answer */
	bool direct;           /* URING_FILE_DIRECT bypasses the page cache */
	bool is_volume;        /* of a network (volume.h) */
	uint32_t mem_align;    /* of buffers for direct I/O; a power of two; 0: not known */
	uint32_t offset_align; /* of offsets and lengths for it; 0: not known */
	uint32_t block_size;   /* logical: the unit the guest is told */
	uint32_t physical_block_size;
};

/* Reads the facts of an open disk; the descriptor is kept, not consumed. */
int blk_disk_probe(struct blk_disk *disk, int fd, struct err *e);

/* Its size in bytes now; 0 when that cannot be told. */
uint64_t blk_disk_size(const struct blk_disk *disk);

/* Whether direct I/O may be offered on this disk: its alignment is known, and one we can keep. */
bool blk_disk_can_be_direct(const struct blk_disk *disk);

/* For engines. The buffers not yet worked through: an array of *count entries. */
struct iovec *blk_io_window(struct blk_io *io, unsigned int *count);
/* `n` more bytes are carried out. */
void blk_io_advance(struct blk_io *io, uint64_t n);
/* Leaves iov[] as it came, ready to be handed back. */
void blk_io_restore(struct blk_io *io);

/* What ZERO writes where the file system cannot do it itself. */
#define BLK_ZEROES_LEN 65536u
extern const char blk_zeroes[BLK_ZEROES_LEN];

/* Each NULL with `e` when it cannot be. The disk's descriptor must stay open. */
struct blk_engine *blk_uring_new(const struct blk_disk *disk, struct io_uring *ring, struct err *e);
struct blk_engine *blk_inline_new(const struct blk_disk *disk, struct err *e);
struct blk_engine *blk_null_new(uint64_t size, struct err *e);
