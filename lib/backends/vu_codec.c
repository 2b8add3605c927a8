/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	u32 request | u32 flags | u32 size | payload of `size` bytes
 *
 * flags: bits 0-1 version (1), bit 2 reply, bit 3 need_reply; the rest is reserved. Everything is
 *in host byte order and unaligned. Descriptors travel beside the first byte.
 *
 * `requests` below is the whole of what may be said: a request without a row does not exist. A row
 * bounds the size, so that a reader never waits for (or stores) more than VU_PAYLOAD_MAX, and names
 * the shape of the payload, for which there is one function that copies it out of the bytes and
 * checks what can be checked without knowing the session.
 */
#include "lib/backends/vu_codec.h"

#include <stdio.h>
#include <string.h>

struct vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};

static_assert(sizeof(struct vu_header) == VU_HEADER_SIZE, "as on the wire");
static_assert(sizeof(struct vu_region) == 32, "as on the wire");
static_assert(sizeof(struct vu_vring_addr) == 40, "as on the wire");
static_assert(sizeof(struct vu_inflight) == 20, "as on the wire");

#define MEM_TABLE_HEADER offsetof(struct vu_mem_table, regions)
#define CONFIG_HEADER    offsetof(struct vu_config, data)
#define REGION_PADDING   8u /* in front of the single region of ADD_MEM_REG and REM_MEM_REG */
#define INFLIGHT_PADDED  24u

enum shape {
	SHAPE_EMPTY = 1,
	SHAPE_U64,
	SHAPE_VRING_STATE,
	SHAPE_VRING_ENABLE,
	SHAPE_VRING_ADDR,
	SHAPE_RING_FD,
	SHAPE_MEM_TABLE,
	SHAPE_REGION,
	SHAPE_LOG,
	SHAPE_CONFIG,
	SHAPE_INFLIGHT,
	SHAPE_COUNT
};

struct request_info {
	const char *name;
	enum shape shape; /* 0: no such request */
	uint8_t min_fds, max_fds;
	enum vu_reply reply;
};

#define REQUEST(name_, shape_, min_, max_, reply_)                                                 \
	[VU_##name_] = {                                                                           \
		.name = #name_,                                                                    \
		.shape = SHAPE_##shape_,                                                           \
		.min_fds = (min_),                                                                 \
		.max_fds = (max_),                                                                 \
		.reply = VU_REPLY_##reply_,                                                        \
	}

static const struct request_info requests[] = {
	REQUEST(GET_FEATURES, EMPTY, 0, 0, U64),
	REQUEST(SET_FEATURES, U64, 0, 0, ACK_ONLY),
	REQUEST(SET_OWNER, EMPTY, 0, 0, ACK_ONLY),
	REQUEST(RESET_OWNER, EMPTY, 0, 0, ACK_ONLY),
	REQUEST(SET_MEM_TABLE, MEM_TABLE, 0, VU_MEM_TABLE_MAX, ACK_ONLY), /* one per region */
	REQUEST(SET_LOG_BASE, LOG, 1, 1, EMPTY),
	REQUEST(SET_LOG_FD, EMPTY, 1, 1, ACK_ONLY),
	REQUEST(SET_VRING_NUM, VRING_STATE, 0, 0, ACK_ONLY),
	REQUEST(SET_VRING_ADDR, VRING_ADDR, 0, 0, ACK_ONLY),
	REQUEST(SET_VRING_BASE, VRING_STATE, 0, 0, ACK_ONLY),
	REQUEST(GET_VRING_BASE, VRING_STATE, 0, 0, VRING_STATE),
	REQUEST(SET_VRING_KICK, RING_FD, 0, 1, ACK_ONLY), /* as its no-fd bit says */
	REQUEST(SET_VRING_CALL, RING_FD, 0, 1, ACK_ONLY),
	REQUEST(SET_VRING_ERR, RING_FD, 0, 1, ACK_ONLY),
	REQUEST(GET_PROTOCOL_FEATURES, EMPTY, 0, 0, U64),
	REQUEST(SET_PROTOCOL_FEATURES, U64, 0, 0, ACK_ONLY),
	REQUEST(GET_QUEUE_NUM, EMPTY, 0, 0, U64),
	REQUEST(SET_VRING_ENABLE, VRING_ENABLE, 0, 0, ACK_ONLY),
	REQUEST(SEND_RARP, U64, 0, 0, ACK_ONLY),
	REQUEST(NET_SET_MTU, U64, 0, 0, ACK_ONLY),
	REQUEST(SET_BACKEND_REQ_FD, EMPTY, 1, 1, ACK_ONLY),
	REQUEST(GET_CONFIG, CONFIG, 0, 0, CONFIG),
	REQUEST(SET_CONFIG, CONFIG, 0, 0, ACK_ONLY),
	REQUEST(GET_INFLIGHT_FD, INFLIGHT, 0, 0, INFLIGHT),
	REQUEST(SET_INFLIGHT_FD, INFLIGHT, 1, 1, ACK_ONLY),
	REQUEST(RESET_DEVICE, EMPTY, 0, 0, ACK_ONLY),
	REQUEST(GET_MAX_MEM_SLOTS, EMPTY, 0, 0, U64),
	REQUEST(ADD_MEM_REG, REGION, 1, 1, ACK_ONLY),
	REQUEST(REM_MEM_REG, REGION, 0, 1, ACK_ONLY), /* one is wrong, but has been sent: closed */
	REQUEST(SET_STATUS, U64, 0, 0, ACK_ONLY),
	REQUEST(GET_STATUS, EMPTY, 0, 0, U64),
};

static_assert(ARRAY_SIZE(requests) == VU_REQUEST_COUNT, "the last request has a row");

typedef int shape_fn(struct vu_msg *msg, const uint8_t *payload, struct err *e);

struct shape_info {
	uint32_t min_size, max_size;
	shape_fn *decode; /* NULL: nothing to copy */
};

/* NULL when there is no such request. */
static const struct request_info *info_of(uint32_t request)
{
	if (request >= ARRAY_SIZE(requests) || !requests[request].shape)
		return NULL;
	return &requests[request];
}

const char *vu_request_name(uint32_t request)
{
	static char unknown[sizeof("request 4294967295")];
	const struct request_info *info = info_of(request);

	if (info)
		return info->name;
	snprintf(unknown, sizeof(unknown), "request %u", request);
	return unknown;
}

static int refuse(struct err *e, const char *what)
{
	return err_set(e, ERR_FAILED, "VU-MESSAGE", "%s", what);
}

static int refuse_size(const struct vu_msg *msg, struct err *e)
{
	return err_set(e, ERR_FAILED, "VU-MESSAGE", "payload of %u bytes", msg->size);
}

static int check_ring(uint64_t index, struct err *e)
{
	if (index >= VU_MAX_QUEUES)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "ring %llu: there are at most %u",
			(unsigned long long)index, VU_MAX_QUEUES);
	return 0;
}

static int decode_u64(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	(void)e;
	memcpy(&msg->body.u64, payload, sizeof(msg->body.u64));
	return 0;
}

static int decode_vring_state(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	memcpy(&msg->body.state, payload, sizeof(msg->body.state));
	return check_ring(msg->body.state.index, e);
}

static int decode_vring_enable(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	if (decode_vring_state(msg, payload, e) < 0)
		return -1;
	return msg->body.state.num > 1 ? refuse(e, "neither 0 nor 1") : 0;
}

static int decode_vring_addr(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	memcpy(&msg->body.addr, payload, sizeof(msg->body.addr));
	return check_ring(msg->body.addr.index, e);
}

static int decode_ring_fd(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	uint64_t value;
	bool no_fd;

	memcpy(&value, payload, sizeof(value));
	no_fd = value & VU_VRING_NOFD_BIT;
	if (value & ~(VU_VRING_INDEX_MASK | VU_VRING_NOFD_BIT))
		return refuse(e, "unknown bits");
	if (check_ring(value & VU_VRING_INDEX_MASK, e) < 0)
		return -1;
	if (no_fd == (msg->fd_count == 1))
		return refuse(e, no_fd ? "a descriptor, and a bit that says there is none"
				       : "no descriptor, and no bit that says so");
	msg->body.ring_fd.index = (uint16_t)(value & VU_VRING_INDEX_MASK);
	msg->body.ring_fd.no_fd = no_fd;
	return 0;
}

static int decode_mem_table(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	struct vu_mem_table *mem = &msg->body.mem;
	size_t size;

	memcpy(mem, payload, MEM_TABLE_HEADER);
	if (mem->count > VU_MEM_TABLE_MAX)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "%u regions: at most %u", mem->count,
			VU_MEM_TABLE_MAX);
	size = MEM_TABLE_HEADER + mem->count * sizeof(mem->regions[0]);
	/* User-Mode Linux sends room for two regions and fills one: what follows is nothing. */
	if (msg->size < size || (msg->size - size) % sizeof(mem->regions[0]) != 0)
		return refuse_size(msg, e);
	if (msg->fd_count != mem->count)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "%u regions with %u descriptors",
			mem->count, msg->fd_count);
	memcpy(mem->regions, payload + MEM_TABLE_HEADER, size - MEM_TABLE_HEADER);
	return 0;
}

static int decode_region(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	(void)e;
	memcpy(&msg->body.region, payload + REGION_PADDING, sizeof(msg->body.region));
	return 0;
}

static int decode_log(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	uint64_t end;

	memcpy(&msg->body.log, payload, sizeof(msg->body.log));
	if (!u64_add(msg->body.log.size, msg->body.log.offset, &end))
		return refuse(e, "size + offset overflows");
	return 0;
}

static int decode_config(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	struct vu_config *config = &msg->body.config;

	memcpy(config, payload, CONFIG_HEADER);
	if ((uint64_t)config->offset + config->size > VU_CONFIG_MAX)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "offset %u + size %u is beyond %u",
			config->offset, config->size, VU_CONFIG_MAX);
	if (msg->size != CONFIG_HEADER + config->size)
		return refuse_size(msg, e);
	memcpy(config->data, payload + CONFIG_HEADER, config->size);
	return 0;
}

static int decode_inflight(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	if (msg->size != sizeof(msg->body.inflight) && msg->size != INFLIGHT_PADDED)
		return refuse_size(msg, e);
	memcpy(&msg->body.inflight, payload, sizeof(msg->body.inflight));
	return 0;
}

#define EXACTLY(n) .min_size = (n), .max_size = (n)

static const struct shape_info shapes[] = {
	[SHAPE_EMPTY] = {EXACTLY(0)},
	[SHAPE_U64] = {EXACTLY(8), decode_u64},
	[SHAPE_VRING_STATE] = {EXACTLY(8), decode_vring_state},
	[SHAPE_VRING_ENABLE] = {EXACTLY(8), decode_vring_enable},
	[SHAPE_VRING_ADDR] = {EXACTLY(40), decode_vring_addr},
	[SHAPE_RING_FD] = {EXACTLY(8), decode_ring_fd},
	[SHAPE_MEM_TABLE] = {MEM_TABLE_HEADER, sizeof(struct vu_mem_table), decode_mem_table},
	[SHAPE_REGION] = {EXACTLY(REGION_PADDING + sizeof(struct vu_region)), decode_region},
	[SHAPE_LOG] = {EXACTLY(16), decode_log},
	[SHAPE_CONFIG] = {CONFIG_HEADER, sizeof(struct vu_config), decode_config},
	[SHAPE_INFLIGHT] = {sizeof(struct vu_inflight), INFLIGHT_PADDED, decode_inflight},
};

static_assert(ARRAY_SIZE(shapes) == SHAPE_COUNT, "every shape has its sizes");
static_assert(sizeof(struct vu_mem_table) <= VU_PAYLOAD_MAX, "the largest payloads fit");
static_assert(sizeof(struct vu_config) <= VU_PAYLOAD_MAX, "the largest payloads fit");

static int check_header(const struct vu_header *h, struct err *e)
{
	const struct request_info *info = info_of(h->request);
	const struct shape_info *shape;

	if ((h->flags & VU_VERSION_MASK) != VU_VERSION)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "version %u: %u is spoken",
			h->flags & VU_VERSION_MASK, VU_VERSION);
	if (h->flags & VU_FLAG_REPLY)
		return refuse(e, "a reply where a request belongs");
	if (h->flags & ~(VU_VERSION_MASK | VU_FLAG_NEED_REPLY))
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "unknown flags 0x%x", h->flags);
	if (!info)
		return refuse(e, "unknown");
	shape = &shapes[info->shape];
	if (h->size < shape->min_size || h->size > shape->max_size)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "payload of %u bytes", h->size);
	return 0;
}

static struct vu_header read_header(const void *data)
{
	struct vu_header h;

	memcpy(&h, data, sizeof(h));
	return h;
}

int vu_msg_length(const void *data, size_t len, struct err *e)
{
	struct vu_header h;

	if (len < VU_HEADER_SIZE)
		return 0;
	h = read_header(data);
	if (check_header(&h, e) < 0)
		return err_wrap(e, "%s", vu_request_name(h.request));
	return (int)(VU_HEADER_SIZE + h.size);
}

static int decode_body(struct vu_msg *msg, const uint8_t *payload, struct err *e)
{
	const struct request_info *info = &requests[msg->request];
	const struct shape_info *shape = &shapes[info->shape];

	if (msg->fd_count < info->min_fds || msg->fd_count > info->max_fds)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "%u descriptors", msg->fd_count);
	msg->reply = info->reply;
	return shape->decode ? shape->decode(msg, payload, e) : 0;
}

unsigned int vu_msg_wanted_fds(const void *data, size_t len)
{
	const uint8_t *payload = (const uint8_t *)data + VU_HEADER_SIZE;
	struct vu_header h = read_header(data);
	const struct request_info *info = &requests[h.request];
	uint64_t value = 0;
	uint32_t count = 0;

	assert(h.request < ARRAY_SIZE(requests) && len == VU_HEADER_SIZE + h.size);
	memcpy(&value, payload, MIN(sizeof(value), h.size));
	memcpy(&count, payload, MIN(sizeof(count), h.size));
	if (info->shape == SHAPE_RING_FD)
		return value & VU_VRING_NOFD_BIT ? 0 : 1;
	if (info->shape == SHAPE_MEM_TABLE)
		return MIN(count, VU_MEM_TABLE_MAX);
	return info->max_fds;
}

int vu_msg_decode(
	struct vu_msg *msg, const void *data, size_t len, unsigned int fd_count, struct err *e)
{
	struct vu_header h;

	memset(msg, 0, sizeof(*msg));
	if (len < VU_HEADER_SIZE)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "message of %zu bytes", len);
	h = read_header(data);
	if (check_header(&h, e) < 0)
		return err_wrap(e, "%s", vu_request_name(h.request));
	if (len != VU_HEADER_SIZE + h.size)
		return err_set(e, ERR_FAILED, "VU-MESSAGE", "%s: %zu bytes instead of %u",
			vu_request_name(h.request), len, VU_HEADER_SIZE + h.size);
	msg->request = h.request;
	msg->need_reply = h.flags & VU_FLAG_NEED_REPLY;
	msg->size = h.size;
	msg->fd_count = fd_count;
	if (decode_body(msg, (const uint8_t *)data + VU_HEADER_SIZE, e) < 0)
		return err_wrap(e, "%s", vu_request_name(h.request));
	return 0;
}

static size_t encode(
	uint8_t *out, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	struct vu_header h = {.request = request, .flags = VU_VERSION | flags, .size = size};

	memcpy(out, &h, sizeof(h));
	if (size)
		memcpy(out + VU_HEADER_SIZE, payload, size);
	return VU_HEADER_SIZE + size;
}

size_t vu_reply_u64(uint8_t *out, uint32_t request, uint64_t value)
{
	return encode(out, request, VU_FLAG_REPLY, &value, sizeof(value));
}

size_t vu_reply_state(uint8_t *out, uint32_t request, const struct vu_vring_state *state)
{
	return encode(out, request, VU_FLAG_REPLY, state, sizeof(*state));
}

size_t vu_reply_config(uint8_t *out, uint32_t request, const struct vu_config *config)
{
	assert(config->size <= VU_CONFIG_MAX);
	return encode(out, request, VU_FLAG_REPLY, config, CONFIG_HEADER + config->size);
}

size_t vu_reply_inflight(
	uint8_t *out, const struct vu_msg *request, const struct vu_inflight *inflight)
{
	uint8_t padded[INFLIGHT_PADDED] = {0};

	assert(request->size == sizeof(*inflight) || request->size == sizeof(padded));
	memcpy(padded, inflight, sizeof(*inflight));
	return encode(out, request->request, VU_FLAG_REPLY, padded, request->size);
}

size_t vu_reply_empty(uint8_t *out, uint32_t request)
{
	return encode(out, request, VU_FLAG_REPLY, NULL, 0);
}

size_t vu_backend_config_change(uint8_t *out)
{
	return encode(out, VU_BACKEND_CONFIG_CHANGE, 0, NULL, 0);
}
