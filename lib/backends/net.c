/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Ring 2n carries frames to the guest, ring 2n+1 frames from it, both by queue n
 * of the tap.
 *
 * From the guest. A chain is a virtio_net_hdr and a frame. Header and addresses are copied once, the
 * copy is judged, and the copy is what is sent; the rest goes from guest memory to the kernel as it
 * is. The chain is done before the next one is fetched.
 *
 * To the guest: net_receive.c.
 *
 * What is promised of a frame, whatever is killed at whatever time:
 *	from the guest	it is sent once, or not at all: what was in flight when a worker died may have
 *			been sent, so its successor completes it, and does not send it (virtq_chain
 *			.replayed)
 *	to the guest	it arrives once and whole, or not at all: the buffers of one frame become
 *			visible together (.joined), and a buffer that a dead worker had half filled
 *			goes back to where it was fetched from (virtq_config.refetch)
 *	both		not to another VM: a worker has the queues of one attachment, and no others
 * Frames of a queue keep their order. A network may lose frames, and so may we: the one in our hand,
 * when we are killed. The link stays up, since the VMM sees no disconnect, and the tap stays open.
 */
#include "lib/backends/net_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backends/net_shape.h"

#define HEAD_MAX (NET_HEADER + ETH_HLEN) /* what is judged */

static struct net *net_of(struct backend *b)
{
	return (struct net *)b;
}

/* --- features and configuration -------------------------------------------------------------- */

static uint64_t net_features(struct backend *b)
{
	const struct net *net = net_of(b);

	return net_features_of(net->options.mac, net->tap.queues, net->tap.can_uso);
}

static uint16_t net_rings(struct backend *b)
{
	return 2 * net_of(b)->tap.queues;
}

static struct net_shape net_shape(const struct net *net)
{
	struct net_shape shape = {
		.queues = net->tap.queues,
		.mtu = net->options.mtu ? net->options.mtu : ETH_DATA_LEN,
	};

	memcpy(shape.mac, net->mac, sizeof(shape.mac));
	return shape;
}

static void net_config_read(struct backend *b, uint32_t offset, uint32_t size, uint8_t *data)
{
	const struct net_shape shape = net_shape(net_of(b));
	uint8_t config[256];

	net_shape_to_config(&shape, config);
	memset(data, 0, size);
	if (offset < sizeof(config))
		memcpy(data, config + offset, MIN(size, sizeof(config) - offset));
}

static int net_config_write(
	struct backend *b, uint32_t offset, uint32_t size, const uint8_t *data, struct err *e)
{
	(void)b, (void)data;
	return err_set(e, ERR_REFUSED, "CONFIG-RO",
		"configuration bytes %u to %u are not the driver's to write", offset,
		offset + size);
}

static void net_set_features(struct backend *b, uint64_t features)
{
	struct net *net = net_of(b);
	bool mergeable = features & (net_bit(VIRTIO_NET_F_MRG_RXBUF) | net_bit(VIRTIO_F_VERSION_1));

	net->features = features;
	if (!features) /* nobody is there */
		return;
	net->header = mergeable ? NET_HEADER : NET_HEADER_LEGACY;
	net_tap_set_header(&net->tap, (int)net->header);
	net_tap_set_offload(&net->tap, features);
}

static int net_restore(struct backend *b, uint8_t saved[64], struct err *e)
{
	(void)b, (void)saved, (void)e; /* all that it must know is in the tap and in the page */
	return 0;
}

/* What a driver reads once and goes by from then on must not differ. */
static int net_adopt(struct backend *b, const uint8_t config[256], struct err *e)
{
	const struct net_shape is = net_shape(net_of(b)), was = net_shape_of_config(config);

	if (net_of(b)->options.mac && memcmp(was.mac, is.mac, sizeof(is.mac)) != 0)
		return err_set(e, ERR_REFUSED, "NET-DIFFERS",
			"the interface has another MAC address than the one before");
	if (was.queues > is.queues)
		return err_set(e, ERR_REFUSED, "NET-DIFFERS",
			"the interface has %u queues, and the one before had %u", is.queues,
			was.queues);
	return 0;
}

static bool net_refresh(struct backend *b)
{
	(void)b;
	return false;
}

static int net_set_mtu(struct backend *b, uint64_t mtu, struct err *e)
{
	struct net *net = net_of(b);

	if (mtu < ETH_MIN_MTU || mtu > ETH_MAX_MTU || (net->options.mtu && mtu > net->options.mtu))
		return err_set(e, ERR_REFUSED, "NET-MTU",
			"an MTU of %llu: the network behind the device has %u",
			(unsigned long long)mtu, net->options.mtu);
	return 0;
}

static const char *net_failure(struct backend *b)
{
	return net_of(b)->failure[0] ? net_of(b)->failure : NULL;
}

/* --- from the guest -------------------------------------------------------------------------- */

/* May the guest send what begins so, with an Ethernet header? */
static bool is_allowed(const struct net *net, const uint8_t frame[ETH_HLEN])
{
	uint16_t type = (uint16_t)(frame[12] << 8 | frame[13]);

	if (net->options.only_mac && memcmp(frame + ETH_ALEN, net->mac, ETH_ALEN) != 0)
		return false;
	return !net->options.no_vlan || (type != ETH_P_8021Q && type != ETH_P_8021AD);
}

/* Copies up to `size` bytes from the front, and lets *first and *skip say where the rest begins. */
static size_t copy_head(const struct virtq_chain *chain, uint8_t *to, size_t size,
	unsigned int *first, size_t *skip)
{
	size_t len = 0;

	*skip = 0;
	for (*first = 0; *first < chain->out_count && len < size; ++*first) {
		const struct iovec *iov = &chain->iov[*first];
		size_t part = MIN(size - len, iov->iov_len);

		memcpy(to + len, iov->iov_base, part);
		len += part;
		if (part < iov->iov_len) {
			*skip = part;
			break;
		}
	}
	return len;
}

static bool send_frame(struct net *net, uint16_t queue, struct virtq_chain *chain)
{
	struct iovec iov[1 + VIRTQ_CHAIN_IOV];
	uint8_t head[HEAD_MAX] = {0};
	unsigned int first;
	size_t skip, len = copy_head(chain, head, net->header + ETH_HLEN, &first, &skip);
	int count = 1;

	if (len < net->header + ETH_HLEN || chain->out_len > NET_FRAME_MAX ||
		!is_allowed(net, head + net->header))
		return false;
	iov[0] = (struct iovec){.iov_base = head, .iov_len = len};
	for (unsigned int i = first; i < chain->out_count; i++) {
		iov[count] = chain->iov[i];
		iov[count].iov_base = (char *)iov[count].iov_base + skip;
		iov[count++].iov_len -= skip;
		skip = 0;
	}
	return net_tap_write(&net->tap, queue, iov, count) == 0;
}

static void net_submit(struct backend *b, unsigned int ring, struct virtq_chain *chain)
{
	struct net *net = net_of(b);
	bool sent = !chain->replayed && send_frame(net, (uint16_t)(ring / 2), chain);

	b->host->done(b->host, ring, chain, !sent);
}

/* A RARP request: switches learn from it where the address is. */
static void net_announce(struct backend *b, const uint8_t mac[6])
{
	static const uint8_t request[] = {0, 1, 8, 0, 6, 4, 0, 3};
	struct net *net = net_of(b);
	uint8_t frame[NET_HEADER + ETH_ZLEN] = {0}, *p = frame + net->header;
	struct iovec iov = {.iov_base = frame, .iov_len = net->header + ETH_ZLEN};

	memset(p, 0xff, ETH_ALEN);
	memcpy(p + 6, mac, ETH_ALEN);
	p[12] = ETH_P_RARP >> 8;
	p[13] = ETH_P_RARP & 0xff;
	memcpy(p + 14, request, sizeof(request));
	memcpy(p + 22, mac, ETH_ALEN); /* sender, and (at 32) target */
	memcpy(p + 32, mac, ETH_ALEN);
	net_tap_write(&net->tap, 0, &iov, 1);
}

/* --- to the guest: net_receive.c --------------------------------------------------------------- */

static bool net_fills(struct backend *b, unsigned int ring)
{
	(void)b;
	return ring % 2 == 0;
}

static bool net_poll(struct backend *b)
{
	struct net *net = net_of(b);
	bool worked = false;

	for (uint16_t i = 0; i < net->tap.queues && !net->failure[0]; i++)
		worked |= net_receive(net, i);
	return worked;
}

static int net_starved(struct backend *b, unsigned int ring)
{
	const struct net_queue *q = &net_of(b)->queues[ring / 2];

	return q->is_dry && !q->waiting ? -1 : q->starved;
}

static void net_enable(struct backend *b, unsigned int ring, bool on)
{
	struct net *net = net_of(b);

	if (ring % 2)
		return;
	if (!on) /* what waited was for who was there */
		net->queues[ring / 2].waiting = 0;
	net_tap_use_queue(&net->tap, (uint16_t)(ring / 2), on);
}

static void tap_has_news(void *arg, unsigned int events)
{
	struct net *net = arg;

	(void)events; /* the round that follows looks at all queues */
	for (uint16_t i = 0; i < net->tap.queues; i++)
		net->queues[i].is_dry = false;
}

static int net_begin(struct backend *b, struct watch_loop *loop, struct err *e)
{
	return net_tap_watch(&net_of(b)->tap, loop, tap_has_news, net_of(b), e);
}

/* --- nothing is ever with the host ----------------------------------------------------------- */

static bool net_has_room(struct backend *b)
{
	(void)b;
	return true;
}

static void net_flush(struct backend *b)
{
	(void)b;
}

static void net_complete(struct backend *b, uint64_t user_data, int32_t res)
{
	(void)b, (void)user_data, (void)res;
}

static void net_carry(struct backend *b, bool on, bool fenced)
{
	(void)b, (void)on, (void)fenced;
}

static unsigned int net_in_kernel(struct backend *b)
{
	(void)b;
	return 0;
}

static void net_free(struct backend *b)
{
	struct net *net = net_of(b);

	for (uint16_t i = 0; i < NET_TAP_QUEUES_MAX; i++)
		free(net->queues[i].spill);
	net_tap_close(&net->tap);
	free(net);
}

static const struct backend_ops net_ops = {
	.name = "net",
	.rings_per_queue = 2,
	.in_order = true,
	.features = net_features,
	.rings = net_rings,
	.config_read = net_config_read,
	.config_write = net_config_write,
	.set_features = net_set_features,
	.restore = net_restore,
	.adopt = net_adopt,
	.refresh = net_refresh,
	.has_room = net_has_room,
	.submit = net_submit,
	.flush = net_flush,
	.complete = net_complete,
	.carry = net_carry,
	.again = net_submit, /* nothing is ever carried */
	.in_kernel = net_in_kernel,
	.fills = net_fills,
	.begin = net_begin,
	.poll = net_poll,
	.starved = net_starved,
	.enable = net_enable,
	.set_mtu = net_set_mtu,
	.announce = net_announce,
	.failure = net_failure,
	.free = net_free,
};

struct backend *net_new(const struct net_options *options, struct net_tap *tap, struct err *e)
{
	struct net *net = calloc(1, sizeof(*net));

	if (!net) {
		net_tap_close(tap);
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a network device");
		return NULL;
	}
	net->backend.ops = &net_ops;
	net->options = *options;
	if (options->mac)
		memcpy(net->mac, options->mac, ETH_ALEN);
	net->tap = *tap;
	if (options->only_mac)
		net_tap_filter(&net->tap, net->mac);
	net->header = NET_HEADER;
	for (uint16_t i = 0; i < tap->queues; i++) {
		struct net_queue *q = &net->queues[i];

		q->guess = NET_GUESS;
		q->starved = -1;
		q->spill = malloc(NET_FRAME_MAX);
		if (!q->spill) {
			net_free(&net->backend);
			err_set(e, ERR_FAILED, "MEMORY", "no memory for a network device");
			return NULL;
		}
	}
	return &net->backend;
}
