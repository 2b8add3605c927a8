/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `iovctl show host`: all that there is, in one answer, for pictures (cli/picture.h). */
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/domains.h"
#include "daemon/facts.h"
#include "lib/cleanup.h"

static void put_host(struct daemon *d, const struct host_facts *h, struct json_out *o)
{
	char name[65] = "";
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, inventory_sysroot(d->inventory), "proc/sys/kernel");
	if (sysfs_read_text(&dir, "hostname", name, sizeof(name)) < 0)
		name[0] = '\0';
	json_out_object(o, "host");
	json_out_str(o, "name", name[0] ? name : NULL);
	json_out_str(o, "kernel", h->release[0] ? h->release : NULL);
	json_out_str(o, "iommu", facts_iommu_kind(h));
	json_out_u64(o, "iommu_units", h->iommu_count);
	json_out_u64(o, "iommu_groups", h->group_count);
	json_out_end(o);
}

void do_show_host(struct request *rq, const void *args)
{
	struct daemon *d = request_daemon(rq);
	auto_free struct host_facts *h = calloc(1, sizeof(*h));
	const struct inventory_filter all = {.class = NULL};
	struct json_out *o = request_begin_reply(rq);
	struct err e = ERR_INIT;

	(void)args;
	if (!h) {
		err_set(&e, ERR_FAILED, "MEMORY", "no memory to show the host");
		request_fail(rq, &e);
		return;
	}
	facts_read_host(d->inventory, h);
	json_out_str(o, "schema", "iovd.host/1");
	put_host(d, h, o);
	inventory_put_groups(d->inventory, o, "groups");
	registry_put_list(d->registry, NULL, o, "attachments");
	vms_put(d, o, "vms");
	if (inventory_put_devices(d->inventory, &all, o, "devices", &e) < 0)
		request_fail(rq, &e);
	else
		request_send_reply(rq);
}
