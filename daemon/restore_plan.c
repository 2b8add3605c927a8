/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restoring: whom and what the names mean (do_restore.c has the theory). */
#include <assert.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dispatch.h"
#include "daemon/domains.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "daemon/restore.h"
#include "daemon/restore_names.h"
#include "daemon/tap_node.h"
#include "lib/cleanup.h"

/* --- what is asked for ------------------------------------------------------------------------ */

/* A file may be anybody's, and its command would be run as root. A peer may attach what it likes. */
static int check_allowed(struct restore *x, const struct restore_args *args, struct err *e)
{
	unsigned int of_spares = 0;
	bool fence = x->kind != RESTORE_NOW;

	if (restore_read_allow(args->allow, &of_spares, &fence, e) < 0)
		return -1;
	for (uint32_t i = 0; i < x->s->attachment_count; i++) {
		const struct iostate_attachment *saved = &x->s->attachments[i];

		x->each[i].wish.spec.rescue.allow = of_spares;
		if (fence || !saved->policy.fence[0])
			continue;
		err_set(e, ERR_REFUSED, RESTORE_ALLOW_FENCE, "the state brings a command for %s",
			saved->identity.name);
		err_evidence(e, "%.300s", saved->policy.fence);
		return err_fix(e, "if that may be run here, as root: --allow " RESTORE_ALLOW_FENCE);
	}
	return 0;
}

/* Of a libvirt domain: it is one here as well, under the same UUID and with the same disk names. */
static int plan_domain(const struct restore *x, const struct restore_args *args,
	struct attachment_spec *spec, struct err *e)
{
	const char *uuid = x->s->origin.uuid;
	const char *target = json_member_str(args->targets, spec->name);

	if (x->kind == RESTORE_NOW || !uuid[0])
		return 0;
	if (!domains_are_known(x->d->domains)) {
		err_set(e, ERR_REFUSED, "LIBVIRT-DOWN",
			"%s is libvirt's, and there is none at the destination", x->vm);
		return err_fix(e, "start libvirtd there, or tell the iovd there where it is");
	}
	if (strlen(uuid) != sizeof(spec->domain) - 1 ||
		!str_copy(spec->domain, sizeof(spec->domain), uuid) ||
		(target && !str_copy(spec->target, sizeof(spec->target), target)))
		return err_set(e, ERR_USAGE, JSON_CODE_PARAM, "this is no domain");
	return 0;
}

static int plan_one(struct restore *x, uint32_t i, const struct restore_args *args, struct err *e)
{
	const struct iostate_attachment *saved = &x->s->attachments[i];
	struct restoring *one = &x->each[i];
	struct attach_wish *w = &one->wish;
	const char *name = restore_mapped_name(args->map, &saved->identity);
	const char *inode = json_member_str(args->inodes, saved->identity.name);

	if (inode && parse_u64(inode, UINT64_MAX, &one->inode) < 0)
		return err_set(e, ERR_USAGE, JSON_CODE_PARAM, "%.32s is no number", inode);

	one->all = x;
	one->is_mapped = name != saved->identity.device;
	*w = (struct attach_wish){.d = x->d, .disk_fd = -1, .done = restore_looked};
	if (incoming_set_spec(saved, &w->spec, e) < 0)
		return err_wrap(e, "%s", saved->identity.name);
	restore_map_spares(args->map, &w->spec.rescue);
	str_copy(w->spec.vm, sizeof(w->spec.vm), x->vm);
	if (plan_domain(x, args, &w->spec, e) < 0 && x->kind != RESTORE_JUDGE)
		return -1;
	problems_add(&one->problems, e->kind == ERR_NONE ? 0 : -1, e);
	return str_copy(one->name, sizeof(one->name), name)
		       ? 0
		       : err_set(e, ERR_USAGE, "NAME", "the name %.40s... is too long", name);
}

int restore_plan(struct restore *x, const struct restore_args *args, struct err *e)
{
	x->s = iostate_of_text(args->state, e);
	if (!x->s)
		return -1;
	if (!str_copy(x->vm, sizeof(x->vm), args->vm ? args->vm : x->s->origin.vm) ||
		!name_is_valid(x->vm))
		return err_set(e, ERR_USAGE, "NAME", "%.64s is no name of a VM", args->vm);
	if (!x->d->supervisor)
		return err_set(e, ERR_FAILED, "KEEPER", "iovd runs without its keeper");
	if (x->kind != RESTORE_NOW && baton_may_reserve(x->d, args->move, x->vm, e) < 0)
		return -1;
	if (x->kind != RESTORE_NOW)
		str_copy(x->move, sizeof(x->move), args->move);
	x->each = calloc(x->s->attachment_count, sizeof(*x->each));
	if (!x->each)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to restore");
	for (uint32_t i = 0; i < x->s->attachment_count; i++)
		x->each[i].wish.disk_fd = -1;
	if (restore_check_map(args->map, x->s, e) < 0)
		return -1;
	for (uint32_t i = 0; i < x->s->attachment_count; i++)
		if (plan_one(x, i, args, e) < 0)
			return -1;
	return check_allowed(x, args, e);
}

/* --- what is there ---------------------------------------------------------------------------- */

static int check_names(struct registry *r, const struct attachment_spec *spec, struct err *e)
{
	const struct attachment *other = registry_by_name(r, spec->vm, spec->name);

	if (!getpwnam(spec->owner))
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %s", spec->owner);
	if (!other)
		return 0;
	err_set(e, ERR_REFUSED, "NAME-TAKEN", "%s has a %s already", spec->vm, spec->name);
	err_evidence(e, "%s is %s", other->spec.id, other->spec.device);
	return err_fix(e, "detach it, or restore under another name with --vm");
}

static int plan_device(
	struct attach_wish *w, const char *name, enum restore_kind kind, struct err *e)
{
	const struct host_use_own own = {.moves = kind != RESTORE_NOW};
	const struct device *device = inventory_resolve(w->d->inventory, name, e);

	if (!device)
		return -1;
	if (!attach_paths[w->spec.path]->fits(device) ||
		(device->class == DEVICE_NET) != (w->spec.vf.settings.has != 0))
		return err_set(e, ERR_REFUSED, "PATH", "%s is no %s", device->id,
			w->spec.vf.settings.has ? "bridge" : "disk");
	if (!str_copy(w->spec.device, sizeof(w->spec.device), device->id))
		return err_set(e, ERR_REFUSED, "PATH", "the name of the device is too long");
	return attach_paths[w->spec.path]->choose(device, w, e) < 0
		       ? -1
		       : host_use_check_own(w->d->inventory, device, &own, e);
}

static int check_apart(const struct restore *x, uint32_t i, struct err *e)
{
	bool is_shared = tap_node_is(x->each[i].wish.spec.node);

	for (uint32_t n = 0; n < i && !x->each[i].is_lost && !is_shared; n++)
		if (!x->each[n].is_lost &&
			strcmp(x->each[n].wish.spec.device, x->each[i].wish.spec.device) == 0)
			return err_set(e, ERR_REFUSED, "DEV-TAKEN", "%s and %s would both be %s",
				x->each[n].wish.spec.name, x->each[i].wish.spec.name,
				x->each[i].wish.spec.device);
	return 0;
}

static int plan_wrapped(struct restoring *one, int rc, struct err *e)
{
	return rc < 0 ? err_wrap(e, "%s", one->wish.spec.name) : 0;
}

void restore_plan_device(struct restore *x)
{
	struct restoring *one = &x->each[x->next];
	struct attach_wish *w = &one->wish;
	struct problems *p = &one->problems;
	struct err e = ERR_INIT;
	int rc;

	assert(w->d);
	rc = check_names(x->d->registry, &w->spec, &e);
	problems_add(p, plan_wrapped(one, rc, &e), &e);
	rc = plan_device(w, one->name, x->kind, &e);
	one->is_lost = problems_add(p, plan_wrapped(one, rc, &e), &e);
	rc = check_apart(x, x->next, &e);
	problems_add(p, plan_wrapped(one, rc, &e), &e);
}
