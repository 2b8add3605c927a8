/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net (virtio 1.2, 5.1): frames between the guest's rings and a tap, and the configuration
 * space. What is promised of a frame is in net.c. The control queue is the VMM's own.
 */
#pragma once

#include "lib/backends/backend.h"
#include "lib/backends/net_tap.h"

struct net_options {
	uint16_t mtu;       /* of the network behind the tap, 0: not known */
	const uint8_t *mac; /* six bytes, which the guest is told; NULL: none */
	bool only_mac; /* frames with another source are not sent, nor do those for others come */
	bool no_vlan;  /* nor are those with a VLAN tag */
};

/* As many queues as the tap has, of which it takes possession, also on failure. */
struct backend *net_new(const struct net_options *options, struct net_tap *tap, struct err *e);
