/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One function per request of the VMM, and the table that names them. A handler may run twice for
 * one message, when its worker died in between (vu_message.c): it stores what the message says
 * rather than changing what is there, and when s->in.retry is set it takes "already so" for done.
 */
#include "lib/backends/vu_session_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define PROTOCOL_FEATURES                                                                          \
	(VU_PF_MQ | VU_PF_LOG_SHMFD | VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_INFLIGHT_SHMFD | \
		VU_PF_RESET_DEVICE | VU_PF_CONFIGURE_MEM_SLOTS | VU_PF_STATUS)

static uint64_t offered_protocol(const struct vu_session *s)
{
	const struct backend_ops *ops = s->backend->ops;

	return PROTOCOL_FEATURES | (ops->tells_config ? VU_PF_CONFIG : 0) |
	       (ops->announce ? VU_PF_RARP : 0) | (ops->set_mtu ? VU_PF_NET_MTU : 0);
}

uint64_t vu_offered_features(const struct vu_session *s)
{
	return VU_RING_FEATURES | s->backend->ops->features(s->backend);
}

static enum vu_act reply_u64(struct vu_session *s, uint64_t value)
{
	vu_reply(s, vu_reply_u64(s->page->message.reply, s->in.msg.request, value), 0);
	return VU_DONE;
}

static enum vu_act get_features(struct vu_session *s, struct err *e)
{
	(void)e;
	return reply_u64(s, vu_offered_features(s));
}

/* What may change under a running ring is the dirty log alone. */
static enum vu_act set_features(struct vu_session *s, struct err *e)
{
	uint64_t features = s->in.msg.body.u64, offered = vu_offered_features(s);

	if (features & ~offered) {
		err_set(e, ERR_REFUSED, "VU-FEATURES", "features 0x%llx were not offered",
			(unsigned long long)(features & ~offered));
		return VU_BROKEN;
	}
	if (vu_any_ring_started(s) && (features ^ s->page->features) & ~VHOST_F_LOG_ALL) {
		err_set(e, ERR_REFUSED, "VU-FEATURES",
			"features other than the log cannot change "
			"while a ring runs");
		return VU_BROKEN;
	}
	if ((features ^ s->page->features) & VHOST_F_LOG_ALL)
		vu_changed(s);
	s->page->features = features;
	page_commit(s->page->features_known, 1);
	s->backend->ops->set_features(s->backend, features);
	if (!(features & VU_F_PROTOCOL_FEATURES))
		for (unsigned int i = 0; i < s->ring_count; i++)
			vu_ring_set_enabled(&s->rings[i], true);
	vu_rings_update_log(s);
	return VU_DONE;
}

static enum vu_act get_protocol_features(struct vu_session *s, struct err *e)
{
	(void)e;
	return reply_u64(s, offered_protocol(s));
}

static enum vu_act set_protocol_features(struct vu_session *s, struct err *e)
{
	uint64_t protocol = s->in.msg.body.u64, offered = offered_protocol(s);

	if (protocol & ~offered) {
		err_set(e, ERR_REFUSED, "VU-FEATURES", "protocol features 0x%llx were not offered",
			(unsigned long long)(protocol & ~offered));
		return VU_BROKEN;
	}
	s->page->protocol = protocol;
	return VU_DONE;
}

static enum vu_act do_nothing(struct vu_session *s, struct err *e)
{
	(void)s, (void)e;
	return VU_DONE;
}

static enum vu_act get_queue_num(struct vu_session *s, struct err *e)
{
	(void)e;
	return reply_u64(s, s->ring_count / s->backend->ops->rings_per_queue);
}

static enum vu_act get_max_mem_slots(struct vu_session *s, struct err *e)
{
	(void)e;
	return reply_u64(s, GUEST_MEM_MAX_REGIONS);
}

static enum vu_act get_config(struct vu_session *s, struct err *e)
{
	struct vu_config config = s->in.msg.body.config;

	(void)e;
	s->backend->ops->config_read(s->backend, config.offset, config.size, config.data);
	vu_reply(s, vu_reply_config(s->page->message.reply, s->in.msg.request, &config), 0);
	return VU_DONE;
}

static enum vu_act set_config(struct vu_session *s, struct err *e)
{
	const struct vu_config *config = &s->in.msg.body.config;

	if (s->backend->ops->config_write(
		    s->backend, config->offset, config->size, config->data, e) < 0)
		return VU_REFUSED;
	vu_note_config(s);
	return VU_DONE;
}

/* Only a device that has it knows what it is: for others it is a request that does not exist. */
static enum vu_act not_offered(struct err *e)
{
	err_set(e, ERR_REFUSED, "VU-REQUEST", "not a request that this device offers");
	return VU_BROKEN;
}

static enum vu_act net_set_mtu(struct vu_session *s, struct err *e)
{
	struct backend *b = s->backend;

	if (!b->ops->set_mtu)
		return not_offered(e);
	return b->ops->set_mtu(b, s->in.msg.body.u64, e) < 0 ? VU_REFUSED : VU_DONE;
}

/* Sent twice it does no harm. */
static enum vu_act send_rarp(struct vu_session *s, struct err *e)
{
	uint8_t mac[8];

	if (!s->backend->ops->announce)
		return not_offered(e);
	memcpy(mac, &s->in.msg.body.u64, sizeof(mac));
	s->backend->ops->announce(s->backend, mac);
	return VU_DONE;
}

static enum vu_act set_backend_req_fd(struct vu_session *s, struct err *e)
{
	int fd = vu_take_fd(s);
	int kind;
	socklen_t len = sizeof(kind);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &len) < 0 || kind != SOCK_STREAM) {
		close(fd);
		err_set(e, ERR_REFUSED, "VU-FDS", "the descriptor is not a stream socket");
		return VU_BROKEN;
	}
	if (vault_put(s->vault, VAULT_BACKEND_REQ, fd, e) < 0)
		return VU_BROKEN;
	vu_point("vault");
	return VU_DONE;
}

/* All rings are stopped, and what was told about them forgotten; memory and descriptors stay. */
static enum vu_act reset_device(struct vu_session *s, struct err *e)
{
	(void)e;
	vu_rings_gate(s, true);
	if (vu_rings_busy(s))
		return VU_WAIT;
	vu_rings_reset(s);
	vu_inflight_drop(s);
	s->page->device_status = 0;
	vu_rings_gate(s, false);
	return VU_DONE;
}

static enum vu_act set_status(struct vu_session *s, struct err *e)
{
	uint8_t status = (uint8_t)s->in.msg.body.u64;

	(void)e;
	if (!status) {
		vu_rings_gate(s, true);
		if (vu_rings_busy(s))
			return VU_WAIT;
		for (unsigned int i = 0; i < s->ring_count; i++)
			vu_ring_stop(&s->rings[i]);
		vu_rings_gate(s, false);
	}
	s->page->device_status = status;
	return VU_DONE;
}

static enum vu_act get_status(struct vu_session *s, struct err *e)
{
	(void)e;
	return reply_u64(s, s->page->device_status);
}

typedef enum vu_act handler_fn(struct vu_session *s, struct err *e);

static handler_fn *const handlers[VU_REQUEST_COUNT] = {
	[VU_GET_FEATURES] = get_features,
	[VU_SET_FEATURES] = set_features,
	[VU_SET_OWNER] = do_nothing,
	[VU_RESET_OWNER] = do_nothing, /* deprecated; the specification allows to ignore it */
	[VU_SET_MEM_TABLE] = vu_set_mem_table,
	[VU_SET_LOG_BASE] = vu_set_log_base,
	[VU_SET_VRING_NUM] = vu_ring_set_num,
	[VU_SET_VRING_ADDR] = vu_ring_set_addr,
	[VU_SET_VRING_BASE] = vu_ring_set_base,
	[VU_GET_VRING_BASE] = vu_ring_get_base,
	[VU_SET_VRING_KICK] = vu_ring_set_kick,
	[VU_SET_VRING_CALL] = vu_ring_set_call,
	[VU_SET_VRING_ERR] = vu_ring_set_err,
	[VU_GET_PROTOCOL_FEATURES] = get_protocol_features,
	[VU_SET_PROTOCOL_FEATURES] = set_protocol_features,
	[VU_GET_QUEUE_NUM] = get_queue_num,
	[VU_SET_VRING_ENABLE] = vu_ring_enable,
	[VU_SEND_RARP] = send_rarp,
	[VU_NET_SET_MTU] = net_set_mtu,
	[VU_SET_BACKEND_REQ_FD] = set_backend_req_fd,
	[VU_GET_CONFIG] = get_config,
	[VU_SET_CONFIG] = set_config,
	[VU_GET_INFLIGHT_FD] = vu_get_inflight_fd,
	[VU_SET_INFLIGHT_FD] = vu_set_inflight_fd,
	[VU_RESET_DEVICE] = reset_device,
	[VU_GET_MAX_MEM_SLOTS] = get_max_mem_slots,
	[VU_ADD_MEM_REG] = vu_add_mem_reg,
	[VU_REM_MEM_REG] = vu_rem_mem_reg,
	[VU_SET_STATUS] = set_status,
	[VU_GET_STATUS] = get_status,
};

enum vu_act vu_handle(struct vu_session *s, struct err *e)
{
	uint32_t request = s->in.msg.request;

	if (request >= VU_REQUEST_COUNT || !handlers[request])
		return not_offered(e);
	return handlers[request](s, e);
}

/* --- our own words to the VMM ---------------------------------------------------------------- */

/*
 * CONFIG_CHANGE may be sent only while a ring runs, so it may have to wait for that. Sent twice it
 * does no harm; it needs no exactly-once care.
 */
void vu_tell_config_change(struct vu_session *s)
{
	int fd = vault_fd(s->vault, VAULT_BACKEND_REQ);
	uint8_t msg[VU_HEADER_SIZE];
	size_t len;

	if (!s->page->tell_config || s->ending || fd < 0 || !vu_any_ring_started(s))
		return;
	len = vu_backend_config_change(msg);
	if (send(fd, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN)
		return; /* its buffer is full: with the next message */
	s->page->tell_config = 0;
}
