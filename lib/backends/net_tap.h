/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tap or macvtap device as its user has it: one descriptor for each of its queues, through each of
 * which whole frames are read and written, behind a virtio_net_hdr. It never waits. One thread.
 */
#pragma once

#include <sys/uio.h>

#include "lib/err.h"
#include "lib/watch.h"

#define NET_TAP_QUEUES_MAX 32u
/* What a frame may have in all: 64 KiB of IP, Ethernet with two VLAN tags, and the header. */
#define NET_FRAME_MAX (65536u + 22u + 12u)

/* Newer than the headers of Debian 12. */
#ifndef VIRTIO_NET_F_HOST_USO
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif

struct net_tap {
	int fds[NET_TAP_QUEUES_MAX];
	struct watch *watches[NET_TAP_QUEUES_MAX];
	uint16_t queues;
	bool can_uso; /* segments UDP, too (since Linux 6.2) */
	unsigned int offload;
	int header_bytes; /* 0: not set yet */
	bool is_filtered;
	uint8_t mac[6]; /* then: of unicast frames only those for this address come */
};

/*
 * Opens `name`, which exists: /dev/net/tun or, for a macvtap, its own node; all queues or none. Needs
 * the right to it.
 */
int net_tap_open(struct net_tap *tap, const char *name, uint16_t queues, struct err *e);

/* Takes over descriptors (also on failure), made non-blocking. */
int net_tap_adopt(struct net_tap *tap, const int *fds, uint16_t queues, struct err *e);

void net_tap_close(struct net_tap *tap);

/* News of any queue, edge-triggered. */
int net_tap_watch(
	struct net_tap *tap, struct watch_loop *loop, watch_fn *fn, void *arg, struct err *e);

/* From now on no unicast frames come but those for `mac`: a bridge floods what it does not know. */
void net_tap_filter(struct net_tap *tap, const uint8_t mac[6]);

/* The guest's VIRTIO_NET_F_GUEST_...: what may be left to it. And the header's bytes: 10 or 12. */
void net_tap_set_offload(struct net_tap *tap, uint64_t features);
void net_tap_set_header(struct net_tap *tap, int header_bytes);

/* Whether frames come by this queue. One that is not in use has none, nor keeps those it had. */
void net_tap_use_queue(struct net_tap *tap, uint16_t queue, bool on);

/* One frame. Its bytes, or -errno: -EAGAIN when there is none. What does not fit is cut off. */
ssize_t net_tap_read(struct net_tap *tap, uint16_t queue, const struct iovec *iov, int count);
/* 0, or -errno: the frame is lost. */
int net_tap_write(struct net_tap *tap, uint16_t queue, const struct iovec *iov, int count);
