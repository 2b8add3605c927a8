/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults, as clients see them. */
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/domains.h"
#include "daemon/faults.h"
#include "daemon/inventory.h"
#include "daemon/registry.h"

struct list_args {
	const char *vm, *device;
	uint64_t since;
};

static const struct json_field list_fields[] = {
	{"vm", JSON_FIELD_STRING, .offset = offsetof(struct list_args, vm)},
	{"device", JSON_FIELD_STRING, .offset = offsetof(struct list_args, device)},
	{"since", JSON_FIELD_U64, .offset = offsetof(struct list_args, since)},
};
const struct json_params do_list_faults_params = {
	list_fields, ARRAY_SIZE(list_fields), sizeof(struct list_args)};

void do_list_faults(struct request *rq, const void *args)
{
	const struct list_args *a = args;
	const struct daemon *d = request_daemon(rq);
	struct faults_filter filter = {.vm = a->vm, .device = a->device, .since = a->since};
	struct json_out *o = request_begin_reply(rq);
	char known_as[REGISTRY_NAME_MAX];

	if (a->vm)
		filter.vm = domains_vm(d->domains, d->registry, a->vm, known_as);
	/* One that is gone has its faults under the name that it had. */
	if (a->device) {
		const struct device *device = inventory_resolve(d->inventory, a->device, NULL);

		filter.device = device ? device->id : a->device;
	}
	json_out_str(o, "schema", "iovd.faults/1");
	faults_put_list(d->faults, &filter, o);
	request_send_reply(rq);
}
