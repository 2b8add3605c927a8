/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Two sockets, both read until empty whenever the loop says so. Only what the
 * kernel itself sent is believed: its address has port 0 (any process may send to our port, and
 * root's processes to the group). The receive buffers are made large, since a storm of thousands of
 * virtual functions is one burst; when one overflows all the same, on_overrun() says that the model
 * is stale, and messages after it are good again.
 */
#include "lib/netlink.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define UEVENT_GROUP_KERNEL 1 /* udev's repeats are in group 2 */
#define RECEIVE_BYTES       (16 << 20)
#define UEVENT_BYTES        16384 /* the kernel's are at most 2 KiB of text */
#define MESSAGES_AT_ONCE    256   /* then the loop's other work has its turn */

struct netlink_monitor {
	struct netlink_handler handler;
	const struct watch_ops *ops;
	struct nl_sock *uevents, *links;
	struct watch *uevents_watch, *links_watch;
};

/* True if there was a message, good or bad. */
static bool receive_uevent(struct netlink_monitor *m)
{
	auto_free unsigned char *data = NULL;
	char text[UEVENT_BYTES + 1]; /* libnl's own buffer has no room for the terminator */
	struct sockaddr_nl from = {0};
	struct uevent event;
	int len = nl_recv(m->uevents, &from, &data, NULL);

	if (len == -NLE_NOMEM) {
		m->handler.on_overrun(m->handler.arg);
		return true;
	}
	if (len <= 0)
		return false;
	if (from.nl_pid != 0 || len >= UEVENT_BYTES) {
		log_debug("inv", "netlink: a message of %d bytes from port %u is not the kernel's",
			len, from.nl_pid);
		return true;
	}
	memcpy(text, data, (size_t)len);
	if (uevent_parse(text, (size_t)len, &event))
		m->handler.on_uevent(m->handler.arg, &event);
	return true;
}

static void on_uevents(void *arg, unsigned int events)
{
	struct netlink_monitor *m = arg;
	unsigned int count = 0;

	(void)events;
	while (count < MESSAGES_AT_ONCE && receive_uevent(m))
		count++;
	if (count)
		m->handler.on_done(m->handler.arg);
}

static int on_link_message(struct nl_msg *msg, void *arg)
{
	struct netlink_monitor *m = arg;
	struct nlmsghdr *header = nlmsg_hdr(msg);
	struct nlattr *name;

	if (header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK)
		return NL_OK;
	name = nlmsg_find_attr(header, sizeof(struct ifinfomsg), IFLA_IFNAME);
	if (name && nla_len(name) > 0 && nla_len(name) <= IFNAMSIZ) {
		char interface[IFNAMSIZ + 1] = {0};

		nla_strlcpy(interface, name, sizeof(interface));
		m->handler.on_link(m->handler.arg, interface);
	}
	return NL_OK;
}

static void on_links(void *arg, unsigned int events)
{
	struct netlink_monitor *m = arg;
	unsigned int count = 0;
	int rc;

	(void)events;
	do {
		rc = nl_recvmsgs_default(m->links);
	} while (rc >= 0 && ++count < MESSAGES_AT_ONCE);
	if (rc == -NLE_NOMEM)
		m->handler.on_overrun(m->handler.arg);
	m->handler.on_done(m->handler.arg);
}

static int set_up(struct nl_sock *sock, int protocol, struct err *e)
{
	const int bytes = RECEIVE_BYTES;
	int rc = nl_connect(sock, protocol);

	if (rc >= 0)
		rc = nl_socket_set_nonblocking(sock);
	if (rc >= 0)
		rc = nl_socket_set_buffer_size(sock, RECEIVE_BYTES, 0);
	/* the same past the system's limit; without the privilege that is as it is */
	if (rc >= 0)
		setsockopt(
			nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	if (rc < 0)
		return err_set(
			e, ERR_FAILED, "NETLINK", "listen to the kernel: %s", nl_geterror(rc));
	return 0;
}

static int open_uevents(struct netlink_monitor *m, struct err *e)
{
	m->uevents = nl_socket_alloc();
	if (!m->uevents)
		return err_sys(e, ENOMEM, "listen to the kernel");
	nl_socket_disable_seq_check(m->uevents);
	nl_join_groups(m->uevents, UEVENT_GROUP_KERNEL);
	nl_socket_set_msg_buf_size(m->uevents, UEVENT_BYTES);
	return set_up(m->uevents, NETLINK_KOBJECT_UEVENT, e);
}

static int open_links(struct netlink_monitor *m, struct err *e)
{
	m->links = nl_socket_alloc();
	if (!m->links)
		return err_sys(e, ENOMEM, "listen to the kernel");
	nl_socket_disable_seq_check(m->links);
	nl_socket_modify_cb(m->links, NL_CB_VALID, NL_CB_CUSTOM, on_link_message, m);
	nl_join_groups(m->links, RTMGRP_LINK);
	return set_up(m->links, NETLINK_ROUTE, e);
}

static int watch_both(struct netlink_monitor *m, struct watch_loop *loop, struct err *e)
{
	m->ops = loop->ops;
	m->uevents_watch =
		m->ops->add_fd(loop, nl_socket_get_fd(m->uevents), WATCH_READ, on_uevents, m, e);
	if (!m->uevents_watch)
		return -1;
	m->links_watch =
		m->ops->add_fd(loop, nl_socket_get_fd(m->links), WATCH_READ, on_links, m, e);
	return m->links_watch ? 0 : -1;
}

struct netlink_monitor *netlink_monitor_new(
	struct watch_loop *loop, const struct netlink_handler *handler, struct err *e)
{
	struct netlink_monitor *m = calloc(1, sizeof(*m));

	if (!m) {
		err_sys(e, ENOMEM, "listen to the kernel");
		return NULL;
	}
	m->handler = *handler;
	if (open_uevents(m, e) < 0 || open_links(m, e) < 0 || watch_both(m, loop, e) < 0) {
		netlink_monitor_free(m);
		return NULL;
	}
	return m;
}

void netlink_monitor_free(struct netlink_monitor *m)
{
	if (!m)
		return;
	if (m->uevents_watch)
		m->ops->remove(m->uevents_watch);
	if (m->links_watch)
		m->ops->remove(m->links_watch);
	nl_socket_free(m->uevents);
	nl_socket_free(m->links);
	free(m);
}

/* --- virtual functions: what the kernel tells of one ------------------------------------------ */

/* One question or command, and what came of it. */
struct vf_call {
	struct nl_sock *sock;
	uint32_t index;
	struct vf_settings found;
	bool there;   /* the VF was among those that the kernel told of */
	bool is_over; /* acknowledged, */
	int sys;      /* or refused with this errno */
};

static void take_number(struct vf_settings *s, enum vf_setting key, uint32_t number)
{
	s->number[key] = number;
	s->has |= 1u << key;
}

/* A driver that does not know a switch shows it as all ones. */
static void take_switch(struct vf_settings *s, enum vf_setting key, uint32_t setting)
{
	if (setting <= 1)
		take_number(s, key, setting);
}

static void take_mac(struct vf_settings *s, const void *data)
{
	memcpy(s->mac, ((const struct ifla_vf_mac *)data)->mac, sizeof(s->mac));
	s->has |= 1u << VF_MAC;
}

static void take_vlan(struct vf_settings *s, const void *data)
{
	const struct ifla_vf_vlan *vlan = data;

	take_number(s, VF_VLAN, vlan->vlan);
	take_number(s, VF_QOS, vlan->qos);
}

static void take_rate(struct vf_settings *s, const void *data)
{
	const struct ifla_vf_rate *rate = data;

	take_number(s, VF_MIN_TX_RATE, rate->min_tx_rate);
	take_number(s, VF_MAX_TX_RATE, rate->max_tx_rate);
}

static void take_spoofchk(struct vf_settings *s, const void *data)
{
	take_switch(s, VF_SPOOFCHK, ((const struct ifla_vf_spoofchk *)data)->setting);
}

static void take_trust(struct vf_settings *s, const void *data)
{
	take_switch(s, VF_TRUST, ((const struct ifla_vf_trust *)data)->setting);
}

static const uint32_t vf_link_states[VF_STATES] = {
	[VF_STATE_AUTO] = IFLA_VF_LINK_STATE_AUTO,
	[VF_STATE_ENABLE] = IFLA_VF_LINK_STATE_ENABLE,
	[VF_STATE_DISABLE] = IFLA_VF_LINK_STATE_DISABLE,
};

static void take_state(struct vf_settings *s, const void *data)
{
	for (uint32_t i = 0; i < VF_STATES; i++)
		if (vf_link_states[i] == ((const struct ifla_vf_link_state *)data)->link_state)
			take_number(s, VF_STATE, i);
}

static const struct {
	size_t size;
	void (*take)(struct vf_settings *s, const void *data);
} vf_takers[IFLA_VF_MAX + 1] = {
	[IFLA_VF_MAC] = {sizeof(struct ifla_vf_mac), take_mac},
	[IFLA_VF_VLAN] = {sizeof(struct ifla_vf_vlan), take_vlan},
	[IFLA_VF_SPOOFCHK] = {sizeof(struct ifla_vf_spoofchk), take_spoofchk},
	[IFLA_VF_LINK_STATE] = {sizeof(struct ifla_vf_link_state), take_state},
	[IFLA_VF_RATE] = {sizeof(struct ifla_vf_rate), take_rate},
	[IFLA_VF_TRUST] = {sizeof(struct ifla_vf_trust), take_trust},
};

/* Each of these structures begins with the VF's index. */
static void take_vf(struct vf_call *call, struct nlattr *info)
{
	struct nlattr *a;
	int left;

	nla_for_each_nested(a, info, left)
	{
		int type = nla_type(a);

		if (type > IFLA_VF_MAX || !vf_takers[type].take ||
			(size_t)nla_len(a) < vf_takers[type].size ||
			*(const uint32_t *)nla_data(a) != call->index)
			continue;
		vf_takers[type].take(&call->found, nla_data(a));
		call->there = true;
	}
}

static int on_vf_answer(struct nl_msg *msg, void *arg)
{
	struct nlattr *list =
		nlmsg_find_attr(nlmsg_hdr(msg), sizeof(struct ifinfomsg), IFLA_VFINFO_LIST);
	struct nlattr *info;
	int left;

	if (!list)
		return NL_OK;
	nla_for_each_nested(info, list, left)
	{
		take_vf(arg, info);
	}
	return NL_OK;
}

/* --- virtual functions: asking and setting ---------------------------------------------------- */

static int on_vf_over(struct nl_msg *msg, void *arg)
{
	(void)msg;
	((struct vf_call *)arg)->is_over = true;
	return NL_STOP;
}

static int on_vf_refusal(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	(void)from;
	((struct vf_call *)arg)->sys = -error->error;
	return NL_STOP;
}

static int vf_call_open(struct vf_call *call, uint32_t index, struct err *e)
{
	int rc = -NLE_NOMEM;

	*call = (struct vf_call){.sock = nl_socket_alloc(), .index = index};
	if (call->sock) {
		nl_socket_enable_msg_peek(call->sock); /* hundreds of VFs are one message */
		nl_socket_modify_cb(call->sock, NL_CB_VALID, NL_CB_CUSTOM, on_vf_answer, call);
		nl_socket_modify_cb(call->sock, NL_CB_ACK, NL_CB_CUSTOM, on_vf_over, call);
		nl_socket_modify_err_cb(call->sock, NL_CB_CUSTOM, on_vf_refusal, call);
		rc = nl_connect(call->sock, NETLINK_ROUTE);
	}
	return rc < 0 ? err_set(e, ERR_FAILED, "NETLINK", "ask the kernel: %s", nl_geterror(rc))
		      : 0;
}

/* A message about `interface`; NULL with e set. */
static struct nl_msg *vf_message(const char *interface, int type, struct err *e)
{
	struct ifinfomsg link = {.ifi_index = (int)if_nametoindex(interface)};
	struct nl_msg *msg = nlmsg_alloc_simple(type, 0);

	if (!link.ifi_index)
		err_sys(e, errno, "find the interface %s", interface);
	else if (!msg || nlmsg_append(msg, &link, sizeof(link), NLMSG_ALIGNTO) < 0)
		err_sys(e, ENOMEM, "ask the kernel");
	else
		return msg;
	nlmsg_free(msg);
	return NULL;
}

/* Sends `msg`, which is consumed, and waits until it is done. */
static int vf_call_do(struct vf_call *call, struct nl_msg *msg, struct err *e)
{
	int rc = nl_send_auto(call->sock, msg);

	nlmsg_free(msg);
	while (rc >= 0 && !call->is_over && !call->sys)
		rc = nl_recvmsgs_default(call->sock);
	if (call->sys)
		return err_sys(e, call->sys, "the driver");
	return call->is_over ? 0 : err_set(e, ERR_FAILED, "NETLINK", "%s", nl_geterror(rc));
}

static int vf_ask(struct vf_call *call, const char *interface, struct err *e)
{
	struct nl_msg *msg = vf_message(interface, RTM_GETLINK, e);

	if (!msg)
		return -1;
	if (nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_VF) < 0) {
		nlmsg_free(msg);
		return err_sys(e, ENOMEM, "ask the kernel");
	}
	if (vf_call_do(call, msg, e) < 0)
		return -1;
	if (call->there)
		return 0;
	err_set(e, ERR_FAILED, "VF-UNSEEN", "%s shows no VF %u", interface, call->index);
	return err_fix(e, "its driver has no settings for VFs");
}

int netlink_get_vf(
	const char *interface, uint32_t index, struct vf_settings *settings, struct err *e)
{
	struct vf_call call;
	int rc = vf_call_open(&call, index, e);

	if (rc == 0)
		rc = vf_ask(&call, interface, e);
	*settings = call.found;
	nl_socket_free(call.sock);
	return rc < 0 ? err_wrap(e, "VF %u of %s", index, interface) : 0;
}

/* One attribute of IFLA_VF_INFO: some hold two settings. */
struct vf_order {
	int type;
	unsigned int keys; /* sent when one of them is to be set */
	size_t size;
	union {
		struct ifla_vf_mac mac;
		struct ifla_vf_vlan vlan;
		struct ifla_vf_spoofchk spoofchk;
		struct ifla_vf_trust trust;
		struct ifla_vf_rate rate;
		struct ifla_vf_link_state state;
	};
};

#define VF_ORDERS 6

/* What to send for settings `s`, all of which are known. */
static void vf_orders(uint32_t vf, const struct vf_settings *s, struct vf_order orders[VF_ORDERS])
{
	const uint32_t *n = s->number;
	const struct vf_order all[VF_ORDERS] = {
		{IFLA_VF_MAC, 1u << VF_MAC, sizeof(struct ifla_vf_mac), .mac = {.vf = vf}},
		{IFLA_VF_VLAN, 1u << VF_VLAN | 1u << VF_QOS, sizeof(struct ifla_vf_vlan),
			.vlan = {vf, n[VF_VLAN], n[VF_QOS]}},
		{IFLA_VF_SPOOFCHK, 1u << VF_SPOOFCHK, sizeof(struct ifla_vf_spoofchk),
			.spoofchk = {vf, n[VF_SPOOFCHK]}},
		{IFLA_VF_TRUST, 1u << VF_TRUST, sizeof(struct ifla_vf_trust),
			.trust = {vf, n[VF_TRUST]}},
		{IFLA_VF_RATE, 1u << VF_MIN_TX_RATE | 1u << VF_MAX_TX_RATE,
			sizeof(struct ifla_vf_rate),
			.rate = {vf, n[VF_MIN_TX_RATE], n[VF_MAX_TX_RATE]}},
		{IFLA_VF_LINK_STATE, 1u << VF_STATE, sizeof(struct ifla_vf_link_state),
			.state = {vf, vf_link_states[n[VF_STATE]]}},
	};

	memcpy(orders, all, sizeof(all));
	memcpy(orders[0].mac.mac, s->mac, sizeof(s->mac));
}

static int vf_put(struct nl_msg *msg, const struct vf_order *order)
{
	struct nlattr *list = nla_nest_start(msg, IFLA_VFINFO_LIST);
	struct nlattr *info = list ? nla_nest_start(msg, IFLA_VF_INFO) : NULL;

	if (!info || nla_put(msg, order->type, (int)order->size, &order->mac) < 0)
		return -1;
	nla_nest_end(msg, info);
	nla_nest_end(msg, list);
	return 0;
}

static int vf_send(
	struct vf_call *call, const char *interface, const struct vf_order *order, struct err *e)
{
	struct nl_msg *msg = vf_message(interface, RTM_SETLINK, e);

	if (!msg)
		return -1;
	call->is_over = false;
	if (vf_put(msg, order) == 0)
		return vf_call_do(call, msg, e);
	nlmsg_free(msg);
	return err_sys(e, ENOMEM, "ask the kernel");
}

static const char *first_name(unsigned int keys)
{
	return vf_setting_names[__builtin_ctz(keys)];
}

/* What goes together with what is set, and is not, stays as it is. */
static int vf_set(struct vf_call *call, const char *interface, const struct vf_settings *settings,
	struct err *e)
{
	struct vf_order orders[VF_ORDERS];
	struct vf_settings all;

	if (vf_ask(call, interface, e) < 0)
		return -1;
	all = call->found;
	vf_settings_merge(&all, settings);
	vf_orders(call->index, &all, orders);
	for (unsigned int i = 0; i < VF_ORDERS; i++) {
		unsigned int keys = orders[i].keys & settings->has;

		if (keys && vf_send(call, interface, &orders[i], e) < 0)
			return err_wrap(e, "set %s", first_name(keys));
	}
	return 0;
}

int netlink_set_vf(
	const char *interface, uint32_t index, const struct vf_settings *settings, struct err *e)
{
	struct vf_call call;
	int rc = vf_call_open(&call, index, e);

	if (rc == 0)
		rc = vf_set(&call, interface, settings, e);
	nl_socket_free(call.sock);
	return rc < 0 ? err_wrap(e, "VF %u of %s", index, interface) : 0;
}
