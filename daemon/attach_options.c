/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/attach_options.h"

#include <pwd.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/do.h"
#include "daemon/domains.h"
#include "daemon/recover.h"

#define FIELD(key, type_, ...)                                                                     \
	{                                                                                          \
#key, JSON_FIELD_##type_, .offset = offsetof(struct attach_args, key), __VA_ARGS__ \
	}

static const struct json_field attach_fields[] = {
	FIELD(device, STRING, .required = true),
	FIELD(vm, STRING, .required = true),
	FIELD(path, STRING),
	FIELD(as, STRING),
	FIELD(readonly, BOOL),
	FIELD(queues, U64, .max = VU_MAX_QUEUES),
	FIELD(cache, STRING),
	FIELD(owner, STRING),
	FIELD(allow, STRING),
	FIELD(on_error, STRING),
	FIELD(on_fault, STRING),
	FIELD(spare, ARRAY),
	FIELD(fence, STRING, .max = ATTACHMENT_FENCE_SIZE - 1),
	FIELD(io_timeout_ms, U64, .max = ATTACH_IO_TIMEOUT_MAX_MS,
		.absent = ATTACH_IO_TIMEOUT_ABSENT),
	FIELD(standby, STRING),
	FIELD(set, STRING, .max = VF_SETTINGS_TEXT - 1),
	FIELD(dry_run, BOOL),
	FIELD(fix, BOOL),
};
const struct json_params do_attach_params = {
	attach_fields, ARRAY_SIZE(attach_fields), sizeof(struct attach_args)};

int attach_check_name(const char *what, const char *name, struct err *e)
{
	if (name_is_valid(name))
		return 0;
	err_set(e, ERR_USAGE, "NAME", "%.64s is no name of %s", name, what);
	return err_fix(e, "1 to 32 of A-Z a-z 0-9 . _ -, and no dot in front");
}

static int choose_cache(const char *wanted, struct attachment_spec *spec, struct err *e)
{
	if (!wanted)
		return 0;
	for (unsigned int i = 0; i < ATTACHMENT_CACHES; i++) {
		if (strcmp(wanted, attachment_cache_names[i]) != 0)
			continue;
		spec->cache = (enum attachment_cache)i;
		return 0;
	}
	err_set(e, ERR_USAGE, "CACHE", "%.64s is no way of caching", wanted);
	return err_fix(e, "none or writeback");
}

static int choose_on_error(const char *wanted, struct attachment_spec *spec, struct err *e)
{
	if (!wanted)
		return 0;
	for (unsigned int i = 0; i < ON_ERRORS; i++) {
		if (strcmp(wanted, attachment_on_error_names[i]) != 0)
			continue;
		spec->on_error = (enum attachment_on_error)i;
		return 0;
	}
	err_set(e, ERR_USAGE, "ON-ERROR", "%.64s is nothing that can be done on errors", wanted);
	return err_fix(e, "report or hold");
}

static int choose_on_fault(const char *wanted, struct attachment_spec *spec, struct err *e)
{
	if (!wanted)
		return 0;
	for (unsigned int i = 0; i < ON_FAULTS; i++) {
		if (strcmp(wanted, attachment_on_fault_names[i]) != 0)
			continue;
		spec->passthrough.on_fault = (enum attachment_on_fault)i;
		return 0;
	}
	err_set(e, ERR_USAGE, "ON-FAULT", "%.64s is nothing that can be done on faults", wanted);
	return err_fix(e, "report or block");
}

/* A domain's QEMU is libvirt's. */
static int choose_owner(const char *wanted, struct attach_wish *w, struct err *e)
{
	struct attachment_spec *spec = &w->spec;
	const char *qemu = spec->domain[0] ? domains_qemu_user(w->d->domains) : NULL;
	const char *owner = wanted ? wanted : qemu ? qemu : "root";

	if (!str_copy(spec->owner, sizeof(spec->owner), owner) || !getpwnam(owner))
		return err_set(e, ERR_NOT_FOUND, "USER", "there is no user %.64s", owner);
	return 0;
}

/* --- refusals to waive ------------------------------------------------------------------------ */

/* Codes with commas between: of the attachment, or, of its spares, recover's. */
static int choose_allow(const char *wanted, struct attach_wish *w, struct err *e)
{
	while (wanted && *wanted) {
		size_t len = strcspn(wanted, ",");
		unsigned int what = attach_allow_of(wanted, len);
		unsigned int of_spares = recover_find_allow(wanted, len);

		if (!what && !of_spares) {
			err_set(e, ERR_USAGE, "ALLOW", "%.*s is nothing that can be allowed",
				(int)MIN(len, 32), wanted);
			return err_fix(e,
				"GRP-SPLIT, DEV-NO-RESET, DEV-UNKNOWN, HOST-CONSOLE, and of spares "
				"STALE-SPARE and "
				"LATE-WRITE; every other refusal stays");
		}
		w->allow |= what;
		w->spec.rescue.allow |= of_spares;
		wanted += len + (wanted[len] == ',');
	}
	return 0;
}

/* --- what is done when its disk fails --------------------------------------------------------- */

static int choose_spares(const struct json *wanted, struct attachment_rescue *rescue, struct err *e)
{
	size_t count = wanted ? json_count(wanted) : 0;

	if (count > ATTACHMENT_SPARES_MAX)
		return err_set(e, ERR_USAGE, "SPARE", "%zu spares, and there can be %d", count,
			ATTACHMENT_SPARES_MAX);
	for (size_t i = 0; i < count; i++) {
		const char *name = json_str(json_item(wanted, i));

		if (!name || !*name || !str_copy(rescue->spares[i], PATH_MAX, name))
			return err_set(e, ERR_USAGE, JSON_CODE_PARAM, "spare: it has no name");
		rescue->spare_count++;
	}
	return 0;
}

static int choose_fence(const char *wanted, struct attachment_rescue *rescue, struct err *e)
{
	if (!wanted)
		return 0;
	str_copy(rescue->fence, sizeof(rescue->fence), wanted);
	if (wanted[0] == '/')
		return 0;
	err_set(e, ERR_USAGE, "FENCE", "%.64s does not begin with the path of a program", wanted);
	return err_fix(e, "give the whole path; no shell is there to look for it");
}

static int choose_rescue(const struct attach_args *a, struct attachment_spec *spec, struct err *e)
{
	struct attachment_rescue *rescue = &spec->rescue;
	bool holds = spec->on_error == ON_ERROR_HOLD;

	rescue->io_timeout_ms = a->io_timeout_ms;
	if (a->io_timeout_ms == ATTACH_IO_TIMEOUT_ABSENT)
		rescue->io_timeout_ms = holds ? ATTACH_IO_TIMEOUT_MS : 0;
	if (choose_spares(a->spare, rescue, e) < 0 || choose_fence(a->fence, rescue, e) < 0)
		return -1;
	if (holds || !rescue->spare_count)
		return 0;
	err_set(e, ERR_USAGE, "SPARE", "a spare does what is held, and errors are reported");
	return err_fix(e, "with --spare, give --on-error hold");
}

int attach_options_check_path(const struct attachment_spec *spec, struct err *e)
{
	const struct attachment_rescue *r = &spec->rescue;

	if (spec->path == ATTACHMENT_EMULATED && spec->vf.settings.has)
		return err_set(e, ERR_USAGE, "PATH", "what is emulated cannot be set");
	if (spec->path == ATTACHMENT_EMULATED && !spec->domain[0]) {
		err_set(e, ERR_REFUSED, "VM-UNMANAGED", "%s is no libvirt domain", spec->vm);
		return err_fix(e, "a VMM that you start yourself emulates devices by itself: its "
				  "manual says how");
	}
	if (spec->path != ATTACHMENT_PASSTHROUGH && spec->passthrough.on_fault != ON_FAULT_REPORT)
		return err_set(e, ERR_USAGE, "PATH",
			"only what is passed through can be blocked on faults");
	if (spec->path == ATTACHMENT_PARAVIRT ||
		(!r->spare_count && !r->fence[0] && !r->io_timeout_ms))
		return 0;
	err_set(e, ERR_USAGE, "PATH", "only what has a worker has a spare, fence or timeout");
	return err_fix(e, "give it with --path paravirt, if it is a disk");
}

/* --- the VM ----------------------------------------------------------------------------------- */

/* A libvirt domain, by name or UUID; or one that somebody else starts. */
static int choose_vm(const char *wanted, struct attach_wish *w, struct err *e)
{
	const struct domain *domain = domains_find(w->d->domains, wanted);

	if (!domain) {
		if (attach_check_name("a VM", wanted, e) < 0)
			return -1;
		str_copy(w->spec.vm, sizeof(w->spec.vm), wanted);
		return 0;
	}
	str_copy(w->spec.domain, sizeof(w->spec.domain), domain->uuid);
	domains_vm(w->d->domains, w->d->registry, wanted, w->spec.vm);
	return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

int attach_options_read(const struct attach_args *a, struct attach_wish *w, struct err *e)
{
	struct attachment_spec *spec = &w->spec;

	*spec = (struct attachment_spec){.readonly = a->readonly};
	spec->queues = a->queues ? (unsigned int)a->queues : 1;
	if (choose_vm(a->vm, w, e) < 0)
		return -1;
	w->fix = a->fix;
	w->standby = a->standby;
	w->dry_run = a->dry_run;
	if (choose_cache(a->cache, spec, e) < 0 || choose_owner(a->owner, w, e) < 0 ||
		choose_on_error(a->on_error, spec, e) < 0 ||
		choose_on_fault(a->on_fault, spec, e) < 0 || choose_rescue(a, spec, e) < 0 ||
		(a->set && vf_settings_read(a->set, &spec->vf.settings, e) < 0))
		return -1;
	return choose_allow(a->allow, w, e);
}

static bool rescue_is_same(const struct attachment_spec *has, const struct attachment_spec *wanted,
	const struct attach_args *a)
{
	const struct attachment_rescue *x = &has->rescue, *y = &wanted->rescue;

	if ((a->fence && strcmp(x->fence, y->fence) != 0) ||
		(a->io_timeout_ms != ATTACH_IO_TIMEOUT_ABSENT &&
			x->io_timeout_ms != y->io_timeout_ms))
		return false;
	/* Their turn changes when one is used, and so does which of them is the device. */
	return !a->spare || x->spare_count == y->spare_count;
}

static bool vf_is_same(const struct attachment_vf *has, const struct attach_args *a)
{
	struct vf_settings wanted;
	char x[VF_SETTINGS_TEXT], y[VF_SETTINGS_TEXT];

	if (a->standby && !has->standby[0])
		return false;
	if (!a->set)
		return true;
	if (vf_settings_read(a->set, &wanted, NULL) < 0)
		return false;
	vf_settings_write(&has->settings, x);
	vf_settings_write(&wanted, y);
	return strcmp(x, y) == 0;
}

int attach_options_check_same(const struct attachment *there, const struct attachment_spec *wanted,
	const struct attach_args *a, struct err *e)
{
	const struct attachment_spec *has = &there->spec;

	if (has->readonly == wanted->readonly && (!a->queues || has->queues == wanted->queues) &&
		(!a->cache || has->cache == wanted->cache) &&
		(!a->on_error || has->on_error == wanted->on_error) &&
		(!a->on_fault || has->passthrough.on_fault == wanted->passthrough.on_fault) &&
		(!a->owner || strcmp(has->owner, wanted->owner) == 0) &&
		rescue_is_same(has, wanted, a) && vf_is_same(&has->vf, a))
		return 0;
	err_set(e, ERR_REFUSED, "DEV-TAKEN", "%s is attached to %s already, but otherwise",
		has->device, has->vm);
	err_evidence(e, "%s: %s, %u queues, cache %s, on error %s, owner %s, %u spares", has->id,
		has->readonly ? "read-only" : "read-write", has->queues,
		attachment_cache_names[has->cache], attachment_on_error_names[has->on_error],
		has->owner, has->rescue.spare_count);
	return err_fix(e, "detach %s first", has->id);
}
