/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.c between a guest's driver (driver.h) and a tap that is one end of a socket pair, which keeps
 * frames apart as a tap does. The session is played by this file: its rings, and nothing else.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/backends/net.h"
#include "tests/unit/driver.h"
#include "tests/unit/unit.h"

#define HEADER    12u
#define BUFFERS   (GUEST_BASE + 0x10000)
#define RX        0
#define TX        1
#define MERGEABLE (1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_F_VERSION_1)
#define PLAIN     (1ull << VIRTIO_F_VERSION_1)

static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};

struct world {
	struct backend_host host; /* first */
	struct driver drivers[2];
	struct device devices[2];
	int inflight[2];
	struct backend *net;
	int tap; /* the network's end */
	unsigned int failed, posted;
};

static struct world *world_of(struct backend_host *host)
{
	return (struct world *)host;
}

static void done(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, bool failed)
{
	world_of(host)->failed += failed;
	virtq_push(world_of(host)->devices[ring].q, chain, 0);
}

static struct virtq_chain *take(struct backend_host *host, unsigned int ring)
{
	return virtq_pop(world_of(host)->devices[ring].q);
}

static void filled(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, uint32_t written)
{
	virtq_push(world_of(host)->devices[ring].q, chain, written);
}

static void give_back(struct backend_host *host, unsigned int ring, struct virtq_chain *chain)
{
	virtq_give_back(world_of(host)->devices[ring].q, chain);
}

static uint16_t ring_size(struct backend_host *host, unsigned int ring)
{
	return world_of(host)->drivers[ring].opt.size;
}

static void start_ring(struct world *w, unsigned int ring, bool takeover)
{
	struct virtq_config cfg = driver_config(&w->drivers[ring]);
	struct err e = ERR_INIT;

	cfg.in_order = true;
	cfg.refetch = ring == RX;
	cfg.takeover = takeover;
	ck_assert_msg(
		device_open(&w->devices[ring], &w->drivers[ring], &cfg, w->inflight[ring], &e) == 0,
		"%s", e.msg);
}

static void world_open(
	struct world *w, bool packed, uint64_t features, const struct net_options *options)
{
	const struct net_options none = {.mac = mac};
	struct err e = ERR_INIT;
	struct net_tap tap;
	int pair[2];

	*w = (struct world){.host = {.done = done,
				    .take = take,
				    .filled = filled,
				    .give_back = give_back,
				    .ring_size = ring_size}};
	for (unsigned int ring = RX; ring <= TX; ring++) {
		driver_open(&w->drivers[ring],
			(struct driver_options){.size = 16, .packed = packed, .event_idx = true});
		w->inflight[ring] = inflight_memfd(&w->drivers[ring]);
		start_ring(w, ring, false);
	}
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(net_tap_adopt(&tap, &pair[1], 1, &e), 0);
	w->tap = pair[0];
	w->net = net_new(options ? options : &none, &tap, &e);
	w->net->host = &w->host;
	w->net->ops->set_features(w->net, features);
}

static void world_close(struct world *w)
{
	w->net->ops->free(w->net);
	close(w->tap);
	for (unsigned int ring = RX; ring <= TX; ring++) {
		device_close(&w->devices[ring]);
		driver_close(&w->drivers[ring]);
		close(w->inflight[ring]);
	}
}

/* The guest makes an empty buffer available, in two parts. */
static void post(struct world *w, uint32_t size)
{
	uint64_t at = BUFFERS + (uint64_t)w->posted++ % 16 * 0x10000;
	const struct driver_buf bufs[] = {{at, 8}, {at + 8, size - 8}};

	memset(driver_host(&w->drivers[RX], at), 0xee, size);
	ck_assert_int_ge(driver_add(&w->drivers[RX], bufs, 0, 2, 0), 0);
}

/* The network sends a frame of `len` bytes, each of which depends on its place and on `seed`. */
static uint8_t byte_at(uint32_t at, uint8_t seed)
{
	return (uint8_t)(at * 7 + at / 251 + seed);
}

static void arrive(struct world *w, uint32_t len, uint8_t seed)
{
	static uint8_t frame[HEADER + 65536];

	memset(frame, 0, HEADER);
	for (uint32_t i = 0; i < len; i++)
		frame[HEADER + i] = byte_at(i, seed);
	ck_assert_int_eq(send(w->tap, frame, HEADER + len, 0), HEADER + len);
}

static bool poll_net(struct world *w)
{
	bool worked = w->net->ops->poll(w->net);

	virtq_publish(w->devices[RX].q);
	ck_assert_uint_eq(virtq_in_flight(w->devices[RX].q), 0);
	return worked;
}

/* The guest finds one frame of `len` bytes in `count` buffers, the first of them number `first`. */
static void expect_frame(
	struct world *w, uint32_t len, uint8_t seed, uint16_t count, unsigned int first)
{
	uint32_t got = 0;

	for (uint16_t i = 0; i < count; i++) {
		uint64_t at = BUFFERS + (uint64_t)(first + i) % 16 * 0x10000;
		const uint8_t *data = driver_host(&w->drivers[RX], at);
		uint32_t written, skip = i ? 0 : HEADER;
		uint16_t id;

		ck_assert(driver_take(&w->drivers[RX], &id, &written));
		if (i == 0)
			ck_assert_uint_eq(data[10] | data[11] << 8, count);
		for (uint32_t k = skip; k < written; k++, got++)
			ck_assert_uint_eq(data[k], byte_at(got, seed));
	}
	ck_assert_uint_eq(got, len);
}

static void expect_no_frame(struct world *w)
{
	uint32_t len;
	uint16_t id;

	ck_assert(!driver_take(&w->drivers[RX], &id, &len));
}

/* --- to the guest ---------------------------------------------------------------------------- */

static void frames_arrive(bool packed)
{
	struct world w;

	world_open(&w, packed, MERGEABLE, NULL);
	ck_assert(!poll_net(&w));
	for (int i = 0; i < 8; i++)
		post(&w, 2048);
	ck_assert(!poll_net(&w));
	arrive(&w, 60, 1);
	arrive(&w, 1514, 2);
	ck_assert(poll_net(&w));
	expect_frame(&w, 60, 1, 1, 0);
	expect_frame(&w, 1514, 2, 1, 1);
	expect_no_frame(&w);
	/* The first one of this length comes as a surprise, the second does not. */
	arrive(&w, 5000, 3);
	arrive(&w, 5000, 4);
	ck_assert(poll_net(&w));
	expect_frame(&w, 5000, 3, 3, 2);
	expect_frame(&w, 5000, 4, 3, 5);
	expect_no_frame(&w);
	world_close(&w);
}

START_TEST(frames_arrive_in_split_rings)
{
	frames_arrive(false);
}
END_TEST

START_TEST(frames_arrive_in_packed_rings)
{
	frames_arrive(true);
}
END_TEST

/* One waits for buffers; the one behind it, too; nothing is lost and nothing changes places. */
static void a_frame_waits(bool packed)
{
	struct world w;

	world_open(&w, packed, MERGEABLE, NULL);
	post(&w, 1024);
	post(&w, 1024);
	arrive(&w, 3000, 1);
	arrive(&w, 100, 2);
	ck_assert_int_eq(w.net->ops->starved(w.net, RX), -1);
	poll_net(&w);
	expect_no_frame(&w);
	ck_assert_int_eq(w.net->ops->starved(w.net, RX), 2);
	post(&w, 4096);
	ck_assert(poll_net(&w));
	expect_frame(&w, 3000, 1, 3, 0);
	expect_no_frame(&w);
	ck_assert_int_eq(w.net->ops->starved(w.net, RX), 0);
	post(&w, 1024);
	ck_assert(poll_net(&w));
	expect_frame(&w, 100, 2, 1, 3);
	poll_net(&w);
	ck_assert_int_eq(
		w.net->ops->starved(w.net, RX), 0); /* it has none, and the tap was not asked */
	world_close(&w);
}

START_TEST(a_frame_waits_for_buffers)
{
	a_frame_waits(false);
	a_frame_waits(true);
}
END_TEST

START_TEST(what_can_never_fit_is_dropped)
{
	struct world w;

	/* Without merging: what is longer than its buffer. */
	world_open(&w, false, PLAIN, NULL);
	post(&w, 1526);
	post(&w, 1526);
	arrive(&w, 3000, 1);
	arrive(&w, 1514, 2);
	ck_assert(poll_net(&w));
	expect_frame(&w, 1514, 2, 1, 0);
	expect_no_frame(&w);
	world_close(&w);

	/* With merging: what is longer than all that the ring can ever hold. */
	world_open(&w, true, MERGEABLE, NULL);
	for (int i = 0; i < 8; i++) /* of two descriptors each */
		post(&w, 64);
	arrive(&w, 3000, 1);
	poll_net(&w);
	arrive(&w, 100, 2);
	ck_assert_int_eq(w.net->ops->starved(w.net, RX), 8);
	expect_no_frame(&w);
	world_close(&w);
}
END_TEST

/* A worker dies with buffers in its hand: its successor has none of them in flight. */
START_TEST(buffers_of_a_dead_worker_are_used_again)
{
	for (int packed = 0; packed <= 1; packed++) {
		struct world w;

		world_open(&w, packed, MERGEABLE, NULL);
		for (int i = 0; i < 4; i++)
			post(&w, 1024);
		ck_assert_ptr_nonnull(virtq_pop(w.devices[RX].q));
		ck_assert_ptr_nonnull(virtq_pop(w.devices[RX].q));
		device_close(&w.devices[RX]);
		start_ring(&w, RX, true);
		ck_assert_uint_eq(virtq_in_flight(w.devices[RX].q), 0);
		arrive(&w, 2000, 5);
		ck_assert(poll_net(&w));
		expect_frame(&w, 2000, 5, 2, 0);
		world_close(&w);
	}
}
END_TEST

/* --- from the guest -------------------------------------------------------------------------- */

#define FRAME_LEN 100u

/* The guest sends a frame, its descriptors cut as `cuts` says (0 ends them). */
static void transmit(struct world *w, const uint32_t *cuts, const uint8_t source[6], uint16_t type)
{
	struct driver_buf bufs[8];
	uint8_t *frame = driver_host(&w->drivers[TX], BUFFERS);
	unsigned int count = 0;
	uint32_t at = 0;

	for (uint32_t i = 0; i < HEADER + FRAME_LEN; i++)
		frame[i] = i < HEADER ? 0 : byte_at(i - HEADER, 9);
	memcpy(frame + HEADER + 6, source, 6);
	frame[HEADER + 12] = (uint8_t)(type >> 8);
	frame[HEADER + 13] = (uint8_t)type;
	for (; cuts[count]; count++) {
		bufs[count] = (struct driver_buf){BUFFERS + at, cuts[count]};
		at += cuts[count];
	}
	ck_assert_int_ge(driver_add(&w->drivers[TX], bufs, count, 0, 0), 0);
}

static void submit_all(struct world *w)
{
	struct virtq_chain *chain;
	uint32_t len;
	uint16_t id;

	while ((chain = virtq_pop(w->devices[TX].q)))
		w->net->ops->submit(w->net, TX, chain);
	virtq_publish(w->devices[TX].q);
	ck_assert(driver_take(&w->drivers[TX], &id, &len));
}

/* The network sees this frame, or none. */
static bool seen(struct world *w)
{
	uint8_t got[256], *want = driver_host(&w->drivers[TX], BUFFERS);
	ssize_t n = recv(w->tap, got, sizeof(got), MSG_DONTWAIT);

	if (n < 0) {
		ck_assert_int_eq(errno, EAGAIN);
		return false;
	}
	ck_assert_int_eq(n, HEADER + FRAME_LEN);
	ck_assert_int_eq(memcmp(got, want, (size_t)n), 0);
	return true;
}

static const uint32_t whole[] = {HEADER + FRAME_LEN, 0};

START_TEST(frames_are_sent_however_they_are_cut)
{
	static const uint32_t cuts[][8] = {
		{HEADER + FRAME_LEN},
		{HEADER, FRAME_LEN},
		{HEADER, 14, FRAME_LEN - 14},
		{1, 2, 3, 4, 5, 6, HEADER + FRAME_LEN - 21},
		{HEADER + 14, FRAME_LEN - 14},
		{HEADER + 13, 1, FRAME_LEN - 14},
	};
	struct world w;

	world_open(&w, true, MERGEABLE, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		transmit(&w, cuts[i], mac, 0x800);
		submit_all(&w);
		ck_assert(seen(&w));
		ck_assert(!seen(&w));
	}
	ck_assert_uint_eq(w.failed, 0);
	world_close(&w);
}
END_TEST

START_TEST(what_is_no_frame_is_not_sent)
{
	static const uint32_t cuts[][8] = {{1}, {HEADER}, {HEADER, 13}};
	struct world w;

	world_open(&w, false, MERGEABLE, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		transmit(&w, cuts[i], mac, 0x800);
		submit_all(&w);
		ck_assert(!seen(&w));
		ck_assert_uint_eq(w.failed, i + 1);
	}
	world_close(&w);
}
END_TEST

START_TEST(what_policy_forbids_is_not_sent)
{
	static const uint8_t other[6] = {0x52, 0x54, 0, 1, 2, 4};
	const struct net_options strict = {.mac = mac, .only_mac = true, .no_vlan = true};
	struct world w;

	world_open(&w, false, MERGEABLE, &strict);
	transmit(&w, whole, mac, 0x800);
	submit_all(&w);
	ck_assert(seen(&w));
	transmit(&w, whole, other, 0x800);
	submit_all(&w);
	transmit(&w, whole, mac, 0x8100);
	submit_all(&w);
	transmit(&w, whole, mac, 0x88a8);
	submit_all(&w);
	ck_assert(!seen(&w));
	ck_assert_uint_eq(w.failed, 3);
	world_close(&w);
}
END_TEST

/* It may have been sent: once more would be twice. */
START_TEST(what_a_dead_worker_had_is_not_sent_again)
{
	for (int packed = 0; packed <= 1; packed++) {
		struct world w;

		world_open(&w, packed, MERGEABLE, NULL);
		transmit(&w, whole, mac, 0x800);
		ck_assert_ptr_nonnull(virtq_pop(w.devices[TX].q));
		device_close(&w.devices[TX]);
		start_ring(&w, TX, true);
		submit_all(&w);
		ck_assert(!seen(&w));
		transmit(&w, whole, mac, 0x800);
		submit_all(&w);
		ck_assert(seen(&w));
		world_close(&w);
	}
}
END_TEST

/* --- the device ------------------------------------------------------------------------------ */

START_TEST(the_driver_reads_what_it_is)
{
	const struct net_options options = {.mac = mac, .mtu = 9000};
	struct virtio_net_config config;
	struct err e = ERR_INIT;
	struct world w;

	world_open(&w, false, MERGEABLE, &options);
	w.net->ops->config_read(w.net, 0, sizeof(config), (uint8_t *)&config);
	ck_assert_int_eq(memcmp(config.mac, mac, sizeof(mac)), 0);
	ck_assert_uint_eq(config.mtu, 9000);
	ck_assert_uint_eq(config.max_virtqueue_pairs, 1);
	ck_assert_uint_eq(w.net->ops->rings(w.net), 2);
	ck_assert(w.net->ops->features(w.net) & 1ull << VIRTIO_NET_F_MAC);
	ck_assert_int_eq(w.net->ops->config_write(w.net, 0, 1, mac, &e), -1);
	ck_assert_int_eq(w.net->ops->set_mtu(w.net, 9000, &e), 0);
	ck_assert_int_eq(w.net->ops->set_mtu(w.net, 9001, &e), -1);
	ck_assert_int_eq(w.net->ops->set_mtu(w.net, 67, &e), -1);
	world_close(&w);
}
END_TEST

START_TEST(it_tells_the_network_where_it_is)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint8_t got[256];
	struct world w;

	world_open(&w, false, MERGEABLE, NULL);
	w.net->ops->announce(w.net, mac);
	ck_assert_int_eq(recv(w.tap, got, sizeof(got), MSG_DONTWAIT), HEADER + 60);
	ck_assert_int_eq(memcmp(got + HEADER, everybody, 6), 0);
	ck_assert_int_eq(memcmp(got + HEADER + 6, mac, 6), 0);
	ck_assert_uint_eq(got[HEADER + 12] << 8 | got[HEADER + 13], 0x8035);
	ck_assert_int_eq(memcmp(got + HEADER + 22, mac, 6), 0);
	ck_assert_int_eq(memcmp(got + HEADER + 32, mac, 6), 0);
	world_close(&w);
}
END_TEST

UNIT_MAIN(frames_arrive_in_split_rings, frames_arrive_in_packed_rings, a_frame_waits_for_buffers,
	what_can_never_fit_is_dropped, buffers_of_a_dead_worker_are_used_again,
	frames_are_sent_however_they_are_cut, what_is_no_frame_is_not_sent,
	what_policy_forbids_is_not_sent, what_a_dead_worker_had_is_not_sent_again,
	the_driver_reads_what_it_is, it_tells_the_network_where_it_is)
