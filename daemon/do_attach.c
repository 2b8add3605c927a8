/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attach and detach, as clients ask for them: what is wished, and the job that does it. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attach_options.h"
#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/domain_xml.h"
#include "daemon/domains.h"
#include "daemon/explain.h"
#include "daemon/file_look.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/registry.h"
#include "daemon/vf_pool.h"
#include "lib/cleanup.h"

#define NAMES_MAX 1000 /* disk0, disk1, ... that are tried */

/* The answer to both: the attachment, and for attach whether it was there. */
static char *result_text(
	struct daemon *d, const struct attachment *a, const bool *already, size_t *len)
{
	auto_json_out struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.attachment/1");
	attachment_put(d->registry, a, &o, "attachment");
	if (already)
		json_out_bool(&o, "already", *already);
	json_out_end(&o);
	return json_out_finish(&o, len);
}

/* An attach or detach that is under way: as long as its job. */
struct change {
	struct attach_wish wish; /* of an attach; of a detach only its daemon */
	struct job *job;
	char what[192];                               /* "attach /srv/a.img to web1" */
	void (*told)(void *arg, const struct err *e); /* hears the end; NULL: only the job does */
	void *told_arg;
};

static void change_free(struct change *x)
{
	attach_wish_release(&x->wish);
	free(x);
}

static void change_tell(struct change *x, const struct err *e)
{
	if (x->told)
		x->told(x->told_arg, e);
}

static void change_fail(struct change *x, const struct err *e)
{
	struct err words = *e;

	err_wrap(&words, "%s", x->what);
	job_fail(x->job, &words);
	change_tell(x, &words);
	change_free(x);
}

/* `text`: the answer; NULL: there was no memory for it. */
static void change_end(struct change *x, const char *text, size_t len)
{
	struct err e = ERR_INIT;

	if (!text) {
		err_set(&e, ERR_FAILED, "MEMORY", "it is done, but there is no memory to say so");
		change_fail(x, &e);
		return;
	}
	job_done(x->job, text, len);
	change_tell(x, NULL);
	change_free(x);
}

static void change_step(void *arg, const char *stage, unsigned int percent)
{
	struct change *x = arg;

	job_progress(x->job, percent, "%s", stage);
}

/* --- attach: what is asked for ---------------------------------------------------------------- */

static const char *const stems[DEVICE_CLASS_COUNT] = {
	[DEVICE_PCI] = "pci",
	[DEVICE_NET] = "net",
	[DEVICE_BLOCK] = "disk",
	[DEVICE_FILE] = "disk",
	[DEVICE_NBD] = "disk",
};

/* The first of disk0, disk1, ... (pci0, ...) that the VM does not have. */
static int choose_name(struct registry *r, const char *wanted, enum device_class class,
	struct attachment_spec *spec, struct err *e)
{
	const struct attachment *other;

	if (wanted) {
		if (attach_check_name("an attachment", wanted, e) < 0)
			return -1;
		str_copy(spec->name, sizeof(spec->name), wanted);
		other = registry_by_name(r, spec->vm, wanted);
		if (!other)
			return 0;
		err_set(e, ERR_REFUSED, "NAME-TAKEN", "%s has a %s already", spec->vm, wanted);
		err_evidence(e, "%s is %s", other->spec.id, other->spec.device);
		return err_fix(e, "give it another name with --as");
	}
	for (unsigned int n = 0; n < NAMES_MAX; n++) {
		snprintf(spec->name, sizeof(spec->name), "%s%u", stems[class], n);
		if (!registry_by_name(r, spec->vm, spec->name))
			return 0;
	}
	return err_set(e, ERR_REFUSED, "NAME-TAKEN", "%s has %d of them", spec->vm, NAMES_MAX);
}

static int check_keeper(const struct daemon *d, struct err *e)
{
	return d->supervisor ? 0 : err_set(e, ERR_FAILED, "KEEPER", "iovd runs without its keeper");
}

static int check_stays(struct daemon *d, const char *vm, struct err *e)
{
	if (!baton_is_under_way(d, vm))
		return 0;
	err_set(e, ERR_BUSY, "MIG-UNDER-WAY", "%s is about to move, or has moved", vm);
	return err_fix(e, "end that: iovctl migrate %s URI --end, or --abort", vm);
}

/* --- attach: already so ----------------------------------------------------------------------- */

static bool has_device(const struct attachment_spec *spec, const char *device)
{
	if (strcmp(spec->device, device) == 0)
		return true;
	for (unsigned int i = 0; i < spec->passthrough.companion_count; i++)
		if (strcmp(spec->passthrough.companions[i], device) == 0)
			return true;
	return false;
}

static struct attachment *find_same(
	struct registry *r, const struct attachment_spec *spec, const char *as)
{
	list_for_each (node, registry_list(r)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (has_device(&a->spec, spec->device) && strcmp(a->spec.vm, spec->vm) == 0 &&
			(!as || strcmp(a->spec.name, as) == 0))
			return a;
	}
	return NULL;
}

/* 1: it was there, and is answered; 0: it is new; -1. */
static int attach_if_there(struct request *rq, const struct attach_args *args,
	const struct attachment_spec *spec, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	struct attachment *a = find_same(d->registry, spec, args->as);
	auto_free char *text = NULL;
	bool already = true;
	size_t len = 0;

	if (!a || a->kept != KEPT_ATTACHED)
		return 0;
	if (attach_options_check_same(a, spec, args, e) < 0)
		return -1;
	registry_look(d->registry, a);
	text = result_text(d, a, &already, &len);
	if (!text)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for the answer");
	request_send_document(rq, text, len);
	return 1;
}

/* --- attach: doing it ------------------------------------------------------------------------- */

static void attach_ended(void *arg, struct attachment *a, const struct err *e)
{
	struct change *x = arg;
	auto_free char *text = NULL;
	bool already = false;
	size_t len = 0;

	if (e) {
		change_fail(x, e);
		return;
	}
	text = result_text(x->wish.d, a, &already, &len);
	change_end(x, text, len);
}

/* Whether a libvirt domain's definitions are to get it. */
static bool goes_into_domain(const struct attach_wish *w)
{
	return w->spec.domain[0] && !w->is_defined;
}

static void put_plan(const struct change *x, struct json_out *o)
{
	const struct attach_path *path = attach_paths[x->wish.spec.path];
	const struct stages_table *table =
		goes_into_domain(&x->wish) ? path->attach_domain : path->attach;

	json_out_array(o, "plan");
	json_out_fmt(o, NULL, "path: %s, the one for %s", attachment_path_names[x->wish.spec.path],
		path->fits_what);
	path->put_plan(&x->wish, o);
	for (unsigned int i = 0; i < table->count; i++)
		json_out_fmt(o, NULL, "stage %u: %s", i + 1, table->stages[i].name);
	json_out_end(o);
}

static void attach_tell_plan(struct change *x)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	size_t len = 0;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.plan/1");
	put_plan(x, &o);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	change_end(x, text, len);
}

/* It waits for its baton; the volume that is claimed is the one that was opened. */
static int take_coming(struct attachment *a, struct attach_wish *w, struct err *e)
{
	int fd = steal_fd(&w->coming.lease_fd);

	a->restoring = true;
	a->lease.fd = fd;
	if (fd >= 0 && !backing_is(fd, a->disk.fs, a->disk.inode, a->disk.number))
		return err_set(e, ERR_REFUSED, "MIG-NO-BATON", "%s is another file meanwhile",
			w->spec.node);
	a->baton = BATON_COMING;
	a->gate = SESSION_GATE_SHUT | SESSION_GATE_IDLE;
	return 0;
}

/* The device is fit: into the registry, and through the stages. */
static void attach_looked(struct attach_wish *w, const struct err *e)
{
	struct change *x = container_of(w, struct change, wish);
	const struct attach_caller caller = {
		.done = attach_ended, .progress = change_step, .arg = x};
	struct registry *r = w->d->registry;
	struct attachment *a;
	struct err own = ERR_INIT;

	if (e) {
		change_fail(x, e);
		return;
	}
	if (w->dry_run) {
		attach_tell_plan(x);
		return;
	}
	registry_next_id(r, w->spec.id);
	a = registry_add(r, &w->spec, &own);
	if (a) {
		if (attach_paths[w->spec.path]->take)
			attach_paths[w->spec.path]->take(a, w);
		if ((!w->is_coming || take_coming(a, w, &own) == 0) &&
			(goes_into_domain(w) ? attach_start_domain : attach_start)(
				w->d, a, &caller, &own) == 0)
			return;
		registry_remove(r, a);
	}
	change_fail(x, &own);
}

/* What there is to say of the VM is said. */
static void attach_look(struct attach_wish *w, const struct err *e)
{
	struct change *x = container_of(w, struct change, wish);
	struct err own = ERR_INIT;

	if (e) {
		change_fail(x, e);
		return;
	}
	job_progress(x->job, 0, "looking at the device");
	if (attach_paths[w->spec.path]->look(w, &own) < 0)
		change_fail(x, &own);
}

/* All is checked but VM and device themselves. The wish goes to the job. */
static int attach_begin(struct request *rq, const struct attach_wish *wish,
	void (*told)(void *arg, const struct err *e), void *told_arg, struct err *e)
{
	const struct attachment_spec *spec = &wish->spec;
	char device[PATH_MAX + 16], name[96], group[48];
	const struct job_spec job = {
		.verb = "attach", .objects = {device, name, wish->facts.count ? group : NULL}};
	struct change *x = calloc(1, sizeof(*x));
	struct err own = ERR_INIT;

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to attach");
	snprintf(device, sizeof(device), "device:%s", spec->device);
	snprintf(name, sizeof(name), "attachment:%s/%s", spec->vm, spec->name);
	snprintf(group, sizeof(group), "group:%lld", (long long)wish->facts.group);
	x->wish = *wish;
	x->wish.done = attach_looked;
	x->told = told;
	x->told_arg = told_arg;
	snprintf(x->what, sizeof(x->what), "attach %.120s to %s", spec->device, spec->vm);
	x->job = job_start(wish->d->jobs, rq, &job, e);
	if (!x->job) {
		free(x);
		return -1;
	}
	if (goes_into_domain(wish)) {
		job_progress(x->job, 0, "looking at the domain");
		if (attach_domain_look(&x->wish, attach_look, &own) < 0)
			change_fail(x, &own);
	} else {
		attach_look(&x->wish, NULL);
	}
	return 0;
}

/* While the number of a PF's VFs changes, none of them is given away. */
static int check_pf(struct daemon *d, const struct device *device, struct err *e)
{
	char object[PCI_ADDR_MAX + 8];

	if (device->class != DEVICE_PCI || !device->pci.physfn[0])
		return 0;
	snprintf(object, sizeof(object), "device:%s", device->pci.physfn);
	return jobs_check_free(d->jobs, "attach", object, e);
}

/* By a rule each attach is another device, unless it says of which attachment it is (--as). */
static const char *name_of_device(const struct attach_args *a, struct attach_wish *w)
{
	const struct attachment *there;

	if (!vf_pool_is(a->device))
		return a->device;
	str_copy(w->spec.vf.pool, sizeof(w->spec.vf.pool), a->device);
	there = a->as ? registry_by_name(w->d->registry, w->spec.vm, a->as) : NULL;
	return there && strcmp(there->spec.vf.pool, a->device) == 0 ? there->spec.device
								    : a->device;
}

/* Which device, by which path; under what name. 1: it was there, and is answered. */
static int attach_find_out(
	struct request *rq, const struct attach_args *a, struct attach_wish *w, struct err *e)
{
	struct attach_choice choice;
	const struct device *device;
	const struct host_use_own own = {
		.unknown = w->allow & ATTACH_ALLOW_UNKNOWN, .moves = w->is_coming};
	enum device_class class;
	int rc;

	if (attach_choose(w->d, name_of_device(a, w), a->path, &choice, e) < 0)
		return -1;
	device = choice.device;
	w->spec.path = choice.path;
	if (attach_options_check_path(&w->spec, e) < 0)
		return -1;
	class = device->class;
	if (!str_copy(w->spec.device, sizeof(w->spec.device), device->id))
		return err_set(e, ERR_REFUSED, "PATH", "the name of the device is too long");
	rc = rq ? attach_if_there(rq, a, &w->spec, e) : 0;
	if (rc != 0)
		return rc;
	if (choose_name(w->d->registry, a->as, class, &w->spec, e) < 0 ||
		host_use_check_own(w->d->inventory, device, &own, e) < 0)
		return -1;
	device = inventory_find(w->d->inventory, class, w->spec.device);
	if (!device)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", w->spec.device);
	if (check_pf(w->d, device, e) < 0)
		return -1;
	if (attach_paths[w->spec.path]->choose(device, w, e) < 0)
		return -1;
	return explain_refuse(w->d, class, w, e);
}

static int attach_ask(struct request *rq, const struct attach_args *a, struct err *e)
{
	struct attach_wish w = {.d = request_daemon(rq), .disk_fd = -1};
	int rc;

	if (attach_options_read(a, &w, e) < 0 || check_keeper(w.d, e) < 0 ||
		check_stays(w.d, w.spec.vm, e) < 0)
		return -1;
	rc = attach_find_out(rq, a, &w, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	return attach_begin(rq, &w, NULL, NULL, e);
}

void do_attach(struct request *rq, const void *args)
{
	const struct attach_args *a = args;
	struct err e = ERR_INIT;

	if (attach_ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "attach %.100s to %.40s", a->device, a->vm);
	request_fail(rq, &e);
}

/* --- attach: as a domain's metadata describes it ---------------------------------------------- */

struct described {
	struct daemon *d;
	char uuid[VIRT_UUID_SIZE], vm[REGISTRY_NAME_MAX];
	struct domain_description one;
	bool is_coming;
	struct attach_coming coming;
	void (*done)(void *arg, const struct err *e);
	void *arg;
};

/* As a client would have named them; NULL: none. */
static struct json *described_spares(const struct attachment_rescue *rescue)
{
	auto_json_out struct json_out o;
	auto_free char *text = NULL;
	size_t len = 0;

	json_out_init(&o);
	json_out_array(&o, NULL);
	for (unsigned int i = 0; i < rescue->spare_count; i++)
		json_out_str(&o, NULL, rescue->spares[i]);
	json_out_end(&o);
	text = json_out_finish(&o, &len);
	return text && rescue->spare_count ? json_parse(text, len, NULL) : NULL;
}

/* Where its path leads is known to the inventory while this runs. */
static int described_begin(const struct described *x, struct err *e)
{
	const struct domain_description *one = &x->one;
	const char *owner = domains_qemu_user(x->d->domains);
	auto_json struct json *spares = described_spares(&one->rescue);
	const struct attach_args args = {
		.device = one->device,
		.vm = x->vm,
		.path = one->path[0] ? one->path : NULL,
		.as = one->name,
		.cache = one->cache[0] ? one->cache : NULL,
		.on_error = one->on_error[0] ? one->on_error : NULL,
		.owner = owner           ? owner
			 : one->owner[0] ? one->owner
					 : NULL,
		.queues = one->queues,
		.io_timeout_ms = one->rescue.io_timeout_ms,
		.fence = one->rescue.fence[0] ? one->rescue.fence : NULL,
		.spare = spares,
		.set = one->set[0] ? one->set : NULL,
		.readonly = one->readonly,
	};
	struct attach_wish w = {
		.d = x->d, .disk_fd = -1, .is_coming = x->is_coming, .coming = x->coming};

	if (attach_options_read(&args, &w, e) < 0 || check_keeper(x->d, e) < 0)
		return -1;
	str_copy(w.spec.vm, sizeof(w.spec.vm), x->vm);
	str_copy(w.spec.domain, sizeof(w.spec.domain), x->uuid);
	if (!str_copy(w.spec.target, sizeof(w.spec.target), one->target))
		return err_set(
			e, ERR_USAGE, JSON_CODE_PARAM, "%s is no disk's target", one->target);
	w.is_defined = true;
	str_copy(w.spec.vf.pool, sizeof(w.spec.vf.pool), one->pool);
	if (strchr(one->standby, ':'))
		str_copy(w.spec.vf.standby, sizeof(w.spec.vf.standby), one->standby);
	if (attach_find_out(NULL, &args, &w, e) < 0)
		return -1;
	return attach_begin(NULL, &w, x->done, x->arg, e);
}

/* What it brought went to the attachment that began, if one did. */
static void described_free(struct described *x, int rc)
{
	if (rc < 0 && x->is_coming)
		close_fd(&x->coming.lease_fd);
	free(x);
}

static void described_led(void *arg, const struct inventory_look *look, const struct err *e)
{
	struct described *x = arg;
	struct inventory *inv = x->d->inventory;
	struct err own = ERR_INIT;
	int rc = -1;

	if (e) {
		own = *e;
	} else {
		inventory_set_look(inv, x->one.device, look);
		rc = described_begin(x, &own);
		inventory_set_look(inv, NULL, NULL);
	}
	if (rc < 0)
		x->done(x->arg, &own);
	described_free(x, rc);
}

int attach_described(struct daemon *d, const struct domain *domain,
	const struct domain_description *one, const struct attach_coming *coming,
	void (*done)(void *arg, const struct err *e), void *arg, struct err *e)
{
	struct described *x = calloc(1, sizeof(*x));
	int rc;

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to attach");
	*x = (struct described){.d = d, .one = *one, .done = done, .arg = arg};
	if (coming) {
		x->is_coming = true;
		x->coming = *coming;
	}
	str_copy(x->uuid, sizeof(x->uuid), domain->uuid);
	domain_vm(domain, x->vm);
	if (inventory_wants_look(one->device)) {
		rc = file_look_begin(d->hands, one->device, described_led, x, e);
		if (rc == 0)
			return 0;
	} else {
		rc = described_begin(x, e);
	}
	described_free(x, rc);
	return rc < 0 ? err_wrap(e, "%s", one->name) : 0;
}

/* --- detach ----------------------------------------------------------------------------------- */

struct detach_args {
	const char *attachment;
};

static const struct json_field detach_fields[] = {
	{"attachment", JSON_FIELD_STRING, .required = true,
		.offset = offsetof(struct detach_args, attachment)},
};
const struct json_params do_detach_params = {
	detach_fields, ARRAY_SIZE(detach_fields), sizeof(struct detach_args)};

static void detach_ended(void *arg, struct attachment *a, const struct err *e)
{
	struct change *x = arg;
	auto_free char *text = NULL;
	size_t len = 0;

	if (e) {
		change_fail(x, e);
		return;
	}
	text = result_text(x->wish.d, a, NULL, &len);
	change_end(x, text, len);
}

static int detach_ask(struct request *rq, const char *name, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	struct attachment *a = registry_find(d->registry, name, e);
	char device[PATH_MAX + 16];
	const struct job_spec job = {.verb = "detach", .objects = {device}};
	struct attach_caller caller = {.done = detach_ended, .progress = change_step};
	struct change *x;

	if (!a)
		return -1;
	if (check_keeper(d, e) < 0)
		return -1;
	if (a->kept != KEPT_ATTACHED || (a->busy && !a->renewal) || a->gating)
		return err_set(e, ERR_BUSY, "BUSY", "%s is %s", a->spec.id,
			attachment_state_names[a->state]);
	if (attach_paths[a->spec.path]->may_detach &&
		attach_paths[a->spec.path]->may_detach(d, a, e) < 0)
		return -1;
	x = calloc(1, sizeof(*x));
	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to detach");
	snprintf(device, sizeof(device), "device:%s", a->spec.device);
	x->wish = (struct attach_wish){.d = d, .disk_fd = -1};
	snprintf(x->what, sizeof(x->what), "detach %s", a->spec.id);
	caller.arg = x;
	x->job = job_start(d->jobs, rq, &job, e);
	if (!x->job) {
		free(x);
		return -1;
	}
	if (detach_start(d, a, &caller, e) < 0)
		change_fail(x, e); /* which answers */
	return 0;
}

void do_detach(struct request *rq, const void *args)
{
	const struct detach_args *a = args;
	struct err e = ERR_INIT;

	if (detach_ask(rq, a->attachment, &e) == 0)
		return;
	err_wrap(&e, "detach %.100s", a->attachment);
	request_fail(rq, &e);
}
