/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices and IOMMU groups, as clients see them. */
#include <errno.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/inventory.h"
#include "daemon/show.h"
#include "lib/iommu/group.h"

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

/* --- groups ----------------------------------------------------------------------------------- */

static void put_regions(struct json_out *o, const struct iommu_group *group)
{
	json_out_array(o, "reserved_regions");
	for (size_t i = 0; i < group->region_count; i++) {
		json_out_object(o, NULL);
		json_out_hex(o, "start", group->regions[i].start);
		json_out_hex(o, "end", group->regions[i].end);
		json_out_str(o, "type", group->regions[i].type);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_blockers(struct json_out *o, const struct iommu_group *group)
{
	json_out_array(o, "blockers");
	for (size_t i = 0; i < group->member_count; i++) {
		if (!group->members[i].blocks)
			continue;
		json_out_object(o, NULL);
		json_out_str(o, "device", group->members[i].id);
		json_out_str(o, "driver", group->members[i].driver);
		json_out_end(o);
	}
	json_out_end(o);
}

static void put_group(struct json_out *o, const char *key, const struct iommu_group *group)
{
	json_out_object(o, key);
	json_out_u64(o, "id", group->id);
	json_out_str(o, "type", group->type[0] ? group->type : NULL);
	json_out_array(o, "devices");
	for (size_t i = 0; i < group->member_count; i++)
		json_out_str(o, NULL, group->members[i].id);
	json_out_end(o);
	json_out_bool(o, "viable", iommu_group_is_viable(group));
	put_blockers(o, group);
	json_out_str(o, "iommu", group->iommu[0] ? group->iommu : NULL);
	put_regions(o, group);
	json_out_end(o);
}

/* 1, 0 if there is no such group, or -1. */
static int read_and_put_group(
	struct daemon *d, const char *id, struct json_out *o, const char *key, struct err *e)
{
	struct iommu_group group;

	if (iommu_group_read(inventory_sysroot(d->inventory), id, &group, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	put_group(o, key, &group);
	iommu_group_release(&group);
	return 1;
}

void do_list_groups(struct request *rq, const void *args)
{
	struct daemon *d = request_daemon(rq);
	struct json_out *o = request_begin_reply(rq);
	auto_names struct name_list ids = {0};
	struct err e = ERR_INIT;
	int rc = iommu_group_list(inventory_sysroot(d->inventory), &ids);

	(void)args;
	if (rc < 0 && rc != -ENOENT) { /* a host without an IOMMU has no groups */
		err_sys(&e, -rc, "list the IOMMU groups");
		request_fail(rq, &e);
		return;
	}
	json_out_str(o, "schema", "iovd.groups/1");
	json_out_array(o, "groups");
	for (size_t i = 0; i < ids.count; i++) {
		if (read_and_put_group(d, ids.names[i], o, NULL, &e) < 0) {
			request_fail(rq, &e);
			return;
		}
	}
	json_out_end(o);
	request_send_reply(rq);
}

int show_group(
	struct daemon *d, const char *name, struct json_out *o, const char *key, struct err *e)
{
	if (name[strspn(name, "0123456789")]) /* groups have numbers */
		return 0;
	return read_and_put_group(d, name, o, key, e);
}
