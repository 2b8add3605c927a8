/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/device_read.h"

#define NET_ADDR_PERMANENT 0 /* addr_assign_type: the hardware's own */

/* "bridge", "bond", "vlan", "wlan", ...: the DEVTYPE line of the interface's uevent. */
static void read_kind(struct device_net *net, const struct sysfs_dir *dir)
{
	static const char key[] = "DEVTYPE=";
	char text[SYSFS_TEXT_MAX];
	ssize_t len = sysfs_read_raw(dir, "uevent", text, sizeof(text) - 1);
	char *rest, *line;

	if (len < 0)
		return;
	text[len] = '\0';
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (strncmp(line, key, sizeof(key) - 1) == 0)
			str_copy(net->kind, sizeof(net->kind), line + sizeof(key) - 1);
	text_clean(net->kind);
}

/* A port of a bridge, a leg of a bond, what a VLAN or macvlan is on: all are "lower_NAME" here. */
static int read_lower(struct device *d, const struct sysfs_dir *dir)
{
	auto_names struct name_list names = {0};
	int rc = sysfs_list(dir, &names);

	for (size_t i = 0; rc == 0 && i < names.count; i++)
		if (strncmp(names.names[i], "lower_", 6) == 0 &&
			!device_add_lower(d, DEVICE_NET, names.names[i] + 6))
			rc = -ENOMEM;
	return rc;
}

static void net_fingerprint(struct device *d, const struct sysfs_dir *dir)
{
	uint64_t assigned = UINT64_MAX;
	struct fingerprint f;
	char port[32] = "";

	sysfs_read_u64(dir, "addr_assign_type", &assigned);
	sysfs_read_text(dir, "dev_port", port, sizeof(port));
	fingerprint_init(&f, "net");
	fingerprint_add(&f, d->net.kind);
	fingerprint_add(&f, d->parent);
	fingerprint_add(&f, port);
	/* Without hardware behind it, the name is all that an interface is. */
	if (assigned == NET_ADDR_PERMANENT && d->parent[0])
		fingerprint_add(&f, d->net.mac);
	else
		fingerprint_add(&f, d->id);
	fingerprint_text(&f, d->fingerprint);
}

int device_read_net(struct device *d, const struct sysfs_dir *dir, struct err *e)
{
	struct device_net *net = &d->net;
	int rc;

	if (strcmp(d->id, "lo") == 0)
		return err_set(
			e, ERR_NOT_FOUND, "DEV-HIDDEN", "the loopback interface is no device");
	/*
	 * Every interface has one; while it is being taken away, the kernel says EINVAL. (And
	 * bonding_masters, which lies among the interfaces, is a file.)
	 */
	if (sysfs_read_u64(dir, "ifindex", &net->ifindex) < 0)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "it is going away");
	rc = read_lower(d, dir);
	if (rc < 0)
		return err_sys(e, -rc, "list /%s", dir->path);
	sysfs_read_text(dir, "address", net->mac, sizeof(net->mac));
	sysfs_read_text(dir, "operstate", net->operstate, sizeof(net->operstate));
	sysfs_read_link_name(dir, "master", net->master, sizeof(net->master));
	sysfs_read_link_name(dir, "device/driver", d->driver, sizeof(d->driver));
	read_kind(net, dir);
	if (!device_take_pci_parent(d, dir->root))
		return err_sys(e, ENOMEM, "keep its relations");
	if (net->kind[0] && !device_set_name(d, "%s", net->kind))
		return err_sys(e, ENOMEM, "keep its name");
	net_fingerprint(d, dir);
	return 0;
}
