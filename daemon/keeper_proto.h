/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between iovd-keeper and iov-worker: how a worker is born, and the messages between the two.
 *
 * Birth. The keeper makes the ring (lib/backends/uring.h), forks, and the child -- still the
 * keeper's code, so that nothing which can block happens in the keeper itself -- reopens the disk
 * through /proc/self/fd with fresh open file descriptions, takes the generation lock on them,
 * registers them, arms the ring, and execs
 *
 *	iov-worker TYPE --control-fd=3 --ring-fd=4 [--old-ring-fd=5] [--backing-fd=6] WORDS...
 *
 * with no other descriptor open but 0, 1, 2:
 *	3  control: one end of a SOCK_SEQPACKET socket pair, messages as below
 *	4  the ring of this generation, armed
 *	5  the dead predecessor's ring, when there was one and it was not drained yet
 *	6  the fresh description of the disk (size, discard); also registered in the ring
 * If any of that fails the child sends KEEPER_MSG_FAILED with the sentence in text and exits.
 *
 * First the keeper sends KEEPER_MSG_HELLO, then one KEEPER_MSG_GIVE for each filled vault slot,
 * then KEEPER_MSG_GO; the worker acts on nothing before GO.
 *
 * Generation lock (the second proof that a dead worker's I/O is over, for when its ring is lost):
 * both descriptions of generation g hold a shared OFD lock on the byte KEEPER_LOCK_BASE + g of the
 * disk, and nothing but the worker and its ring holds these descriptions: where no such lock is
 * left there is no request any more. (Shared, so that one generation can hold it twice, and so that
 * it works on a read-only disk.) The child waits for the locks of every generation that no ring
 * answers for: all when there is no old ring, else those before the old ring's. So a worker has to
 * drain the old ring, if it gets one, and nothing else. It sends DRAINED before it submits anything
 * to its own ring: when it dies earlier, its successor gets the same old ring again.
 *
 * A new keeper adopts a live worker by connecting to its VAULT_ADOPT socket (SOCK_SEQPACKET, made
 * by the keeper, root only), which becomes the worker's control socket: the worker sends
 * KEEPER_MSG_ADOPTED, one KEEPER_MSG_PUT per filled slot (each acknowledged), then
 * KEEPER_MSG_READY; the keeper takes the ring itself with pidfd_getfd().
 *
 * Slots of the daemon's (page, listening socket, disk, adoption socket) are not the worker's to PUT
 * or DROP, but in an adoption.
 *
 * All messages are struct keeper_msg, in full, with at most one descriptor. Either side treats a
 * message of another size, an unknown type or a slot out of range as the end of the other: the
 * keeper must not trust a worker, which may have been taken over by its guest.
 */
#pragma once

#include <linux/io_uring.h>
#include <stdint.h>

#define KEEPER_PROTO_VERSION 1u
#define KEEPER_LOCK_BASE     (1ll << 62)

#define KEEPER_FD_CONTROL  3
#define KEEPER_FD_RING     4
#define KEEPER_FD_OLD_RING 5
#define KEEPER_FD_BACKING  6

enum keeper_msg_type {
	/* keeper to worker */
	KEEPER_MSG_HELLO = 1, /* value: generation; ring_params, old_ring_params */
	KEEPER_MSG_GIVE,      /* slot, fd */
	KEEPER_MSG_GO,
	KEEPER_MSG_ACK,  /* cookie of the PUT that is now safe */
	KEEPER_MSG_TELL, /* code (enum worker_tell), value: from the daemon */

	/* worker to keeper */
	KEEPER_MSG_PUT = 64, /* slot, cookie, fd; answered by ACK */
	KEEPER_MSG_DROP,     /* slot, value = how many from there on */
	KEEPER_MSG_READY,   /* serving: the predecessor's I/O is over, its requests are submitted */
	KEEPER_MSG_DRAINED, /* the predecessor's ring has nothing pending: close it */
	KEEPER_MSG_NOTE,    /* code (enum worker_note), value: passed on to the daemon unread */
	KEEPER_MSG_ADOPTED, /* value: generation; cookie: ring fd number there; ring_params */
	KEEPER_MSG_FAILED,  /* text: why this worker cannot start; it exits next */
};

/* From the daemon to a worker, through the keeper. */
enum worker_tell {
	WORKER_TELL_RESIZE = 1, /* the disk's size may have changed: look, tell the VMM */
	WORKER_TELL_DEBUG,      /* debug output on (1) or off (0) */
	WORKER_TELL_GATE,       /* session_gate_word(): what the gate is to be */
	WORKER_TELL_RELEASE,    /* this hold is over */
};

/* From a worker to the daemon: wake-ups only; the facts are in the session page. */
enum worker_note {
	WORKER_NOTE_STATE = 1, /* the session page's facts that have an owner changed */
};

struct keeper_msg {
	uint32_t version; /* KEEPER_PROTO_VERSION */
	uint32_t type;
	uint32_t slot;
	uint32_t code;
	uint64_t cookie;
	uint64_t value;
	struct io_uring_params ring_params;
	struct io_uring_params old_ring_params;
	char text[256]; /* terminated */
};
