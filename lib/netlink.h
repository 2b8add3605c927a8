/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The home of libnl. What the kernel tells of changes to devices, as callbacks from the loop:
 * hot-plug messages (NETLINK_KOBJECT_UEVENT), and changes of an interface's links (rtnetlink:
 * joining a bridge makes no uevent). And the settings of virtual functions. Of this network
 * namespace, whose /sys should be the one read.
 */
#pragma once

#include "lib/uevent.h"
#include "lib/vf_settings.h"
#include "lib/watch.h"

struct netlink_monitor;

struct netlink_handler {
	void (*on_uevent)(void *arg, const struct uevent *event);
	/* The relations or the state of an interface changed. */
	void (*on_link)(void *arg, const char *interface);
	/* Messages were lost: everything may have changed. */
	void (*on_overrun)(void *arg);
	/* After any of these, when there is nothing more to read for now. */
	void (*on_done)(void *arg);
	void *arg;
};

/* Messages come from now on. NULL with e set. */
struct netlink_monitor *netlink_monitor_new(
	struct watch_loop *loop, const struct netlink_handler *handler, struct err *e);
void netlink_monitor_free(struct netlink_monitor *m);

/* --- virtual functions: for hands, as the kernel's answer waits for the driver ---------------- */

/*
 * What the VF with this index of `interface`, the PF's, is set to / is to be set to, in the order of
 * the keys: when one fails, those before it are set. 0 or -1.
 */
int netlink_get_vf(
	const char *interface, uint32_t index, struct vf_settings *settings, struct err *e);
int netlink_set_vf(
	const char *interface, uint32_t index, const struct vf_settings *settings, struct err *e);
