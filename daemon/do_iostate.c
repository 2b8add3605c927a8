/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restore, as clients ask for it, and what a peer asks for before a move: to reserve the same, and to
 * say whether it could. The file is the client's: it travels as bytes, so that the daemon opens no
 * path for anybody.
 *
 * Theory of operation: restoring. The bytes are hostile until decoded. Then, for all attachments of
 * the VM before anything is changed:
 *
 *	plan	names mapped
 *	find	device found and free, no name taken
 *	look	each disk is opened by a hand, and is as it was (size, blocks)
 *
 * and then for each in turn, as an attach of its own with its own journal:
 *
 *	attach	the worker is born with the state, and holds itself against it
 *
 * When one of these fails, those before it are detached again, last first, and the answer is why.
 * Reserved, they wait for the baton (daemon/baton.c), which is in the store with the last of them. A
 * verdict ends after look(), and has all that is in the way of each disk.
 *
 * All of them are marked in the store until the last one is there, and one statement takes the marks
 * away: after a crash before it, reconcile detaches what is marked.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/domains.h"
#include "daemon/file_look.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "daemon/iostate.h"
#include "daemon/jobs.h"
#include "daemon/restore_names.h"
#include "daemon/tap_node.h"
#include "daemon/verdict.h"
#include "lib/cleanup.h"
#include "lib/fault.h"
#include "lib/nbd_uri.h"

/* --- restore: what is asked for --------------------------------------------------------------- */

struct restore_args {
	const char *allow; /* of restore alone */
	const char *state, *vm;
	const struct json *map;
	const char *move;           /* of reserve and check */
	const struct json *inodes;  /* of the same: numbers of image files, by name */
	const struct json *targets; /* of the same: what a domain calls its disks */
};

static const struct json_field restore_fields[] = {
	{"allow", JSON_FIELD_STRING, .offset = offsetof(struct restore_args, allow)},
	{"state", JSON_FIELD_STRING, .required = true, .max = VARLINK_MAX_MESSAGE,
		.offset = offsetof(struct restore_args, state)},
	{"vm", JSON_FIELD_STRING, .offset = offsetof(struct restore_args, vm)},
	{"map", JSON_FIELD_OBJECT, .offset = offsetof(struct restore_args, map)},
	{"inodes", JSON_FIELD_OBJECT, .offset = offsetof(struct restore_args, inodes)},
	{"targets", JSON_FIELD_OBJECT, .offset = offsetof(struct restore_args, targets)},
	{"move", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct restore_args, move)},
};
const struct json_params do_restore_params = {restore_fields, 4, sizeof(struct restore_args)};
const struct json_params do_reserve_params = {
	restore_fields + 1, ARRAY_SIZE(restore_fields) - 1, sizeof(struct restore_args)};
const struct json_params do_check_move_params = {
	restore_fields + 1, ARRAY_SIZE(restore_fields) - 1, sizeof(struct restore_args)};

enum restore_kind { RESTORE_NOW, RESTORE_RESERVE, RESTORE_JUDGE };
static const char *const restore_verbs[] = {"restore", "reserve", "check"};

/* One attachment to be, and to have been. */
struct restoring {
	struct attach_wish wish;
	struct restore *all;
	char name[PATH_MAX];     /* of the device, as it is called here */
	char id[KEEPER_ID_SIZE]; /* when it is there; else "" */
	uint64_t inode;          /* that its file has at the source; 0: not known */
	bool is_mapped;          /* somebody has said what it is called here */
	bool is_lost;            /* there is nothing to look at */
	struct problems problems;
};

struct restore {
	struct daemon *d;
	struct job *job;
	struct iostate *s;
	enum restore_kind kind;
	char move[BATON_MOVE_SIZE];
	char vm[REGISTRY_NAME_MAX];
	struct restoring *each;
	uint32_t next;  /* the one that is looked at, attached, or detached again */
	struct err why; /* of an undo */
};

static void restore_free(struct restore *x)
{
	for (uint32_t i = 0; x->each && i < x->s->attachment_count; i++)
		attach_wish_release(&x->each[i].wish);
	free(x->each);
	iostate_free(x->s);
	free(x);
}

/* --- restore: the plan ------------------------------------------------------------------------ */

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

static void restore_looked(struct attach_wish *w, const struct err *e);

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

static int restore_plan(struct restore *x, const struct restore_args *args, struct err *e)
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

/* --- restore: the end ------------------------------------------------------------------------- */

static void restore_fail(struct restore *x, const struct err *e)
{
	struct err words = *e;

	err_wrap(&words, "%s %s", restore_verbs[x->kind], x->vm);
	job_fail(x->job, &words);
	restore_free(x);
}

static void restore_done(struct restore *x)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.attachments/1");
	json_out_array(&o, "attachments");
	for (uint32_t i = 0; i < x->s->attachment_count; i++) {
		struct attachment *a = registry_by_id(x->d->registry, x->each[i].id);

		if (a)
			registry_look(x->d->registry, a);
		if (a)
			attachment_put(x->d->registry, a, &o, NULL);
	}
	json_out_end(&o);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!text) {
		err_set(&e, ERR_FAILED, "MEMORY", "it is done, but there is no memory to say so");
		restore_fail(x, &e);
		return;
	}
	job_done(x->job, text, len);
	restore_free(x);
}

/* --- restore: back ---------------------------------------------------------------------------- */

static void undo_step(struct restore *x);

static void undo_detached(void *arg, struct attachment *a, const struct err *e)
{
	struct restore *x = arg;

	if (e) { /* tried again later by itself; but it is not as it was */
		x->why.kind = ERR_PARTLY_DONE;
		err_evidence(&x->why, "%s cannot be detached again: %.200s", a->spec.id, e->msg);
	}
	undo_step(x);
}

/* Takes away the last one that is there. */
static void undo_step(struct restore *x)
{
	const struct attach_caller caller = {.done = undo_detached, .arg = x};

	while (x->next > 0) {
		struct restoring *one = &x->each[--x->next];
		struct attachment *a = registry_by_id(x->d->registry, one->id);
		struct err e = ERR_INIT;

		if (!a)
			continue;
		if (detach_start(x->d, a, &caller, &e) == 0)
			return;
		x->why.kind = ERR_PARTLY_DONE;
		err_evidence(&x->why, "%s cannot be detached again: %.200s", a->spec.id, e.msg);
	}
	restore_fail(x, &x->why);
}

static void restore_undo(struct restore *x, const struct err *why)
{
	x->why = *why;
	if (x->next > 0 && x->why.kind != ERR_PARTLY_DONE)
		x->why.kind = ERR_ROLLED_BACK;
	undo_step(x);
}

/* --- restore: there --------------------------------------------------------------------------- */

static void attach_next(struct restore *x);

static void one_attached(void *arg, struct attachment *a, const struct err *e)
{
	struct restore *x = arg;

	(void)a;
	if (e) {
		restore_undo(x, e);
		return;
	}
	x->next++;
	attach_next(x);
}

static int attach_one(struct restore *x, struct restoring *one, struct err *e)
{
	const struct attach_caller caller = {.done = one_attached, .arg = x};
	struct registry *r = x->d->registry;
	struct attach_wish *w = &one->wish;
	struct attachment *a;

	registry_next_id(r, w->spec.id);
	a = registry_add(r, &w->spec, e);
	if (!a)
		return -1;
	str_copy(one->id, sizeof(one->id), w->spec.id);
	attach_paths[w->spec.path]->take(a, w);
	a->restoring = true;
	if (x->kind == RESTORE_RESERVE) {
		a->baton = BATON_COMING;
		a->gate = SESSION_GATE_SHUT | SESSION_GATE_IDLE;
	}
	a->incoming = incoming_new(x->s, (uint32_t)(one - x->each), e);
	if (a->incoming && attach_start(x->d, a, &caller, e) == 0)
		return 0;
	registry_remove(r, a);
	return -1;
}

static int keep_all(struct restore *x, struct err *e)
{
	struct store *store = x->d->store;

	if (store_begin(store, e) < 0)
		return -1;
	if (registry_keep_restored(x->d->registry, x->vm, e) == 0 &&
		(x->kind != RESTORE_RESERVE || baton_keep_reserved(x->d, x->move, x->vm, e) == 0) &&
		store_commit(store, e) == 0)
		return 0;
	store_rollback(store);
	return -1;
}

/* The point of no return. */
static void restore_commit(struct restore *x)
{
	struct err e = ERR_INIT;

	fault_point("restore.all");
	if (keep_all(x, &e) < 0) {
		restore_undo(x, &e);
		return;
	}
	fault_point("restore.kept");
	for (uint32_t i = 0; i < x->s->attachment_count; i++) {
		struct attachment *a = registry_by_id(x->d->registry, x->each[i].id);

		if (a)
			a->restoring = false;
	}
	if (x->kind == RESTORE_RESERVE)
		baton_reserved(x->d, x->move, x->vm);
	restore_done(x);
}

static void attach_next(struct restore *x)
{
	struct err e = ERR_INIT;

	if (x->next == x->s->attachment_count) {
		restore_commit(x);
		return;
	}
	job_progress(x->job, 50 + 50 * x->next / x->s->attachment_count, "attaching %s",
		x->each[x->next].wish.spec.name);
	if (attach_one(x, &x->each[x->next], &e) < 0)
		restore_undo(x, &e);
}

/* --- the verdict ------------------------------------------------------------------------------ */

static bool put_devices(const struct restore *x, struct json_out *o)
{
	bool ok = true;

	json_out_array(o, "devices");
	for (uint32_t i = 0; i < x->s->attachment_count; i++) {
		const struct restoring *one = &x->each[i];

		ok = ok && !one->problems.count;
		verdict_put_device(o, one->wish.spec.name, one->name, &one->problems);
	}
	json_out_end(o);
	return ok;
}

static void judge(struct restore *x)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;
	bool ok;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.verdict/1");
	json_out_str(&o, "vm", x->vm);
	ok = put_devices(x, &o);
	json_out_bool(&o, "ok", ok);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	if (!text) {
		err_set(&e, ERR_FAILED, "MEMORY", "no memory for the verdict");
		restore_fail(x, &e);
		return;
	}
	job_done(x->job, text, len);
	restore_free(x);
}

/* All that was to be found of this one is: a verdict goes on with the next one, everything else ends with
 * the first thing that is in the way. */
static void restore_next(struct restore *x, void (*next)(struct restore *x))
{
	struct problems *p = &x->each[x->next].problems;

	if (p->count && x->kind != RESTORE_JUDGE) {
		restore_fail(x, &p->each[0]);
		return;
	}
	x->next++;
	next(x);
}

static void look_next(struct restore *x)
{
	struct attach_wish *w;
	struct err e = ERR_INIT;

	while (x->next < x->s->attachment_count && x->each[x->next].is_lost)
		x->next++;
	if (x->next == x->s->attachment_count) {
		x->next = 0;
		if (x->kind == RESTORE_JUDGE)
			judge(x);
		else
			attach_next(x);
		return;
	}
	w = &x->each[x->next].wish;
	job_progress(
		x->job, 50 * x->next / x->s->attachment_count, "looking at %s", w->spec.device);
	if (problems_add(&x->each[x->next].problems, attach_paths[w->spec.path]->look(w, &e), &e))
		restore_next(x, look_next);
}

/*
 * An export has no identity but its name, and that means another server on each host where it is one of
 * the host's own: then somebody has to say that it is the same.
 */
static int check_export(const struct restore *x, const struct restoring *one, struct err *e)
{
	const struct iostate_identity *there = &x->s->attachments[x->next].identity;
	const char *here = one->wish.spec.device;
	struct nbd_uri uri;

	if (nbd_uri_parse(here, &uri, e) < 0)
		return -1;
	if (one->is_mapped || (strcmp(here, there->device) == 0 && !nbd_uri_is_local(&uri)))
		return 0;
	err_set(e, ERR_REFUSED, "MIG-OTHER-VOLUME",
		"%s is not shown to be the volume that the source has", one->wish.spec.name);
	err_evidence(e, "%.300s is a server of each host's own", there->device);
	return err_fix(e, "name it by a host that both reach; or say with --map what it is there");
}

/*
 * Is it the volume that the source has, and will it read what was written there? A file that is
 * shared has one number everywhere, and shows the lock of the source's worker.
 */
static int check_same(const struct restore *x, const struct restoring *one, struct err *e)
{
	const struct attach_wish *w = &one->wish;
	const char *there = x->s->attachments[x->next].identity.fingerprint;

	if (nbd_uri_is(w->spec.node))
		return check_export(x, one, e);
	if (w->disk.is_block && strcmp(there, w->spec.fingerprint) == 0)
		return 0;
	if (!w->disk.is_block && w->disk.is_locked && w->disk.inode == one->inode)
		return 0;
	err_set(e, ERR_REFUSED, "MIG-OTHER-VOLUME",
		"%s is not shown to be the volume that the source has", w->spec.name);
	if (w->disk.is_block)
		err_evidence(e, "%s: fingerprint %s; at the source %s", one->name,
			w->spec.fingerprint, there);
	else
		err_evidence(e, "%s: inode %llu, %s; at the source %llu", one->name,
			(unsigned long long)w->disk.inode,
			w->disk.is_locked ? "in use by a worker" : "in use by no worker",
			(unsigned long long)one->inode);
	return err_fix(e, "say with --map what it is called there");
}

static int check_cache(const struct attach_wish *w, struct err *e)
{
	if (w->spec.cache == ATTACHMENT_CACHE_NONE && w->disk.is_direct)
		return 0;
	err_set(e, ERR_REFUSED, "MIG-CACHE", "%s goes through the host's page cache", w->spec.name);
	err_evidence(e, "cache %s, direct I/O is %s", attachment_cache_names[w->spec.cache],
		w->disk.is_direct ? "possible" : "not possible");
	return err_fix(e, "attach it with --cache none, on storage that can do direct I/O");
}

static void restore_looked(struct attach_wish *w, const struct err *e)
{
	struct restoring *one = container_of(w, struct restoring, wish);
	struct restore *x = one->all;
	const struct iostate_attachment *saved = &x->s->attachments[x->next];
	struct problems *p = &one->problems;
	struct err own = ERR_INIT;

	if (e) {
		own = *e;
		problems_add(p, -1, &own);
		restore_next(x, look_next);
		return;
	}
	for (size_t i = 0; i < INCOMING_CHECKS; i++)
		problems_add(p, incoming_checks[i](saved, &w->disk, &own), &own);
	/* Whether a network is the same only its name says. */
	if (x->kind != RESTORE_NOW && !tap_node_is(w->spec.node)) {
		problems_add(p, check_cache(w, &own), &own);
		problems_add(p, check_same(x, one, &own), &own);
	}
	restore_next(x, look_next);
}

/* --- restore: whom the names mean -------------------------------------------------------------- */

static void find_next(struct restore *x);

static int plan_wrapped(struct restoring *one, int rc, struct err *e)
{
	return rc < 0 ? err_wrap(e, "%s", one->wish.spec.name) : 0;
}

static void restore_find(struct restore *x)
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
	restore_next(x, find_next);
}

/* A hand has looked where a path leads. */
static void restore_led(void *arg, const struct inventory_look *look, const struct err *e)
{
	struct restoring *one = arg;
	struct restore *x = one->all;
	struct inventory *inv = x->d->inventory; /* which outlives the restore */
	struct err own = ERR_INIT;

	if (e) {
		own = *e;
		one->is_lost = problems_add(&one->problems, -1, &own);
		restore_next(x, find_next);
		return;
	}
	inventory_set_look(inv, one->name, look);
	restore_find(x);
	inventory_set_look(inv, NULL, NULL);
}

static void find_next(struct restore *x)
{
	struct restoring *one = &x->each[x->next];
	struct err e = ERR_INIT;

	if (x->next == x->s->attachment_count) {
		x->next = 0;
		look_next(x);
	} else if (!inventory_wants_look(one->name)) {
		restore_find(x);
	} else if (file_look_begin(x->d->hands, one->name, restore_led, one, &e) < 0) {
		one->is_lost = problems_add(&one->problems, -1, &e);
		restore_next(x, find_next);
	}
}

/* What is locked is the VM; two who want one disk are told apart by the disk's own locks. */
static struct job *restore_job(struct request *rq, struct restore *x, struct err *e)
{
	char vm[REGISTRY_NAME_MAX + 8];
	const struct job_spec job = {.verb = restore_verbs[x->kind], .objects = {vm}};

	snprintf(vm, sizeof(vm), "vm:%s", x->vm);
	return job_start(x->d->jobs, rq, &job, e);
}

static int restore_ask(
	struct request *rq, const struct restore_args *args, enum restore_kind kind, struct err *e)
{
	struct restore *x = calloc(1, sizeof(*x));

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to restore");
	x->d = request_daemon(rq);
	x->kind = kind;
	if (restore_plan(x, args, e) == 0)
		x->job = restore_job(rq, x, e);
	if (!x->job) {
		restore_free(x);
		return -1;
	}
	find_next(x);
	return 0;
}

static void restore_begin(struct request *rq, const void *args, enum restore_kind kind)
{
	struct err e = ERR_INIT;

	if (restore_ask(rq, args, kind, &e) == 0)
		return;
	err_wrap(&e, "%s", restore_verbs[kind]);
	request_fail(rq, &e);
}

void do_restore(struct request *rq, const void *args)
{
	restore_begin(rq, args, RESTORE_NOW);
}

void do_reserve(struct request *rq, const void *args)
{
	restore_begin(rq, args, RESTORE_RESERVE);
}

void do_check_move(struct request *rq, const void *args)
{
	restore_begin(rq, args, RESTORE_JUDGE);
}
