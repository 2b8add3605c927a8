/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user on the wire: numbers and structs only, host byte order, as in QEMU's
 * docs/interop/vhost-user.rst, sections "Message Specification" and "Protocol features".
 */
#pragma once

#include <stdint.h>

#define VU_HEADER_SIZE     12u
#define VU_VERSION         0x1u
#define VU_VERSION_MASK    0x3u
#define VU_FLAG_REPLY      0x4u
#define VU_FLAG_NEED_REPLY 0x8u

#define VU_MAX_QUEUES    64u
#define VU_MEM_TABLE_MAX 8u
#define VU_CONFIG_MAX    256u
#define VU_PAYLOAD_MAX   (8u + 32u * VU_MEM_TABLE_MAX + 16u) /* larger than any request's */
#define VU_REPLY_MAX     (VU_HEADER_SIZE + 12u + VU_CONFIG_MAX)

enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_LOG_BASE = 6,
	VU_SET_LOG_FD = 7,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SEND_RARP = 19,
	VU_NET_SET_MTU = 20,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_RESET_DEVICE = 34,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
	VU_REQUEST_COUNT
};

enum vu_backend_request {
	VU_BACKEND_CONFIG_CHANGE = 2,
};

/* Protocol feature bits. */
#define VU_PF_MQ                  (1ull << 0)
#define VU_PF_LOG_SHMFD           (1ull << 1)
#define VU_PF_RARP                (1ull << 2)
#define VU_PF_REPLY_ACK           (1ull << 3)
#define VU_PF_NET_MTU             (1ull << 4)
#define VU_PF_BACKEND_REQ         (1ull << 5)
#define VU_PF_CONFIG              (1ull << 9)
#define VU_PF_INFLIGHT_SHMFD      (1ull << 12)
#define VU_PF_RESET_DEVICE        (1ull << 13)
#define VU_PF_CONFIGURE_MEM_SLOTS (1ull << 15)
#define VU_PF_STATUS              (1ull << 16)

/* Feature bits that belong to the transport and the rings. */
#define VHOST_F_LOG_ALL        (1ull << 26)
#define VIRTIO_F_RING_INDIRECT (1ull << 28)
#define VIRTIO_F_EVENT_IDX     (1ull << 29)
#define VU_F_PROTOCOL_FEATURES (1ull << 30)
#define VIRTIO_F_VERSION_1     (1ull << 32)
#define VIRTIO_F_RING_PACKED   (1ull << 34)

#define VU_VRING_INDEX_MASK 0xffull
#define VU_VRING_NOFD_BIT   (1ull << 8)
#define VU_VRING_F_LOG      (1u << 0)

struct vu_vring_state {
	uint32_t index;
	uint32_t num;
} __attribute__((packed));

struct vu_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc; /* user addresses of the VMM */
	uint64_t used;
	uint64_t avail;
	uint64_t log; /* guest physical address of the used ring */
} __attribute__((packed));

struct vu_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t offset;
} __attribute__((packed));

struct vu_mem_table {
	uint32_t count;
	uint32_t padding;
	struct vu_region regions[VU_MEM_TABLE_MAX];
} __attribute__((packed));

struct vu_log {
	uint64_t size;
	uint64_t offset;
} __attribute__((packed));

/* QEMU sends four bytes of tail padding more: 20 and 24 bytes are both good. */
struct vu_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
} __attribute__((packed));

struct vu_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t data[VU_CONFIG_MAX];
} __attribute__((packed));

/* Features that are offered with any device. */
#define VU_RING_FEATURES                                                                           \
	(VHOST_F_LOG_ALL | VIRTIO_F_RING_INDIRECT | VIRTIO_F_EVENT_IDX | VU_F_PROTOCOL_FEATURES |  \
		VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED)
