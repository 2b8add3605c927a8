/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/vmm.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

uint64_t vmm_u64_of(struct vmm *v, uint32_t request)
{
	uint64_t value = 0;
	int fd;

	rig_send(&v->rig, request, 0, NULL, 0, NULL, 0);
	ck_assert_uint_eq(rig_reply(&v->rig, request, &value, sizeof(value), &fd), 8);
	ck_assert_int_eq(fd, -1);
	return value;
}

void vmm_tell(struct vmm *v, uint32_t request, bool ack, const void *payload, uint32_t size,
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

void vmm_tell_u64(struct vmm *v, uint32_t request, bool ack, uint64_t value)
{
	vmm_tell(v, request, ack, &value, sizeof(value), NULL, 0);
}

void vmm_tell_state(struct vmm *v, uint32_t request, bool ack, uint32_t index, uint32_t num)
{
	struct vu_vring_state state = {index, num};

	vmm_tell(v, request, ack, &state, sizeof(state), NULL, 0);
}

void vmm_tell_ring_fd(struct vmm *v, uint32_t request, int fd)
{
	uint64_t index = 0;
	int copy = dup(fd);

	vmm_tell(v, request, false, &index, sizeof(index), &copy, 1);
}

void vmm_tell_region(struct vmm *v, uint32_t request, uint64_t gpa, uint64_t uva, uint64_t size,
	uint64_t offset, int fd)
{
	const uint64_t payload[5] = {0, gpa, size, uva, offset};
	int copy = fd >= 0 ? dup(fd) : -1;

	vmm_tell(v, request, true, payload, sizeof(payload), &copy, fd >= 0);
}

uint32_t vmm_get_base(struct vmm *v)
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

void vmm_ask(struct vmm *v, uint32_t type, bool in, unsigned int n)
{
	struct header header = {.type = type, .sector = n};
	const struct driver_buf bufs[] = {
		{VMM_HEADER_AT + n * sizeof(header), sizeof(header)},
		{VMM_DATA_AT + (uint64_t)n * VMM_SECTOR, VMM_SECTOR},
		{VMM_STATUS_AT + n, 1},
	};

	memcpy(driver_host(&v->driver, bufs[0].gpa), &header, sizeof(header));
	*(uint8_t *)driver_host(&v->driver, bufs[2].gpa) = 0xee;
	ck_assert_int_ge(driver_add(&v->driver, bufs, in ? 1 : 2, in ? 2 : 1, 0), 0);
	v->requests++;
}

void vmm_kick(struct vmm *v)
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

void vmm_await(struct vmm *v, unsigned int n)
{
	struct awaited a = {v, n};
	uint16_t id;
	uint32_t len;

	rig_until(&v->rig, took_all, &a);
	ck_assert(!driver_take(&v->driver, &id, &len));
}

void vmm_check_status(struct vmm *v, unsigned int first, unsigned int count)
{
	for (unsigned int n = first; n < first + count; n++)
		ck_assert_uint_eq(*(uint8_t *)driver_host(&v->driver, VMM_STATUS_AT + n), 0);
}

void vmm_use_disk(struct vmm *v, uint8_t fill)
{
	uint8_t *data = driver_host(&v->driver, VMM_DATA_AT);

	for (unsigned int n = 0; n < 4; n++) {
		memset(data + n * VMM_SECTOR, fill + (int)n, VMM_SECTOR);
		vmm_ask(v, 1, false, n);
	}
	vmm_kick(v);
	vmm_await(v, 4);
	vmm_check_status(v, 0, 4);
	memset(data, 0, 4 * VMM_SECTOR);
	for (unsigned int n = 0; n < 4; n++)
		vmm_ask(v, 0, true, n);
	vmm_kick(v);
	vmm_await(v, 4);
	vmm_check_status(v, 0, 4);
	for (unsigned int i = 0; i < 4 * VMM_SECTOR; i++)
		ck_assert_uint_eq(data[i], (uint8_t)(fill + i / VMM_SECTOR));
}

/* --- the conversation, in the order that QEMU has -------------------------------------------- */

void vmm_greet(struct vmm *v)
{
	uint64_t features = vmm_u64_of(v, VU_GET_FEATURES), protocol, capacity;
	struct vu_config config = {.size = 60};
	int pair[2], fd;

	ck_assert_uint_eq(features & VMM_FEATURES, VMM_FEATURES);
	protocol = vmm_u64_of(v, VU_GET_PROTOCOL_FEATURES);
	ck_assert(protocol & VU_PF_INFLIGHT_SHMFD);
	vmm_tell_u64(v, VU_SET_PROTOCOL_FEATURES, false, protocol);
	ck_assert_uint_eq(vmm_u64_of(v, VU_GET_QUEUE_NUM), 1);
	ck_assert_uint_eq(vmm_u64_of(v, VU_GET_MAX_MEM_SLOTS), GUEST_MEM_MAX_REGIONS);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vmm_tell(v, VU_SET_BACKEND_REQ_FD, true, NULL, 0, &pair[0], 1);
	close(pair[1]);
	vmm_tell(v, VU_SET_OWNER, false, NULL, 0, NULL, 0);
	vmm_tell_ring_fd(v, VU_SET_VRING_CALL, v->call);
	vmm_tell_ring_fd(v, VU_SET_VRING_ERR, v->call);
	rig_send(&v->rig, VU_GET_CONFIG, 0, &config, 12 + config.size, NULL, 0);
	ck_assert_uint_eq(rig_reply(&v->rig, VU_GET_CONFIG, &config, sizeof(config), &fd), 12 + 60);
	memcpy(&capacity, config.data, sizeof(capacity));
	ck_assert_uint_eq(capacity, RIG_DISK_BYTES / VMM_SECTOR);
}

void vmm_get_inflight(struct vmm *v)
{
	struct vu_inflight *desc = &v->inflight_desc;

	*desc = (struct vu_inflight){.num_queues = 1, .queue_size = VMM_RING_SIZE};
	rig_send(&v->rig, VU_GET_INFLIGHT_FD, 0, desc, sizeof(*desc), NULL, 0);
	ck_assert_uint_eq(rig_reply(&v->rig, VU_GET_INFLIGHT_FD, desc, sizeof(*desc), &v->inflight),
		sizeof(*desc));
	ck_assert_int_ge(v->inflight, 0);
}

void vmm_set_inflight(struct vmm *v)
{
	int copy = dup(v->inflight);

	vmm_tell(v, VU_SET_INFLIGHT_FD, false, &v->inflight_desc, sizeof(v->inflight_desc), &copy,
		1);
}

/* The driver's two regions lie in its file in reverse order. */
void vmm_share_memory(struct vmm *v, uint32_t request)
{
	int fd = request == VU_ADD_MEM_REG ? v->driver.fd : -1;

	vmm_tell_region(v, request, GUEST_BASE, GUEST_UVA, GUEST_HALF, GUEST_HALF, fd);
	vmm_tell_region(v, request, GUEST_SEAM, GUEST_UVA + GUEST_HALF, GUEST_HALF, 0, fd);
}

void vmm_tell_addresses(struct vmm *v, bool ack, uint32_t flags)
{
	struct virtq_config cfg = driver_config(&v->driver);
	struct vu_vring_addr addr = {
		.flags = flags,
		.desc = cfg.desc_uva,
		.used = cfg.used_uva,
		.avail = cfg.avail_uva,
		.log = driver_ring_gpa(&v->driver),
	};

	vmm_tell(v, VU_SET_VRING_ADDR, ack, &addr, sizeof(addr), NULL, 0);
}

void vmm_start_ring(struct vmm *v, uint32_t base)
{
	vmm_tell_u64(v, VU_SET_FEATURES, false, VMM_FEATURES);
	vmm_tell_state(v, VU_SET_VRING_NUM, false, 0, VMM_RING_SIZE);
	vmm_tell_state(v, VU_SET_VRING_BASE, false, 0, base);
	vmm_tell_addresses(v, false, 0);
	vmm_tell_ring_fd(v, VU_SET_VRING_KICK, v->kick);
	vmm_tell_state(v, VU_SET_VRING_ENABLE, true, 0, 1);
}

void vmm_open(struct vmm *v, struct rig_options opt)
{
	memset(v, 0, sizeof(*v));
	v->inflight = -1;
	driver_open(&v->driver, (struct driver_options){.size = VMM_RING_SIZE, .event_idx = true});
	v->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	v->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig_open(&v->rig, opt);
}

void vmm_close(struct vmm *v)
{
	rig_close(&v->rig);
	close(v->inflight);
	close(v->kick);
	close(v->call);
	driver_close(&v->driver);
}
