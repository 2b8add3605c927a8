/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices, as clients see them. */
#include <errno.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/inventory.h"
#include "daemon/show.h"

/* --- devices ---------------------------------------------------------------------------------- */

struct list_args {
	const char *class, *vm;
	bool free;
};

static const struct json_field list_fields[] = {
	{"class", JSON_FIELD_STRING, .offset = offsetof(struct list_args, class)},
	{"vm", JSON_FIELD_STRING, .offset = offsetof(struct list_args, vm)},
	{"free", JSON_FIELD_BOOL, .offset = offsetof(struct list_args, free)},
};
const struct json_params do_list_devices_params = {
	list_fields, ARRAY_SIZE(list_fields), sizeof(struct list_args)};

void do_list_devices(struct request *rq, const void *args)
{
	const struct list_args *a = args;
	const struct inventory_filter filter = {
		.class = a->class, .vm = a->vm, .free_only = a->free};
	struct json_out *o = request_begin_reply(rq);
	struct err e = ERR_INIT;

	json_out_str(o, "schema", "iovd.devices/1");
	if (inventory_put_devices(request_daemon(rq)->inventory, &filter, o, "devices", &e) < 0)
		request_fail(rq, &e);
	else
		request_send_reply(rq);
}

int show_device(
	struct daemon *d, const char *name, struct json_out *o, const char *key, struct err *e)
{
	const struct device *device = inventory_resolve(d->inventory, name, e);

	if (!device)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	return inventory_put_device(d->inventory, device, o, key, e) < 0 ? -1 : 1;
}
