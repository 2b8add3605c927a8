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
