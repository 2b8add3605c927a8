/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user messages: bytes to structs and back (QEMU, docs/interop/vhost-user.rst). Pure: no I/O,
 * no allocation. One table (vu_codec.c) says for every request its name, how long its payload may
 * be, how many descriptors come with it, and what kind of reply it wants; everything that can be
 * refused by looking at the message alone is refused here, in one place, before a handler sees it.
 */
#pragma once

#include "lib/backends/vu_wire.h"
#include "lib/err.h"

/* What a request is answered with (beyond REPLY_ACK, which can be asked for on any other). */
enum vu_reply {
	VU_REPLY_ACK_ONLY, /* nothing, or an u64 if need_reply */
	VU_REPLY_U64,
	VU_REPLY_VRING_STATE,
	VU_REPLY_CONFIG,
	VU_REPLY_INFLIGHT, /* payload and one descriptor */
	VU_REPLY_EMPTY,    /* SET_LOG_BASE: an empty payload, need_reply or not */
};

/* A decoded request. Fields of `body` by request; unused ones are zero. */
struct vu_msg {
	uint32_t request;
	bool need_reply;
	uint32_t size; /* of the payload, as sent */
	enum vu_reply reply;
	unsigned int fd_count; /* as checked against the table */
	union vu_body {
		uint64_t u64;
		struct vu_vring_state state;
		struct vu_vring_addr addr;
		struct vu_mem_table mem; /* count bounded by VU_MEM_TABLE_MAX */
		struct vu_region region;
		struct vu_log log;
		struct vu_inflight inflight;
		struct vu_config config; /* offset + size within VU_CONFIG_MAX, data present */
		struct {
			uint16_t index;
			bool no_fd;
		} ring_fd; /* SET_VRING_KICK, CALL, ERR */
	} body;
};

/*
 * How many bytes the message at the front of data[0..len) has in all: 0 when the header is not
 * complete yet; -1 with `e` when the header is wrong (version, reply bit, unknown request, size).
 */
int vu_msg_length(const void *data, size_t len, struct err *e);

/*
 * How many descriptors the whole message at `data` says that it comes with. The kernel attributes
 * descriptors to buffers, not to messages: a reader may see its neighbour's (vu_message.c).
 */
unsigned int vu_msg_wanted_fds(const void *data, size_t len);

/* Decodes one whole message of `len` bytes that came with fd_count descriptors. */
int vu_msg_decode(
	struct vu_msg *msg, const void *data, size_t len, unsigned int fd_count, struct err *e);

/* Encodes a reply to `request` into out[VU_REPLY_MAX]; returns its length in bytes. */
size_t vu_reply_u64(uint8_t *out, uint32_t request, uint64_t value);
size_t vu_reply_state(uint8_t *out, uint32_t request, const struct vu_vring_state *state);
size_t vu_reply_config(uint8_t *out, uint32_t request, const struct vu_config *config);
/* As long as the request was (msg->size): some front ends pad the struct to 24 bytes, some not. */
size_t vu_reply_inflight(
	uint8_t *out, const struct vu_msg *request, const struct vu_inflight *inflight);
size_t vu_reply_empty(uint8_t *out, uint32_t request);

/* A message of ours to the VMM (BACKEND_REQ channel): CONFIG_CHANGE, no payload. */
size_t vu_backend_config_change(uint8_t *out);

/* "SET_VRING_KICK", or "request 77" (static). For logs. */
const char *vu_request_name(uint32_t request);
