/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device type as the vhost-user session sees it: features, configuration, and requests. The
 * session owns rings, memory and messages and knows nothing of what a request means; a device
 * knows nothing of rings. One thread; a device may complete a request before submit() returns.
 *
 * Most rings are asked: each request goes to submit(). A ring may be one that is filled instead
 * (fills()): the driver's requests there are empty buffers for what comes from outside, and poll()
 * takes them when something did.
 */
#pragma once

#include "lib/backends/session_page.h"
#include "lib/backends/virtq.h"
#include "lib/err.h"
#include "lib/watch.h"

/*
 * What a completion on the ring is for: the top byte of its user_data. The rest is the owner's.
 */
enum uring_kind {
	URING_KIND_DEVICE = 1, /* a request of the device's engine */
	URING_KIND_REPLY,      /* a reply to the VMM: | message number */
	URING_KIND_CONSUME,    /* a message taken off the socket: | consumed before | number */
	URING_KIND_CANCEL, /* asking to cancel one of the device's: what comes of it is seen there */
};

static inline uint64_t uring_tag(enum uring_kind kind, uint64_t rest)
{
	return (uint64_t)kind << 56 | rest;
}

static inline enum uring_kind uring_tag_kind(uint64_t user_data)
{
	return (enum uring_kind)(user_data >> 56);
}

/* Submissions that the engine leaves free for the session's own messages. */
#define URING_RESERVED 8u

struct backend;

/* The session's side: set by it before the first submit(). */
struct backend_host {
	/* The device wrote what it had to (status included); `failed` only counts. */
	void (*done)(struct backend_host *host, unsigned int ring, struct virtq_chain *chain,
		bool failed);
	/*
	 * The host could not do it (an errno), and the guest is not to know: it stays in flight, and
	 * is not this worker's any more. Instead of done().
	 */
	void (*park)(
		struct backend_host *host, unsigned int ring, struct virtq_chain *chain, int error);
	/*
	 * While carry() is on: it was cancelled, and nothing of it is with the host. Instead of
	 * done(); the session keeps it for again().
	 */
	void (*carry)(struct backend_host *host, unsigned int ring, struct virtq_chain *chain);
	/*
	 * For people: what the host has to do for a request, said before it is asked to. Done ends
	 * it. Sectors of 512 bytes.
	 */
	void (*begun)(struct backend_host *host, unsigned int ring, struct virtq_chain *chain,
		enum session_request_what what, uint64_t sector, uint64_t sectors);

	/*
	 * Of a ring that is filled, within poll() only. The next request, or NULL: there is none, or
	 * none may be fetched now. Before poll() returns each was filled, in order (the first
	 * `written` bytes; chain->joined: seen together with the next one), or given back, the last
	 * one first.
	 */
	struct virtq_chain *(*take)(struct backend_host *host, unsigned int ring);
	void (*filled)(struct backend_host *host, unsigned int ring, struct virtq_chain *chain,
		uint32_t written);
	void (*give_back)(struct backend_host *host, unsigned int ring, struct virtq_chain *chain);
	/* Entries of a ring that runs: more requests than that it never has. */
	uint16_t (*ring_size)(struct backend_host *host, unsigned int ring);
};

struct backend_ops {
	const char *name;         /* "blk" */
	uint16_t rings_per_queue; /* as GET_QUEUE_NUM counts them */
	/* The VMM is to ask for the configuration space (VU_PF_CONFIG), and not to make its own. */
	bool tells_config;
	/* Requests of each ring complete in the order of fetching (virtq.h). */
	bool in_order;

	/* Device feature bits (VIRTIO_BLK_F_...), none of transport or ring. */
	uint64_t (*features)(struct backend *b);
	uint16_t (*rings)(struct backend *b);
	/* Fills `size` bytes of configuration space from `offset`; zeroes beyond its end. */
	void (*config_read)(struct backend *b, uint32_t offset, uint32_t size, uint8_t *data);
	/* A write by the driver; -1 with the reason when the field is not its to write. */
	int (*config_write)(struct backend *b, uint32_t offset, uint32_t size, const uint8_t *data,
		struct err *e);
	void (*set_features)(struct backend *b, uint64_t features);

	/* Where the device keeps what must survive its worker: zeroed when new. Called first. */
	int (*restore)(struct backend *b, uint8_t saved[64], struct err *e);
	/*
	 * Goes on for a driver that knows `config`, of another device: takes over what the driver
	 * has set there; -1 when this device is not as that one was.
	 */
	int (*adopt)(struct backend *b, const uint8_t config[256], struct err *e);
	/* Looks again at what the outside may have changed (size); true: the configuration did. */
	bool (*refresh)(struct backend *b);

	/* Room for a request of a ring: false stops fetching until one completed. */
	bool (*has_room)(struct backend *b);
	/* Takes a request: answered by host->done(), now or later. */
	void (*submit)(struct backend *b, unsigned int ring, struct virtq_chain *chain);
	/* The end of a batch of submit(): hand over what was collected. */
	void (*flush)(struct backend *b);
	/* A completion of kind URING_KIND_DEVICE. */
	void (*complete)(struct backend *b, uint64_t user_data, int32_t res);
	/*
	 * On: what is with the host is cancelled where that can be proven; off: no more of that. Fenced:
	 * what fails is carried as well, since the path is about to be ended by somebody.
	 */
	void (*carry)(struct backend *b, bool on, bool fenced);
	/* Takes a request that was carried to the host once more. */
	void (*again)(struct backend *b, unsigned int ring, struct virtq_chain *chain);
	/* Requests handed to the kernel and not completed. */
	unsigned int (*in_kernel)(struct backend *b);

	/* --- NULL for a device that only answers ------------------------------------------- */

	bool (*fills)(struct backend *b, unsigned int ring);
	/* The session has begun: what comes from outside wakes `loop`, until free(). */
	int (*begin)(struct backend *b, struct watch_loop *loop, struct err *e);
	/* One round over what came from outside; true: something did. */
	bool (*poll)(struct backend *b);
	/*
	 * Of a ring that is filled: so many requests did not suffice for what waits outside, and the
	 * next one is waited for; -1: none is.
	 */
	int (*starved)(struct backend *b, unsigned int ring);
	/* The driver uses a ring (started, and enabled), or not. Also said of what is so already. */
	void (*enable)(struct backend *b, unsigned int ring, bool on);
	/* NET_SET_MTU, -1: not possible; and SEND_RARP: tell the network where `mac` is now. */
	int (*set_mtu)(struct backend *b, uint64_t mtu, struct err *e);
	void (*announce)(struct backend *b, const uint8_t mac[6]);

	/* Why the device can no longer serve (terminated), or NULL. */
	const char *(*failure)(struct backend *b);
	void (*free)(struct backend *b);
};

struct backend {
	const struct backend_ops *ops;
	struct backend_host *host;
};
