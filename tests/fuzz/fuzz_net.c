/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/backends/net between a hostile guest and a network: guest memory, where the rings lie, and the
 * turns of guest and network are the input's. The tap is one end of a socket pair.
 *
 *	struct setup	the rings, and what was agreed
 *	turns[24]	what happens
 *	the rest	guest memory from its first byte on
 *
 * What is sent is as long as its chain, and has the guest's own address and no VLAN tag. What arrives
 * fills chains up to its last byte and no further, in order, or is dropped whole; and no chain stays
 * taken when a round is over.
 */
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/backends/net.h"
#include "lib/backends/virtq.h"
#include "tests/fuzz/fuzz.h"

#define MEMORY      0x8000u
#define GPA         0x1000ull
#define MAX_ENTRIES 32u
#define TURNS       24
#define EXPECTED    64 /* frames on their way, at most */
#define RX          0
#define TX          1

struct setup {
	uint8_t size, flags;
	uint8_t desc[2], avail[2], used[2]; /* in units of 64 bytes */
	uint8_t base;   /* of both; of packed rings, the first bit is their laps */
	uint8_t stride; /* where the guest stores during its turns */
} __attribute__((packed));

enum { F_PACKED = 1, F_EVENT_IDX = 2, F_INDIRECT = 4, F_MERGEABLE = 8, F_LEGACY = 16 };

struct world {
	struct backend_host host; /* first */
	struct setup setup;
	struct guest_mem *mem;
	struct inflight *inflight;
	struct virtq *q[2];
	struct backend *net;
	size_t header;
	unsigned int taken;
	uint64_t group; /* bytes of the frame that is just filled in */
	bool in_group;
	uint64_t expected[EXPECTED]; /* bytes of frames that were sent to the guest */
	unsigned int first, end;
};

static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
static int guest_fd = -1, inflight_fd = -1, network = -1, tap_fd = -1;
static uint8_t *guest, *inflight_bytes;

static void require(bool good)
{
	if (!good)
		abort();
}

static struct world *world_of(struct backend_host *host)
{
	return (struct world *)host;
}

static int make_file(size_t len, uint8_t **map)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	require(fd >= 0 && ftruncate(fd, (off_t)len) == 0);
	*map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(*map != MAP_FAILED);
	return fd;
}

static void make_files(void)
{
	int pair[2];

	if (guest_fd >= 0)
		return;
	guest_fd = make_file(MEMORY, &guest);
	inflight_fd = make_file(inflight_region_size(2, MAX_ENTRIES, true), &inflight_bytes);
	require(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	network = pair[0];
	tap_fd = pair[1];
}

/* --- the session's side ----------------------------------------------------------------------- */

static void done(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, bool failed)
{
	(void)failed;
	require(ring == TX);
	virtq_push(world_of(host)->q[TX], chain, 0);
}

static struct virtq_chain *take(struct backend_host *host, unsigned int ring)
{
	struct world *w = world_of(host);
	struct virtq_chain *chain = virtq_pop(w->q[RX]);

	require(ring == RX);
	w->taken += chain != NULL;
	return chain;
}

static void give_back(struct backend_host *host, unsigned int ring, struct virtq_chain *chain)
{
	struct world *w = world_of(host);

	require(ring == RX && w->taken-- > 0 && !w->in_group);
	virtq_give_back(w->q[RX], chain);
}

/* A frame that was sent is the guest's: those before it were dropped. */
static void expect_arrived(struct world *w, uint64_t bytes)
{
	while (w->first < w->end && w->expected[w->first] != bytes)
		w->first++;
	require(w->first < w->end);
	w->first++;
}

static void filled(
	struct backend_host *host, unsigned int ring, struct virtq_chain *chain, uint32_t written)
{
	struct world *w = world_of(host);

	require(ring == RX && w->taken-- > 0 && written <= chain->in_len);
	require(!chain->joined || written == chain->in_len);
	w->group += written;
	w->in_group = chain->joined;
	if (!chain->joined) {
		expect_arrived(w, w->group);
		w->group = 0;
	}
	virtq_push(w->q[RX], chain, written);
}

static uint16_t ring_size(struct backend_host *host, unsigned int ring)
{
	(void)ring;
	return world_of(host)->setup.size;
}

/* --- the world -------------------------------------------------------------------------------- */

static uint32_t base_of(const struct setup *s)
{
	uint32_t laps = s->base & 0x80 ? 0x80008000u : 0;

	return s->flags & F_PACKED ? (s->base & 0x7fu) * 0x10001u | laps : s->base;
}

static bool start(struct world *w, unsigned int ring)
{
	const struct setup *s = &w->setup;
	const struct virtq_config cfg = {
		.index = (uint16_t)ring,
		.size = s->size,
		.packed = s->flags & F_PACKED,
		.event_idx = s->flags & F_EVENT_IDX,
		.indirect = s->flags & F_INDIRECT,
		.desc_uva = GPA + 64u * s->desc[ring],
		.avail_uva = GPA + 64u * s->avail[ring],
		.used_uva = GPA + 64u * s->used[ring],
		.base = base_of(s),
		.in_order = true,
		.refetch = ring == RX,
	};
	struct err e = ERR_INIT;

	return virtq_start(&w->q[ring], &cfg, w->mem,
		       inflight_queue_get(w->inflight, (uint16_t)ring), &e) == 0;
}

static bool open_world(struct world *w)
{
	const struct guest_region_desc all = {GPA, MEMORY, GPA, 0};
	const struct net_options options = {.mac = mac, .only_mac = true, .no_vlan = true};
	bool packed = w->setup.flags & F_PACKED, legacy = w->setup.flags & F_LEGACY;
	uint64_t modern = legacy ? 1ull << VIRTIO_NET_F_MAC : 1ull << VIRTIO_F_VERSION_1;
	bool merges = w->setup.flags & F_MERGEABLE;
	int fd = dup(tap_fd);
	struct net_tap tap;

	w->host = (struct backend_host){.done = done,
		.take = take,
		.filled = filled,
		.give_back = give_back,
		.ring_size = ring_size};
	w->header = legacy && !merges ? sizeof(struct virtio_net_hdr)
				      : sizeof(struct virtio_net_hdr_mrg_rxbuf);
	require(fd >= 0 && net_tap_adopt(&tap, &fd, 1, NULL) == 0);
	w->net = net_new(&options, &tap, NULL);
	w->net->host = &w->host;
	w->net->ops->set_features(w->net, modern | (merges ? 1ull << VIRTIO_NET_F_MRG_RXBUF : 0));
	w->mem = guest_mem_new();
	require(guest_mem_add(w->mem, &all, guest_fd, NULL) == 0);
	if (!w->setup.size || w->setup.size > MAX_ENTRIES)
		return false;
	return inflight_open(&w->inflight, inflight_fd, inflight_region_size(2, MAX_ENTRIES, true),
		       0, 2, w->setup.size, 2, packed, NULL) == 0 &&
	       start(w, RX) && start(w, TX);
}

static void close_world(struct world *w)
{
	static uint8_t frame[NET_FRAME_MAX + 1];

	w->net->ops->free(w->net);
	virtq_free(w->q[RX]);
	virtq_free(w->q[TX]);
	inflight_close(w->inflight);
	guest_mem_free(w->mem);
	while (recv(tap_fd, frame, sizeof(frame), 0) >= 0)
		continue;
}

/* --- turns ------------------------------------------------------------------------------------ */

static void check_sent(const struct world *w, uint64_t chain_bytes)
{
	static uint8_t frame[NET_FRAME_MAX + 1];
	ssize_t n = recv(network, frame, sizeof(frame), 0);
	const uint8_t *p = frame + w->header;

	if (n < 0)
		return;
	require((uint64_t)n == chain_bytes && n <= (ssize_t)NET_FRAME_MAX);
	require((size_t)n >= w->header + 14 && memcmp(p + 6, mac, sizeof(mac)) == 0);
	require(!(p[12] == 0x81 && p[13] == 0) && !(p[12] == 0x88 && p[13] == 0xa8));
	require(recv(network, frame, sizeof(frame), 0) < 0);
}

static void guest_sends(struct world *w, unsigned int count)
{
	struct virtq_chain *chain;

	while (count-- && (chain = virtq_pop(w->q[TX]))) {
		uint64_t bytes = chain->out_len;

		w->net->ops->submit(w->net, TX, chain);
		check_sent(w, bytes);
	}
}

static void network_sends(struct world *w, unsigned int which)
{
	static const uint32_t lengths[] = {14, 60, 61, 1514, 1515, 4096, 9018, 65535};
	static uint8_t frame[NET_FRAME_MAX];
	uint64_t bytes = w->header + lengths[which % ARRAY_SIZE(lengths)];

	memset(frame + w->header, (int)which, 14);
	if (w->end < EXPECTED && send(network, frame, bytes, 0) == (ssize_t)bytes)
		w->expected[w->end++] = bytes;
}

static void guest_stores(struct world *w, unsigned int arg)
{
	guest[(arg * w->setup.stride + w->setup.avail[arg & 1] * 64u) % MEMORY] += 1;
}

static void turn(struct world *w, uint8_t what)
{
	unsigned int arg = what >> 2;

	switch (what & 3) {
	case 0:
		guest_sends(w, 1 + arg % 8);
		break;
	case 1:
		network_sends(w, arg);
		break;
	case 2:
		guest_stores(w, arg);
		break;
	case 3:
		w->net->ops->poll(w->net);
		require(!w->taken && !w->in_group && !w->group);
		virtq_publish(w->q[RX]);
		virtq_publish(w->q[TX]);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = {0};
	uint8_t turns[TURNS];

	if (size < sizeof(w.setup) + TURNS)
		return 0;
	make_files();
	memcpy(&w.setup, data, sizeof(w.setup));
	memcpy(turns, data + sizeof(w.setup), TURNS);
	data += sizeof(w.setup) + TURNS;
	size -= sizeof(w.setup) + TURNS;
	memset(inflight_bytes, 0, inflight_region_size(2, MAX_ENTRIES, true));
	memset(guest, 0, MEMORY);
	memcpy(guest, data, MIN(size, MEMORY));
	if (open_world(&w))
		for (unsigned int i = 0; i < TURNS; i++)
			turn(&w, turns[i]);
	close_world(&w);
	return 0;
}
