/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attachments and VMs, as clients see them. */
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/domains.h"
#include "daemon/registry.h"
#include "daemon/show.h"

struct list_args {
	const char *vm;
};

static const struct json_field list_fields[] = {
	{"vm", JSON_FIELD_STRING, .offset = offsetof(struct list_args, vm)},
};
const struct json_params do_list_attachments_params = {
	list_fields, ARRAY_SIZE(list_fields), sizeof(struct list_args)};

void do_list_attachments(struct request *rq, const void *args)
{
	struct json_out *o = request_begin_reply(rq);
	const struct daemon *d = request_daemon(rq);
	const char *vm = ((const struct list_args *)args)->vm;
	char known_as[REGISTRY_NAME_MAX];

	if (vm)
		vm = domains_vm(d->domains, d->registry, vm, known_as);
	json_out_str(o, "schema", "iovd.attachments/1");
	registry_put_list(d->registry, vm, o, "attachments");
	request_send_reply(rq);
}

void do_list_vms(struct request *rq, const void *args)
{
	struct json_out *o = request_begin_reply(rq);

	(void)args;
	json_out_str(o, "schema", "iovd.vms/1");
	vms_put(request_daemon(rq), o, "vms");
	request_send_reply(rq);
}

int show_attachment(
	struct daemon *d, const char *name, struct json_out *o, const char *key, struct err *e)
{
	struct attachment *a = registry_find(d->registry, name, e);

	if (!a)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	registry_look(d->registry, a);
	attachment_put_all(d->registry, a, o, key);
	return 1;
}

int show_vm(struct daemon *d, const char *name, struct json_out *o, const char *key, struct err *e)
{
	(void)e;
	return vm_put(d, name, o, key) ? 1 : 0;
}
