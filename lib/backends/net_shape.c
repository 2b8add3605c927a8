/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/backends/net_shape.h"

#include <linux/virtio_net.h>
#include <string.h>

#include "lib/backends/net_tap.h"

#define CONFIG_LEN 12u

static uint64_t bit(unsigned int n)
{
	return 1ull << n;
}

/* Those of the control queue and STATUS are served by the VMM, which asks whether it may. */
uint64_t net_features_of(bool has_mac, uint16_t queues, bool uso)
{
	static const uint8_t always[] = {
		VIRTIO_NET_F_CSUM,
		VIRTIO_NET_F_GUEST_CSUM,
		VIRTIO_NET_F_MTU,
		VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6,
		VIRTIO_NET_F_GUEST_ECN,
		VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6,
		VIRTIO_NET_F_HOST_ECN,
		VIRTIO_NET_F_MRG_RXBUF,
		VIRTIO_NET_F_STATUS,
		VIRTIO_NET_F_CTRL_VQ,
		VIRTIO_NET_F_CTRL_RX,
		VIRTIO_NET_F_CTRL_VLAN,
		VIRTIO_NET_F_CTRL_RX_EXTRA,
		VIRTIO_NET_F_CTRL_MAC_ADDR,
		VIRTIO_NET_F_GUEST_ANNOUNCE,
	};
	uint64_t features = 0;

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		features |= bit(always[i]);
	if (has_mac)
		features |= bit(VIRTIO_NET_F_MAC);
	if (queues > 1)
		features |= bit(VIRTIO_NET_F_MQ);
	if (uso)
		features |= bit(VIRTIO_NET_F_HOST_USO) | bit(VIRTIO_NET_F_GUEST_USO4) |
			    bit(VIRTIO_NET_F_GUEST_USO6);
	return features;
}

struct net_shape net_shape_of_config(const uint8_t config[256])
{
	struct virtio_net_config c;
	struct net_shape shape;

	memcpy(&c, config, CONFIG_LEN);
	shape = (struct net_shape){.queues = c.max_virtqueue_pairs, .mtu = c.mtu};
	memcpy(shape.mac, c.mac, sizeof(shape.mac));
	return shape;
}

void net_shape_to_config(const struct net_shape *shape, uint8_t config[256])
{
	struct virtio_net_config c = {
		.status = VIRTIO_NET_S_LINK_UP,
		.max_virtqueue_pairs = shape->queues,
		.mtu = shape->mtu,
	};

	memcpy(c.mac, shape->mac, sizeof(c.mac));
	memset(config, 0, 256);
	memcpy(config, &c, CONFIG_LEN);
}
