/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VMM that does what it must not. One real worker takes all of it: whatever comes, it ends that
 * connection and nothing else, is there for the next one, and has no descriptor more than before.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "tests/unit/driver.h"
#include "tests/unit/session_rig.h"
#include "tests/unit/unit.h"

#define RING_SIZE 16u

struct vmm {
	struct rig rig;
	struct driver driver;
	unsigned int fds; /* of a worker without a VMM */
};

static void vmm_open(struct vmm *v)
{
	memset(v, 0, sizeof(*v));
	driver_open(&v->driver, (struct driver_options){.size = RING_SIZE});
	rig_open(&v->rig, (struct rig_options){.null = true});
	rig_until_quiet(&v->rig);
	shutdown(v->rig.vmm, SHUT_RDWR);
	rig_connect(&v->rig);
	v->fds = rig_worker_fds(&v->rig);
}

static void vmm_close(struct vmm *v)
{
	ck_assert_uint_eq(v->rig.deaths, 0);
	rig_close(&v->rig);
	driver_close(&v->driver);
}

/* A fresh connection to the same worker, with nothing left of the one before. */
static void again(struct vmm *v)
{
	rig_connect(&v->rig);
	ck_assert_uint_eq(v->rig.deaths, 0);
	ck_assert_uint_eq(rig_worker_fds(&v->rig), v->fds);
}

static void say(struct vmm *v, uint32_t request, const void *payload, uint32_t size, int fd)
{
	rig_send(&v->rig, request, 0, payload, size, &fd, fd >= 0);
}

static void say_u64(struct vmm *v, uint32_t request, uint64_t value, int fd)
{
	say(v, request, &value, sizeof(value), fd);
}

static void say_state(struct vmm *v, uint32_t request, uint32_t index, uint32_t num)
{
	struct vu_vring_state state = {index, num};

	say(v, request, &state, sizeof(state), -1);
}

static void say_region(struct vmm *v, uint32_t request, uint64_t gpa, uint64_t size, uint64_t uva,
	uint64_t offset, int fd)
{
	const uint64_t payload[5] = {0, gpa, size, uva, offset};

	say(v, request, payload, sizeof(payload), fd);
}

static int memory(off_t size)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, size), 0);
	return fd;
}

/* The worker answers as it always did. */
static void expect_alive(struct vmm *v)
{
	uint64_t features;
	int fd;

	say(v, VU_GET_FEATURES, NULL, 0, -1);
	ck_assert_uint_eq(rig_reply(&v->rig, VU_GET_FEATURES, &features, 8, &fd), 8);
	ck_assert(features & VIRTIO_F_VERSION_1);
}

static void expect_closed(struct vmm *v)
{
	rig_until_closed(&v->rig);
	again(v);
	expect_alive(v);
}

/* --- single messages -------------------------------------------------------------------------- */

static void raw(struct vmm *v, uint32_t request, uint32_t flags, uint32_t size)
{
	const uint32_t header[3] = {request, flags, size};

	ck_assert_int_eq(fdio_send(v->rig.vmm, header, sizeof(header), NULL, 0), 0);
}

START_TEST(bad_headers)
{
	static const uint32_t requests[] = {0, 22, 35, 44, 0x7fffffff, 0x80000000, 0xffffffff};
	static const uint32_t flags[] = {0, 2, 3, 5, 0x11, 0xffffffff};
	struct vmm v;

	vmm_open(&v);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		raw(&v, requests[i], VU_VERSION, 0);
		expect_closed(&v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		raw(&v, VU_GET_FEATURES, flags[i], 0);
		expect_closed(&v);
	}
	raw(&v, VU_GET_FEATURES, VU_VERSION, 1);
	expect_closed(&v);
	raw(&v, VU_SET_MEM_TABLE, VU_VERSION, 0xffffffff);
	expect_closed(&v);
	vmm_close(&v);
}
END_TEST

START_TEST(bad_ring_facts)
{
	static const uint32_t sizes[] = {0, 1025, 32768, 65535, 0x80000000, 0xffffffff};
	static const uint32_t rings[] = {1, 63, 64, 255, 256, 65536, 0x80000000};
	struct vmm v;

	vmm_open(&v);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		say_state(&v, VU_SET_VRING_NUM, 0, sizes[i]);
		expect_closed(&v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		say_state(&v, VU_SET_VRING_NUM, rings[i], RING_SIZE);
		expect_closed(&v);
		say_state(&v, VU_GET_VRING_BASE, rings[i], 0);
		expect_closed(&v);
		if (rings[i] == VU_VRING_NOFD_BIT)
			continue; /* ring 0, without a descriptor */
		say_u64(&v, VU_SET_VRING_CALL, rings[i], eventfd(0, 0));
		expect_closed(&v);
	}
	say_state(&v, VU_SET_VRING_BASE, 0, 65536);
	expect_closed(&v);
	say_state(&v, VU_SET_VRING_ENABLE, 0, 2);
	expect_closed(&v);
	say_u64(&v, VU_SET_FEATURES, ~0ull, -1);
	expect_closed(&v);
	say_u64(&v, VU_SET_PROTOCOL_FEATURES, ~0ull, -1);
	expect_closed(&v);
	vmm_close(&v);
}
END_TEST

/* Descriptors of every kind, where an eventfd, memory, or a socket belongs. */
static int odd_fd(unsigned int kind)
{
	int pair[2];

	switch (kind) {
	case 0:
		ck_assert_int_eq(pipe(pair), 0);
		close(pair[1]);
		return pair[0];
	case 1:
		return open("/", O_RDONLY | O_DIRECTORY);
	case 2:
		return open("/dev/null", O_RDWR);
	case 3:
		return epoll_create1(0);
	case 4:
		return open("/etc/passwd", O_PATH);
	case 5:
		return open("/dev/zero", O_RDWR);
	default:
		return -1;
	}
}

START_TEST(odd_descriptors)
{
	static const uint32_t wants_fd[] = {VU_SET_LOG_BASE, VU_SET_VRING_KICK, VU_SET_VRING_CALL,
		VU_SET_VRING_ERR, VU_SET_BACKEND_REQ_FD, VU_SET_INFLIGHT_FD, VU_ADD_MEM_REG};
	static const uint32_t sizes[] = {16, 8, 8, 8, 0, 20, 40};
	uint8_t payload[40] = {0};
	struct vmm v;

	vmm_open(&v);
	for (size_t i = 0; i < ARRAY_SIZE(wants_fd); i++) {
		say(&v, wants_fd[i], payload, sizes[i], -1);
		expect_closed(&v);
		for (unsigned int kind = 0; kind < 6; kind++) {
			int eight[8];

			say(&v, wants_fd[i], payload, sizes[i], odd_fd(kind));
			shutdown(v.rig.vmm, SHUT_WR);
			expect_closed(&v);
			for (int n = 0; n < 8; n++)
				eight[n] = odd_fd(kind);
			rig_send(&v.rig, wants_fd[i], 0, payload, sizes[i], eight, 8);
			shutdown(v.rig.vmm, SHUT_WR);
			expect_closed(&v);
		}
	}
	vmm_close(&v);
}
END_TEST

/* --- memory, log, in-flight region ------------------------------------------------------------ */

START_TEST(bad_regions)
{
	static const struct {
		uint64_t gpa, size, uva, offset;
	} bad[] = {
		{0, 0, 0, 0}, {0, 4096, 0, 1ull << 40}, {0, 1ull << 40, 0, 0}, {0, 4096, 0, ~0ull},
		{~0ull - 100, 4096, 0, 0}, {0, 4096, ~0ull - 100, 0}, {0, ~0ull, 0, 1},
		{0x3000, 4096, 0x103000, 0},  /* overlaps the good one in gpa */
		{0x100000, 4096, 0x11000, 0}, /* and in the user's addresses */
	};
	struct vmm v;

	vmm_open(&v);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		say_region(&v, VU_ADD_MEM_REG, 0, 0x4000, 0x10000, 0, memory(0x4000));
		if (i < 7) {
			say_region(&v, VU_REM_MEM_REG, 0, 0x4000, 0x10000, 0, -1);
			expect_alive(&v);
		}
		say_region(&v, VU_ADD_MEM_REG, bad[i].gpa, bad[i].size, bad[i].uva, bad[i].offset,
			memory(0x4000));
		expect_closed(&v);
	}
	say_region(&v, VU_REM_MEM_REG, 0, 4096, 0, 0, -1);
	expect_closed(&v);
	for (uint64_t i = 0; i <= GUEST_MEM_MAX_REGIONS; i++)
		say_region(&v, VU_ADD_MEM_REG, i << 20, 4096, i << 20, 0, memory(4096));
	expect_closed(&v);
	vmm_close(&v);
}
END_TEST

START_TEST(bad_logs)
{
	static const struct vu_log bad[] = {
		{0, 0}, {1, 0}, {4096, 4096}, {8192, 0}, {~0ull, 1}, {4096, ~0ull - 4095}};
	struct vmm v;

	vmm_open(&v);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		say_region(&v, VU_ADD_MEM_REG, 0, 1 << 20, 0, 0, memory(1 << 20));
		say(&v, VU_SET_LOG_BASE, &bad[i], sizeof(bad[i]), memory(4096));
		expect_closed(&v);
	}
	vmm_close(&v);
}
END_TEST

START_TEST(bad_inflight_regions)
{
	static const struct vu_inflight bad[] = {{4096, 0, 0, 16}, {4096, 0, 2, 16},
		{4096, 0, 65535, 65535}, {4096, 0, 1, 0}, {4096, 0, 1, 32768}, {16, 0, 1, 16},
		{~0ull, 1, 1, 16}, {1 << 20, 0, 1, 16}, {4096, 1ull << 62, 1, 16}};
	struct vmm v;

	vmm_open(&v);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		say(&v, VU_SET_INFLIGHT_FD, &bad[i], sizeof(bad[i]), memory(4096));
		expect_closed(&v);
		if (i < 5) {
			say(&v, VU_GET_INFLIGHT_FD, &bad[i], sizeof(bad[i]), -1);
			expect_closed(&v);
		}
	}
	vmm_close(&v);
}
END_TEST

/* --- order ------------------------------------------------------------------------------------ */

static void share(struct vmm *v)
{
	say_region(v, VU_ADD_MEM_REG, GUEST_BASE, GUEST_HALF, GUEST_UVA, GUEST_HALF,
		dup(v->driver.fd));
	say_region(v, VU_ADD_MEM_REG, GUEST_SEAM, GUEST_HALF, GUEST_UVA + GUEST_HALF, 0,
		dup(v->driver.fd));
}

static void say_addresses(struct vmm *v, uint64_t shift)
{
	struct virtq_config cfg = driver_config(&v->driver);
	struct vu_vring_addr addr = {
		.desc = cfg.desc_uva + shift,
		.used = cfg.used_uva + shift,
		.avail = cfg.avail_uva + shift,
	};

	say(v, VU_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

static void start_ring(struct vmm *v)
{
	say_u64(v, VU_SET_FEATURES, VIRTIO_F_VERSION_1, -1);
	share(v);
	say_state(v, VU_SET_VRING_NUM, 0, RING_SIZE);
	say_addresses(v, 0);
	say_u64(v, VU_SET_VRING_KICK, 0, eventfd(0, 0));
}

START_TEST(out_of_order)
{
	struct vu_vring_state state = {0, 0};
	struct vmm v;
	int fd;

	vmm_open(&v);
	say_u64(&v, VU_SET_VRING_KICK, 0, eventfd(0, 0));
	expect_closed(&v);
	say_state(&v, VU_SET_VRING_NUM, 0, RING_SIZE);
	say_u64(&v, VU_SET_VRING_KICK, 0, eventfd(0, 0));
	expect_closed(&v);
	say_state(&v, VU_SET_VRING_NUM, 0, RING_SIZE);
	say_addresses(&v, 0); /* no memory yet */
	say_u64(&v, VU_SET_VRING_KICK, 0, eventfd(0, 0));
	expect_closed(&v);
	say_state(&v, VU_SET_VRING_ENABLE, 0, 1); /* may come first */
	say_state(&v, VU_GET_VRING_BASE, 0, 0);   /* and this on a ring that never ran */
	ck_assert_uint_eq(rig_reply(&v.rig, VU_GET_VRING_BASE, &state, 8, &fd), 8);
	ck_assert_uint_eq(state.num, 0);
	start_ring(&v);
	expect_alive(&v);
	say_state(&v, VU_SET_VRING_NUM, 0, RING_SIZE / 2);
	expect_closed(&v);
	start_ring(&v);
	say_state(&v, VU_SET_VRING_BASE, 0, 1);
	expect_closed(&v);
	start_ring(&v);
	say_addresses(&v, 64);
	expect_closed(&v);
	start_ring(&v);
	say_u64(&v, VU_SET_FEATURES, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX, -1);
	expect_closed(&v);
	start_ring(&v);
	say_region(&v, VU_REM_MEM_REG, GUEST_BASE, GUEST_HALF, GUEST_UVA, GUEST_HALF, -1);
	expect_closed(&v);
	vmm_close(&v);
}
END_TEST

/* A ring larger than the region that was made for it: CVE-2026-86565's way in. */
START_TEST(a_ring_larger_than_its_region)
{
	struct vu_inflight region = {.mmap_size = 4096, .num_queues = 1, .queue_size = 4};
	struct vmm v;

	vmm_open(&v);
	say(&v, VU_SET_INFLIGHT_FD, &region, sizeof(region), memory(4096));
	start_ring(&v);
	expect_closed(&v);
	vmm_close(&v);
}
END_TEST

static bool is_signalled(void *arg)
{
	eventfd_t value;

	return eventfd_read(*(int *)arg, &value) == 0;
}

START_TEST(a_broken_ring_is_told_and_the_session_lives)
{
	int err = eventfd(0, EFD_NONBLOCK);
	struct vmm v;

	vmm_open(&v);
	start_ring(&v);
	say_u64(&v, VU_SET_VRING_ERR, 0, dup(err));
	v.driver.avail->idx = 1000;
	say_u64(&v, VU_SET_VRING_ENABLE, 1ull << 32, -1);
	rig_until(&v.rig, is_signalled, &err);
	expect_alive(&v);
	close(err);
	vmm_close(&v);
}
END_TEST

START_TEST(memory_that_is_cut_off_ends_the_session)
{
	struct vmm v;

	vmm_open(&v);
	start_ring(&v);
	expect_alive(&v);
	ck_assert_int_eq(ftruncate(v.driver.fd, 0), 0);
	say_u64(&v, VU_SET_VRING_ENABLE, 1ull << 32, -1);
	expect_closed(&v);
	vmm_close(&v);
}
END_TEST

/* --- configuration ---------------------------------------------------------------------------- */

START_TEST(bad_configuration)
{
	static const uint32_t bad[][2] = {{0, 257}, {256, 1}, {0xffffffff, 2}, {1, 256}};
	struct vu_config config = {.offset = 0, .size = 8};
	uint64_t ack = 0;
	struct vmm v;
	int fd;

	vmm_open(&v);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vu_config ask = {.offset = bad[i][0], .size = bad[i][1]};

		say(&v, VU_GET_CONFIG, &ask, 12 + MIN(ask.size, 256u), -1);
		expect_closed(&v);
	}
	/* The capacity is not the driver's to write: refused, and the session goes on. */
	rig_send(&v.rig, VU_SET_CONFIG, VU_FLAG_NEED_REPLY, &config, 12 + 8, NULL, 0);
	rig_reply(&v.rig, VU_SET_CONFIG, &ack, sizeof(ack), &fd);
	ck_assert_uint_ne(ack, 0);
	expect_alive(&v);
	vmm_close(&v);
}
END_TEST

/* --- patience --------------------------------------------------------------------------------- */

START_TEST(byte_by_byte)
{
	const uint32_t header[3] = {VU_GET_FEATURES, VU_VERSION, 0};
	uint64_t features;
	struct vmm v;
	int fd;

	vmm_open(&v);
	for (size_t i = 0; i < sizeof(header); i++) {
		rig_until(&v.rig, NULL, NULL);
		ck_assert_int_eq(fdio_send(v.rig.vmm, (char *)header + i, 1, NULL, 0), 0);
	}
	ck_assert_uint_eq(rig_reply(&v.rig, VU_GET_FEATURES, &features, 8, &fd), 8);
	vmm_close(&v);
}
END_TEST

/* Descriptors come with the first byte; then the rest, in every possible cut. */
START_TEST(a_message_with_a_descriptor_in_two_pieces)
{
	const struct {
		uint32_t header[3];
		uint64_t index;
	} __attribute__((packed)) msg = {{VU_SET_VRING_CALL, VU_VERSION, 8}, 0};
	struct vmm v;

	vmm_open(&v);
	for (size_t cut = 1; cut < sizeof(msg); cut++) {
		int fd = eventfd(0, 0);

		ck_assert_int_eq(fdio_send(v.rig.vmm, &msg, cut, &fd, 1), 0);
		rig_until(&v.rig, NULL, NULL);
		ck_assert_int_eq(
			fdio_send(v.rig.vmm, (char *)&msg + cut, sizeof(msg) - cut, NULL, 0), 0);
		close(fd);
		expect_alive(&v);
	}
	ck_assert_uint_eq(rig_worker_fds(&v.rig), v.fds + 1);
	vmm_close(&v);
}
END_TEST

START_TEST(floods_leave_nothing)
{
	const struct vu_inflight ask = {.num_queues = 1, .queue_size = 16};
	struct vu_inflight told;
	struct vmm v;
	int fd;

	vmm_open(&v);
	for (unsigned int i = 0; i < 1000; i++) {
		say_u64(&v, VU_SET_VRING_CALL, 0, eventfd(0, 0));
		say_state(&v, VU_SET_VRING_NUM, 0, RING_SIZE);
		say(&v, VU_GET_INFLIGHT_FD, &ask, sizeof(ask), -1);
		rig_reply(&v.rig, VU_GET_INFLIGHT_FD, &told, sizeof(told), &fd);
		say(&v, VU_SET_INFLIGHT_FD, &told, sizeof(told), fd);
		say_region(&v, VU_ADD_MEM_REG, 0, 4096, 0, 0, memory(4096));
		say_region(&v, VU_REM_MEM_REG, 0, 4096, 0, 0, -1);
		expect_alive(&v);
	}
	ck_assert_uint_eq(rig_worker_fds(&v.rig), v.fds + 2); /* call, in-flight region */
	vmm_close(&v);
}
END_TEST

/* Questions without end from somebody who reads no answer: it waits, and keeps nobody else. */
START_TEST(a_vmm_that_never_reads)
{
	const uint32_t header[3] = {VU_GET_FEATURES, VU_VERSION, 0};
	struct vmm v;

	vmm_open(&v);
	while (send(v.rig.vmm, header, sizeof(header), MSG_DONTWAIT) == sizeof(header))
		;
	rig_until(&v.rig, NULL, NULL);
	ck_assert_uint_eq(v.rig.deaths, 0);
	ck_assert_uint_le(rig_worker_fds(&v.rig), v.fds);
	again(&v);
	expect_alive(&v);
	vmm_close(&v);
}
END_TEST

START_TEST(a_second_vmm_is_turned_away)
{
	struct vmm v;
	char byte;
	int other;

	vmm_open(&v);
	expect_alive(&v);
	other = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(other, (struct sockaddr *)&v.rig.door, v.rig.door_len), 0);
	ck_assert_int_eq(recv(other, &byte, 1, 0), 0);
	expect_alive(&v);
	close(other);
	vmm_close(&v);
}
END_TEST

UNIT_MAIN(bad_headers, bad_ring_facts, odd_descriptors, bad_regions, bad_logs, bad_inflight_regions,
	out_of_order, a_ring_larger_than_its_region, a_broken_ring_is_told_and_the_session_lives,
	memory_that_is_cut_off_ends_the_session, bad_configuration, byte_by_byte,
	a_message_with_a_descriptor_in_two_pieces, floods_leave_nothing, a_vmm_that_never_reads,
	a_second_vmm_is_turned_away)
