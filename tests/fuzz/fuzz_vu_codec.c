/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/backends/vu_codec: what a VMM may send. The input is a stream:
 *
 *	byte	how many descriptors come with the next message
 *	bytes	the message; its own header says how many
 *
 * Whatever is accepted must be within the bounds that handlers rely on.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/backends/vu_codec.h"
#include "tests/fuzz/fuzz.h"

static void require(bool good)
{
	if (!good)
		abort();
}

static void check_ring(const struct vu_msg *msg)
{
	switch (msg->request) {
	case VU_SET_VRING_NUM:
	case VU_SET_VRING_BASE:
	case VU_GET_VRING_BASE:
	case VU_SET_VRING_ENABLE:
		require(msg->body.state.index < VU_MAX_QUEUES);
		break;
	case VU_SET_VRING_ADDR:
		require(msg->body.addr.index < VU_MAX_QUEUES);
		break;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		require(msg->body.ring_fd.index < VU_MAX_QUEUES);
		require(msg->body.ring_fd.no_fd == (msg->fd_count == 0));
		break;
	default:
		break;
	}
}

static void check_accepted(const struct vu_msg *msg)
{
	uint8_t out[VU_REPLY_MAX];

	check_ring(msg);
	require(msg->size <= VU_PAYLOAD_MAX && msg->fd_count <= 8);
	if (msg->request == VU_SET_MEM_TABLE)
		require(msg->body.mem.count == msg->fd_count);
	if (msg->request == VU_GET_CONFIG || msg->request == VU_SET_CONFIG) {
		require(msg->body.config.offset <= VU_CONFIG_MAX);
		require(msg->body.config.size <= VU_CONFIG_MAX - msg->body.config.offset);
	}
	/* Replies to it decode to nothing: a request never has the reply bit. */
	if (msg->reply == VU_REPLY_CONFIG)
		require(vu_reply_config(out, msg->request, &msg->body.config) <= VU_REPLY_MAX);
	if (msg->reply == VU_REPLY_INFLIGHT)
		require(vu_reply_inflight(out, msg, &msg->body.inflight) <= VU_REPLY_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size > 1) {
		struct err e = ERR_INIT;
		struct vu_msg msg;
		unsigned int fds = *data;
		int len = vu_msg_length(data + 1, size - 1, &e);

		if (len < 0)
			require(e.msg[0]);
		if (len <= 0 || (size_t)len > size - 1)
			break;
		if (vu_msg_decode(&msg, data + 1, (size_t)len, fds, &e) == 0)
			check_accepted(&msg);
		else
			require(e.msg[0]);
		data += 1 + len;
		size -= 1 + (size_t)len;
	}
	return 0;
}
