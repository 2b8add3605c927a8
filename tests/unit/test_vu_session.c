/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vhost-user session, as a VMM sees it that does not know how often its worker dies: a real
 * worker process in its sandbox, a conversation as QEMU has it, and a sweep that kills the worker at
 * every point of every message's way (safety: "the message that was half handled").
 */
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "tests/unit/driver.h"
#include "tests/unit/session_rig.h"
#include "tests/unit/unit.h"

#define RING_SIZE 16u
#define SECTOR    512u

/* Addresses in the driver's guest memory: its rings end well before. */
#define HEADER_AT (GUEST_BASE + 0x100000)
#define DATA_AT   (GUEST_BASE + 0x110000)
#define STATUS_AT (GUEST_BASE + 0x1f0000)

struct vmm {
	struct rig rig;
	struct driver driver;
	int kick, call;
	int inflight; /* as GET_INFLIGHT_FD gave it */
	struct vu_inflight inflight_desc;
	unsigned int requests;
};

static uint64_t u64_of(struct vmm *v, uint32_t request)
{
	uint64_t value = 0;
	int fd;

	rig_send(&v->rig, request, 0, NULL, 0, NULL, 0);
	ck_assert_uint_eq(rig_reply(&v->rig, request, &value, sizeof(value), &fd), 8);
	ck_assert_int_eq(fd, -1);
	return value;
}

/* Sends with need_reply and expects 0, or without it. */
static void tell(struct vmm *v, uint32_t request, bool ack, const void *payload, uint32_t size,
	const int *fds, unsigned int fd_count)
{
	uint64_t value = ~0ull;
	int fd;

	rig_send(&v->rig, request, ack ? VU_FLAG_NEED_REPLY : 0, payload, size, fds, fd_count);
	if (!ack)
		return;
	ck_assert_uint_eq(rig_reply(&v->rig, request, &value, sizeof(value), &fd), 8);
	ck_assert_uint_eq(value, 0);
}

static void tell_u64(struct vmm *v, uint32_t request, bool ack, uint64_t value)
{
	tell(v, request, ack, &value, sizeof(value), NULL, 0);
}

static void tell_state(struct vmm *v, uint32_t request, bool ack, uint32_t index, uint32_t num)
{
	struct vu_vring_state state = {index, num};

	tell(v, request, ack, &state, sizeof(state), NULL, 0);
}

static void tell_ring_fd(struct vmm *v, uint32_t request, int fd)
{
	uint64_t index = 0;
	int copy = dup(fd);

	tell(v, request, false, &index, sizeof(index), &copy, 1);
}

static void tell_region(struct vmm *v, uint32_t request, uint64_t gpa, uint64_t uva, uint64_t size,
	uint64_t offset, int fd)
{
	const uint64_t payload[5] = {0, gpa, size, uva, offset};
	int copy = fd >= 0 ? dup(fd) : -1;

	tell(v, request, true, payload, sizeof(payload), &copy, fd >= 0);
}

static uint32_t get_base(struct vmm *v)
{
	struct vu_vring_state state = {0, 0};
	int fd;

	rig_send(&v->rig, VU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	ck_assert_uint_eq(
		rig_reply(&v->rig, VU_GET_VRING_BASE, &state, sizeof(state), &fd), sizeof(state));
	ck_assert_uint_eq(state.index, 0);
	return state.num;
}

/* --- requests -------------------------------------------------------------------------------- */

struct header {
	uint32_t type, ioprio;
	uint64_t sector;
};

/* One request of one sector; `in`: the device writes the data. */
static void ask(struct vmm *v, uint32_t type, bool in, unsigned int n)
{
	struct header header = {.type = type, .sector = n};
	const struct driver_buf bufs[] = {
		{HEADER_AT + n * sizeof(header), sizeof(header)},
		{DATA_AT + (uint64_t)n * SECTOR, SECTOR},
		{STATUS_AT + n, 1},
	};

	memcpy(driver_host(&v->driver, bufs[0].gpa), &header, sizeof(header));
	*(uint8_t *)driver_host(&v->driver, bufs[2].gpa) = 0xee;
	ck_assert_int_ge(driver_add(&v->driver, bufs, in ? 1 : 2, in ? 2 : 1, 0), 0);
	v->requests++;
}

static void kick(struct vmm *v)
{
	eventfd_write(v->kick, 1);
}

struct awaited {
	struct vmm *v;
	unsigned int left;
};

static bool took_all(void *arg)
{
	struct awaited *a = arg;
	uint16_t id;
	uint32_t len;

	while (a->left && driver_take(&a->v->driver, &id, &len))
		a->left--;
	return !a->left;
}

/* Waits for `n` completions, all of them good; no further one may come. */
static void await(struct vmm *v, unsigned int n)
{
	struct awaited a = {v, n};
	uint16_t id;
	uint32_t len;

	rig_until(&v->rig, took_all, &a);
	ck_assert(!driver_take(&v->driver, &id, &len));
}

static void check_status(struct vmm *v, unsigned int first, unsigned int count)
{
	for (unsigned int n = first; n < first + count; n++)
		ck_assert_uint_eq(*(uint8_t *)driver_host(&v->driver, STATUS_AT + n), 0);
}

/* Writes four sectors, then reads them back. */
static void use_disk(struct vmm *v, uint8_t fill)
{
	uint8_t *data = driver_host(&v->driver, DATA_AT);

	for (unsigned int n = 0; n < 4; n++) {
		memset(data + n * SECTOR, fill + (int)n, SECTOR);
		ask(v, 1, false, n);
	}
	kick(v);
	await(v, 4);
	check_status(v, 0, 4);
	memset(data, 0, 4 * SECTOR);
	for (unsigned int n = 0; n < 4; n++)
		ask(v, 0, true, n);
	kick(v);
	await(v, 4);
	check_status(v, 0, 4);
	for (unsigned int i = 0; i < 4 * SECTOR; i++)
		ck_assert_uint_eq(data[i], (uint8_t)(fill + i / SECTOR));
}

/* --- the conversation, in the order that QEMU has -------------------------------------------- */

#define FEATURES                                                                                   \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VU_F_PROTOCOL_FEATURES | 1ull << 9 | 1ull << 11)

static void greet(struct vmm *v)
{
	uint64_t features = u64_of(v, VU_GET_FEATURES), protocol, capacity;
	struct vu_config config = {.size = 60};
	int pair[2], fd;

	ck_assert_uint_eq(features & FEATURES, FEATURES);
	protocol = u64_of(v, VU_GET_PROTOCOL_FEATURES);
	ck_assert(protocol & VU_PF_INFLIGHT_SHMFD);
	tell_u64(v, VU_SET_PROTOCOL_FEATURES, false, protocol);
	ck_assert_uint_eq(u64_of(v, VU_GET_QUEUE_NUM), 1);
	ck_assert_uint_eq(u64_of(v, VU_GET_MAX_MEM_SLOTS), GUEST_MEM_MAX_REGIONS);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	tell(v, VU_SET_BACKEND_REQ_FD, true, NULL, 0, &pair[0], 1);
	close(pair[1]);
	tell(v, VU_SET_OWNER, false, NULL, 0, NULL, 0);
	tell_ring_fd(v, VU_SET_VRING_CALL, v->call);
	tell_ring_fd(v, VU_SET_VRING_ERR, v->call);
	rig_send(&v->rig, VU_GET_CONFIG, 0, &config, 12 + config.size, NULL, 0);
	ck_assert_uint_eq(rig_reply(&v->rig, VU_GET_CONFIG, &config, sizeof(config), &fd), 12 + 60);
	memcpy(&capacity, config.data, sizeof(capacity));
	ck_assert_uint_eq(capacity, RIG_DISK_BYTES / SECTOR);
}

static void get_inflight(struct vmm *v)
{
	struct vu_inflight *desc = &v->inflight_desc;

	*desc = (struct vu_inflight){.num_queues = 1, .queue_size = RING_SIZE};
	rig_send(&v->rig, VU_GET_INFLIGHT_FD, 0, desc, sizeof(*desc), NULL, 0);
	ck_assert_uint_eq(rig_reply(&v->rig, VU_GET_INFLIGHT_FD, desc, sizeof(*desc), &v->inflight),
		sizeof(*desc));
	ck_assert_int_ge(v->inflight, 0);
}

static void set_inflight(struct vmm *v)
{
	int copy = dup(v->inflight);

	tell(v, VU_SET_INFLIGHT_FD, false, &v->inflight_desc, sizeof(v->inflight_desc), &copy, 1);
}

/* The driver's two regions lie in its file in reverse order. */
static void share_memory(struct vmm *v, uint32_t request)
{
	int fd = request == VU_ADD_MEM_REG ? v->driver.fd : -1;

	tell_region(v, request, GUEST_BASE, GUEST_UVA, GUEST_HALF, GUEST_HALF, fd);
	tell_region(v, request, GUEST_SEAM, GUEST_UVA + GUEST_HALF, GUEST_HALF, 0, fd);
}

static void tell_addresses(struct vmm *v, bool ack, uint32_t flags)
{
	struct virtq_config cfg = driver_config(&v->driver);
	struct vu_vring_addr addr = {
		.flags = flags,
		.desc = cfg.desc_uva,
		.used = cfg.used_uva,
		.avail = cfg.avail_uva,
		.log = driver_ring_gpa(&v->driver),
	};

	tell(v, VU_SET_VRING_ADDR, ack, &addr, sizeof(addr), NULL, 0);
}

static void start_ring(struct vmm *v, uint32_t base)
{
	tell_u64(v, VU_SET_FEATURES, false, FEATURES);
	tell_state(v, VU_SET_VRING_NUM, false, 0, RING_SIZE);
	tell_state(v, VU_SET_VRING_BASE, false, 0, base);
	tell_addresses(v, false, 0);
	tell_ring_fd(v, VU_SET_VRING_KICK, v->kick);
	tell_state(v, VU_SET_VRING_ENABLE, true, 0, 1);
}

static void migrate_a_bit(struct vmm *v)
{
	struct vu_log log = {.size = 4096};
	int fd, memory = memfd_create("log", MFD_CLOEXEC);
	uint8_t *bits;

	ck_assert_int_eq(ftruncate(memory, 4096), 0);
	bits = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memory, 0);
	rig_send(&v->rig, VU_SET_LOG_BASE, 0, &log, sizeof(log), &memory, 1);
	ck_assert_uint_eq(rig_reply(&v->rig, VU_SET_LOG_BASE, NULL, 0, &fd), 0);
	tell_u64(v, VU_SET_FEATURES, true, FEATURES | VHOST_F_LOG_ALL);
	tell_addresses(v, true, VU_VRING_F_LOG);
	use_disk(v, 0x50);
	ck_assert(bits[DATA_AT / 4096 / 8] & 1 << DATA_AT / 4096 % 8);
	tell_u64(v, VU_SET_FEATURES, true, FEATURES);
	tell_addresses(v, true, 0);
	munmap(bits, 4096);
}

static void hotplug(struct vmm *v)
{
	const uint64_t gpa = GUEST_END + 0x100000, uva = GUEST_UVA + 0x10000000;
	int fd = memfd_create("dimm", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 0x10000), 0);
	tell_region(v, VU_ADD_MEM_REG, gpa, uva, 0x10000, 0, fd);
	use_disk(v, 0x60);
	tell_region(v, VU_REM_MEM_REG, gpa, uva, 0x10000, 0, -1);
	close(fd);
}

static void stop_and_resume(struct vmm *v)
{
	uint32_t base;

	ask(v, 0, true, 0); /* perhaps still on its way when the ring is to stop */
	kick(v);
	tell_state(v, VU_SET_VRING_ENABLE, true, 0, 0);
	base = get_base(v);
	ck_assert_uint_eq(get_base(v), base);
	tell_u64(v, VU_SET_STATUS, false, 0);
	set_inflight(v);
	start_ring(v, base);
	await(v, 1);
	ck_assert_uint_eq(get_base(v), v->requests);
}

static void write_through(struct vmm *v)
{
	struct vu_config config = {.offset = 32, .size = 1};

	tell(v, VU_SET_CONFIG, true, &config, 12 + config.size, NULL, 0);
}

static void swap_memory(struct vmm *v)
{
	struct vu_mem_table table = {
		.count = 2,
		.regions = {{GUEST_BASE, GUEST_HALF, GUEST_UVA, GUEST_HALF},
			{GUEST_SEAM, GUEST_HALF, GUEST_UVA + GUEST_HALF, 0}},
	};
	int fds[] = {dup(v->driver.fd), dup(v->driver.fd)};

	tell(v, VU_SET_MEM_TABLE, true, &table, 8 + 64, fds, 2);
}

static void converse(struct vmm *v)
{
	greet(v);
	tell_u64(v, VU_SET_FEATURES, false, FEATURES);
	tell_u64(v, VU_SET_STATUS, false, 8);
	get_inflight(v);
	set_inflight(v);
	share_memory(v, VU_ADD_MEM_REG);
	start_ring(v, 0);
	use_disk(v, 0x10);
	migrate_a_bit(v);
	hotplug(v);
	write_through(v);
	stop_and_resume(v);
	swap_memory(v);
	start_ring(v, v->requests);
	use_disk(v, 0x70);
	ck_assert_uint_eq(get_base(v), v->requests);
	tell(v, VU_RESET_DEVICE, true, NULL, 0, NULL, 0);
	ck_assert_uint_eq(u64_of(v, VU_GET_STATUS), 0);
	rig_until_quiet(&v->rig);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void vmm_open(struct vmm *v, struct rig_options opt)
{
	memset(v, 0, sizeof(*v));
	v->inflight = -1;
	driver_open(&v->driver, (struct driver_options){.size = RING_SIZE, .event_idx = true});
	v->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	v->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig_open(&v->rig, opt);
}

static void vmm_close(struct vmm *v)
{
	rig_close(&v->rig);
	close(v->inflight);
	close(v->kick);
	close(v->call);
	driver_close(&v->driver);
}

/* What must be the same at the end, however often the worker died. */
struct ending {
	uint32_t messages;
	struct page_inflight inflight;
	struct page_ring ring;
	unsigned int regions;
	uint64_t features, protocol;
	uint8_t device[64];
	bool filled[VAULT_SLOTS];
};

static void look_at_end(const struct rig *r, struct ending *end)
{
	memset(end, 0, sizeof(*end));
	end->messages = (uint32_t)(r->page->message.word >> 32);
	end->inflight = r->page->inflight;
	end->ring = r->page->rings[0];
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++)
		end->regions += r->page->regions[i].epoch == r->page->mem_epoch;
	end->features = r->page->features;
	end->protocol = r->page->protocol;
	memcpy(end->device, r->page->device, sizeof(end->device));
	for (unsigned int i = 0; i < VAULT_MEM0; i++)
		end->filled[i] = r->vault[i] >= 0;
	for (unsigned int i = VAULT_KICK0; i < VAULT_SLOTS; i++)
		end->filled[i] = r->vault[i] >= 0;
}

/* One conversation; true when the worker died in it. */
static bool converse_dying(struct rig_options opt, struct ending *end)
{
	struct vmm v;
	bool died;

	vmm_open(&v, opt);
	converse(&v);
	look_at_end(&v.rig, end);
	died = v.rig.deaths > 0;
	vmm_close(&v);
	return died;
}

START_TEST(a_conversation_goes_through)
{
	struct ending end;

	ck_assert(!converse_dying((struct rig_options){0}, &end));
	ck_assert_uint_eq(end.regions, 2);
	ck_assert(!end.filled[VAULT_REPLY]);
}
END_TEST

/* A VMM that keeps no in-flight region, and whose guest reboots: the ring begins at 0 each time. */
START_TEST(a_ring_is_started_anew)
{
	struct vmm v;

	vmm_open(&v, (struct rig_options){0});
	u64_of(&v, VU_GET_FEATURES);
	tell_u64(&v, VU_SET_PROTOCOL_FEATURES, false, VU_PF_REPLY_ACK | VU_PF_CONFIGURE_MEM_SLOTS);
	tell(&v, VU_SET_OWNER, false, NULL, 0, NULL, 0);
	share_memory(&v, VU_ADD_MEM_REG);
	for (uint8_t round = 0; round < 4; round++) {
		start_ring(&v, 0);
		use_disk(&v, round);
		ck_assert_uint_eq(get_base(&v), v.requests);
		driver_restart(&v.driver);
		v.requests = 0;
	}
	rig_until_quiet(&v.rig);
	ck_assert_uint_eq(v.rig.deaths, 0);
	vmm_close(&v);
}
END_TEST

/*
 * Kills at every passage of every crash point, `stride` apart so that several processes share them.
 * The sweep is over when a conversation is so short that nobody died.
 */
static void sweep(unsigned int first, unsigned int stride, unsigned int again)
{
	struct rig_options opt = {.kill_at = first, .kill_again_at = again};
	struct ending whole, end;
	unsigned int kills = 0;

	converse_dying((struct rig_options){0}, &whole);
	while (converse_dying(opt, &end)) {
		ck_assert_msg(memcmp(&whole, &end, sizeof(end)) == 0,
			"killed at passage %u it ended differently", opt.kill_at);
		opt.kill_at += stride;
		kills++;
	}
	ck_assert_msg(kills > 300 / stride, "only %u kills", kills);
	printf("killed at %u points\n", kills);
}

/* Every point, in parts that each fit into a test's time. */
#define SWEEP_PARTS 10

#define SWEEP_PART(n)                                                                              \
	START_TEST(killed_at_every_point_part_##n)                                                 \
	{                                                                                          \
		sweep(n, SWEEP_PARTS, 0);                                                          \
	}                                                                                          \
	END_TEST

SWEEP_PART(1)
SWEEP_PART(2)
SWEEP_PART(3)
SWEEP_PART(4)
SWEEP_PART(5)
SWEEP_PART(6)
SWEEP_PART(7)
SWEEP_PART(8)
SWEEP_PART(9)
SWEEP_PART(10)

START_TEST(killed_again_at_once)
{
	sweep(3, 13, 1);
}
END_TEST

START_TEST(killed_again_a_little_later)
{
	sweep(5, 17, 4);
}
END_TEST

UNIT_MAIN(a_conversation_goes_through, a_ring_is_started_anew, killed_at_every_point_part_1,
	killed_at_every_point_part_2, killed_at_every_point_part_3, killed_at_every_point_part_4,
	killed_at_every_point_part_5, killed_at_every_point_part_6, killed_at_every_point_part_7,
	killed_at_every_point_part_8, killed_at_every_point_part_9, killed_at_every_point_part_10,
	killed_again_at_once, killed_again_a_little_later)
