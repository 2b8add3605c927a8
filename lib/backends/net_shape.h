/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network device as its driver reads it in the configuration space (virtio 1.2, 5.1.4), and back. */
#pragma once

#include <stdbool.h>

#include "lib/util.h"

struct net_shape {
	uint8_t mac[6];
	uint16_t queues; /* in pairs */
	uint16_t mtu;    /* of the network behind it, bytes */
};

/*
 * The features that a device of ours offers, besides those of any device (VU_RING_FEATURES). `uso`:
 * the host's taps segment UDP, too.
 */
uint64_t net_features_of(bool has_mac, uint16_t queues, bool uso);

struct net_shape net_shape_of_config(const uint8_t config[256]);

/* All of it; the link is up. */
void net_shape_to_config(const struct net_shape *shape, uint8_t config[256]);
