/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: frames for the guest (net.c comes first).
 *
 * The guest's chains are empty buffers. Nobody knows how long the next frame is, so a few are
 * taken, as many as the last frames needed, and the frame is read into them; what does not fit goes to
 * the spill buffer behind them. Those that it filled are the guest's, the rest is given back. A frame
 * that spilled is put together in the spill buffer, and given to the guest when it has buffers enough.
 * Without VIRTIO_NET_F_MRG_RXBUF a frame has one chain, or is dropped. So while a guest has no
 * buffers, one frame at most is with us, and the others wait in the tap, which drops what is too much.
 *
 * A turn moves at most TURN_FRAMES frames or TURN_BYTES in each direction of each queue before the
 * next queue, and the messages of the VMM, have their turn.
 */
#include "lib/backends/net_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TURN_FRAMES 64u
#define TURN_BYTES  (512u << 10)

static bool is_mergeable(const struct net *net)
{
	return net->features & net_bit(VIRTIO_NET_F_MRG_RXBUF);
}

/* Takes one more chain into the hand. False: there is none, or it would be too much. */
static bool take_one(struct net *net, unsigned int ring)
{
	struct backend_host *host = net->backend.host;
	struct net_hand *hand = &net->hand;
	struct virtq_chain *chain = host->take(host, ring);

	if (!chain)
		return false;
	if (hand->iov_count + chain->in_count >= NET_HAND_MAX) { /* one is for the spill buffer */
		host->give_back(host, ring, chain);
		return false;
	}
	memcpy(&hand->iov[hand->iov_count], &chain->iov[chain->out_count],
		chain->in_count * sizeof(chain->iov[0]));
	hand->iov_count += chain->in_count;
	hand->bytes += chain->in_len;
	hand->chains[hand->count++] = chain;
	return true;
}

/* Chains for `bytes`, as far as there are any; of a guest that cannot merge just one. */
static void take_hand(struct net *net, unsigned int ring, uint64_t bytes)
{
	struct net_hand *hand = &net->hand;

	hand->count = hand->iov_count = 0;
	hand->bytes = 0;
	while (hand->bytes < bytes && (!hand->count || is_mergeable(net)))
		if (!take_one(net, ring))
			break;
}

static void give_back(struct net *net, unsigned int ring, unsigned int keep)
{
	struct backend_host *host = net->backend.host;
	struct net_hand *hand = &net->hand;

	while (hand->count > keep)
		host->give_back(host, ring, hand->chains[--hand->count]);
}

/* Copies between the hand's buffers and plain memory. */
static void hand_copy(const struct net_hand *hand, void *data, uint64_t len, bool to_guest)
{
	char *at = data;

	for (unsigned int i = 0; i < hand->iov_count && len; i++) {
		uint64_t part = MIN(len, hand->iov[i].iov_len);

		if (to_guest)
			memcpy(hand->iov[i].iov_base, at, part);
		else
			memcpy(at, hand->iov[i].iov_base, part);
		at += part;
		len -= part;
	}
}

/* Stores how many chains the frame has, wherever the guest wants that. */
static void store_count(const struct net_hand *hand, uint16_t count)
{
	const uint8_t bytes[2] = {(uint8_t)count, (uint8_t)(count >> 8)};
	uint64_t at = offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers);
	unsigned int done = 0;

	for (unsigned int i = 0; i < hand->iov_count && done < 2; i++) {
		const struct iovec *iov = &hand->iov[i];

		for (; at < iov->iov_len && done < 2; at++)
			((uint8_t *)iov->iov_base)[at] = bytes[done++];
		at -= iov->iov_len;
	}
}

/* A frame of `len` bytes is in the hand: the chains that it needs are the guest's. */
static void deliver(struct net *net, unsigned int ring, uint64_t len)
{
	struct backend_host *host = net->backend.host;
	struct net_hand *hand = &net->hand;
	unsigned int used = 0;
	uint64_t left = len;

	for (; used == 0 || left > 0; used++)
		left -= MIN(left, hand->chains[used]->in_len);
	give_back(net, ring, used);
	if (net->header == NET_HEADER)
		store_count(hand, (uint16_t)used);
	for (unsigned int i = 0; i < used; i++) {
		struct virtq_chain *chain = hand->chains[i];
		uint64_t part = MIN(len, chain->in_len);

		chain->joined = i + 1 < used;
		host->filled(host, ring, chain, (uint32_t)part);
		len -= part;
	}
	hand->count = 0;
}

/* The frame in the spill buffer is the next one. Its bytes if it is the guest's now, 0, -1: dropped. */
static int64_t deliver_waiting(struct net *net, struct net_queue *q, unsigned int ring)
{
	struct backend_host *host = net->backend.host;
	struct net_hand *hand = &net->hand;
	uint32_t len = q->waiting;

	take_hand(net, ring, len);
	if (hand->bytes >= len) {
		hand_copy(hand, q->spill, len, true);
		q->waiting = 0;
		deliver(net, ring, len);
		return len;
	}
	q->starved = (int)hand->count;
	/* One that no more buffers can come for does not hold up those behind it. */
	if (hand->count && (!is_mergeable(net) || hand->iov_count + 1 >= NET_HAND_MAX ||
				   hand->count >= host->ring_size(host, ring)))
		q->waiting = 0;
	give_back(net, ring, 0);
	return q->waiting ? 0 : -1;
}

/* A frame that ended in the spill buffer, behind the room for what went to the hand. */
static int64_t keep_spilled(struct net *net, struct net_queue *q, unsigned int ring, uint64_t len)
{
	hand_copy(&net->hand, q->spill, net->hand.bytes, false);
	give_back(net, ring, 0);
	q->waiting = (uint32_t)len;
	q->guess = (uint32_t)len;
	return deliver_waiting(net, q, ring);
}

static void note_read_error(struct net *net, struct net_queue *q, int error)
{
	q->is_dry = true;
	if (error != EAGAIN && error != EIO && !net->failure[0]) /* EIO: it is down for now */
		snprintf(net->failure, sizeof(net->failure), "the tap cannot be read: %s",
			strerror(error));
}

/* One frame. Its bytes; 0: there is none, or no buffers; -1: one was dropped. */
static int64_t receive_frame(struct net *net, struct net_queue *q, uint16_t queue)
{
	struct net_hand *hand = &net->hand;
	unsigned int ring = 2u * queue, count;
	ssize_t n;

	if (q->waiting)
		return deliver_waiting(net, q, ring);
	take_hand(net, ring, q->guess);
	if (!hand->count) {
		q->starved = 0;
		return 0;
	}
	q->starved = -1;
	count = hand->iov_count;
	if (hand->bytes < NET_FRAME_MAX) /* else no frame is longer than the hand */
		hand->iov[count++] = (struct iovec){
			.iov_base = q->spill + hand->bytes, .iov_len = NET_FRAME_MAX - hand->bytes};
	n = net_tap_read(&net->tap, queue, hand->iov, (int)count);
	if (n <= 0) {
		give_back(net, ring, 0);
		note_read_error(net, q, n < 0 ? (int)-n : EAGAIN);
		return 0;
	}
	q->is_dry = false;
	if ((uint64_t)n > hand->bytes)
		return keep_spilled(net, q, ring, (uint64_t)n);
	q->guess = (uint32_t)MAX((q->guess * 7ull + (uint64_t)n) / 8, NET_GUESS);
	deliver(net, ring, (uint64_t)n);
	return n;
}

bool net_receive(struct net *net, uint16_t queue)
{
	struct net_queue *q = &net->queues[queue];
	uint64_t bytes = 0;
	int64_t n = 0;

	for (unsigned int frames = 0; frames < TURN_FRAMES && bytes < TURN_BYTES; frames++) {
		n = receive_frame(net, q, queue);
		if (n == 0)
			break;
		bytes += n > 0 ? (uint64_t)n : 0;
	}
	return bytes > 0 || n < 0;
}
