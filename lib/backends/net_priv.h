/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of virtio-net share: net.c, net_receive.c. */
#pragma once

#include <linux/if_ether.h>
#include <linux/virtio_net.h>

#include "lib/backends/net.h"

#define NET_HEADER_LEGACY sizeof(struct virtio_net_hdr)
#define NET_HEADER        sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define NET_HAND_MAX      1024u /* entries of one system call */
#define NET_GUESS         2048u

struct net_queue {
	uint32_t guess;   /* bytes that frames have had lately */
	int starved;      /* so many requests did not suffice; -1: nothing waits for any */
	bool is_dry;      /* the tap had no frame when last asked, and has not told of one */
	uint32_t waiting; /* bytes of the frame in `spill` that waits for buffers; 0: none */
	uint8_t *spill;   /* NET_FRAME_MAX */
};

/* The chains that a frame is read into, in the order in which they were taken. */
struct net_hand {
	struct virtq_chain *chains[NET_HAND_MAX];
	struct iovec iov[NET_HAND_MAX];
	unsigned int count, iov_count;
	uint64_t bytes;
};
/* A chain may have no buffer to write to, and so no entry: only the ring bounds how many there are. */
static_assert(NET_HAND_MAX >= VIRTQ_MAX_SIZE, "a hand has room for all chains of a ring");

struct net {
	struct backend backend; /* first */
	struct net_options options;
	uint8_t mac[ETH_ALEN];
	struct net_tap tap;
	uint64_t features; /* acknowledged */
	size_t header;     /* bytes in front of each frame */
	struct net_queue queues[NET_TAP_QUEUES_MAX];
	struct net_hand hand;
	char failure[128];
};

static inline uint64_t net_bit(unsigned int n)
{
	return 1ull << n;
}

/* --- net_receive.c ---------------------------------------------------------------------------- */

/* A turn of frames for the guest; true: some came. */
bool net_receive(struct net *net, uint16_t queue);
