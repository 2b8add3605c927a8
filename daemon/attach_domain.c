/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: what is special about attachments of libvirt's domains.
 *
 * A domain has two definitions: that of the running one, and that from which it starts next. A
 * device goes into both, or where there is only one, into that, together with its description in
 * the metadata. These are stages (put in by each path's tables), each of which looks first whether
 * what it is to bring about is so already, and so may be done again after a crash:
 *
 *	attach	... define (undo: undefine), plug (undo: unplug), keep it as attached
 *	detach	unplug (undo: plug), undefine (undo: define), keep it as detaching ...
 *
 * Unplugging needs the guest: libvirt only passes the wish on, and an event tells what became of
 * it. A guest that refuses or does not answer keeps the device, and detach has changed nothing.
 *
 * Attachments live as long as libvirt has the domain: undefined, or ended and never defined, it
 * leaves its devices to the host. One that a VMM is still connected to is left alone, whatever
 * libvirt says; and one that is on the move goes with the move (daemon/baton.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attach_op.h"
#include "daemon/baton.h"
#include "daemon/conf.h"
#include "daemon/domain_xml.h"
#include "daemon/domains.h"
#include "daemon/explain.h"
#include "daemon/tap_node.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define GUEST_ANSWERS_MS 20000 /* before JOB_DEADLINE_MS is over */

/* --- before: is the domain fit for it? -------------------------------------------------------- */

static int domain_judge(struct attach_wish *w, const struct virt_answer *domain, struct err *e)
{
	const char *xml = domain->live ? domain->live : domain->config;
	const char *other = domain->live ? domain->config : NULL;
	/* A dry run with --fix tells what would be, with the definition mended. */
	const char *except = w->fix && w->dry_run && !domain->live ? "VM-SHMEM" : NULL;
	struct machine_facts machine;

	facts_read_machine(xml, domain->live, &machine);
	if (explain_refuse_machine(w->d, &machine, w->spec.path, except, e) < 0)
		return -1;
	if (w->spec.path == ATTACHMENT_PASSTHROUGH || w->spec.target[0] ||
		tap_node_is(w->spec.node))
		return 0;
	if (w->spec.path == ATTACHMENT_EMULATED && domain->live) {
		err_set(e, ERR_REFUSED, "VM-RUNS", "%s runs, and takes no SATA disk while it does",
			w->spec.vm);
		return err_fix(e, "shut it down first, or give it with --path paravirt");
	}
	return domain_xml_free_target(xml, other, w->spec.path == ATTACHMENT_EMULATED ? "sd" : "vd",
		       w->spec.target)
		       ? 0
		       : err_set(e, ERR_REFUSED, "VM-FULL", "%s has no free name for a disk",
				 w->spec.vm);
}

static void domain_fixed(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct attach_wish *w = arg;
	struct err own = ERR_INIT;

	(void)answer;
	w->fix = false;
	if (e)
		w->domain_done(w, e);
	else if (attach_domain_look(w, w->domain_done, &own) < 0)
		w->domain_done(w, &own);
}

/* 1: its definition is being mended, and will be looked at again; 0, -1. */
static int domain_fix(struct attach_wish *w, const struct virt_answer *domain, struct err *e)
{
	struct virt_ask ask = {.op = VIRT_DEFINE};
	auto_free char *xml = NULL;

	if (!w->fix || domain->live || w->dry_run || w->spec.path != ATTACHMENT_PARAVIRT ||
		domain_xml_shares_memory(domain->config))
		return 0;
	xml = domain_xml_share_memory(domain->config);
	if (!xml)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a definition");
	log_info("%s: its memory is made to be shared", w->spec.vm);
	ask.text = xml;
	return virt_do(domains_virt(w->d->domains), &ask, domain_fixed, w, e) ? 1 : -1;
}

static void domain_looked(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct attach_wish *w = arg;
	struct err own = ERR_INIT;
	int rc;

	if (e) {
		w->domain_done(w, e);
		return;
	}
	rc = domain_fix(w, answer, &own);
	if (rc > 0)
		return;
	if (rc == 0)
		rc = domain_judge(w, answer, &own);
	w->domain_done(w, rc < 0 ? &own : NULL);
}

int attach_domain_look(struct attach_wish *w, attach_wish_fn *done, struct err *e)
{
	const struct virt_ask ask = {.op = VIRT_DEFINITIONS, .domain = w->spec.domain};

	w->domain_done = done;
	return virt_do(domains_virt(w->d->domains), &ask, domain_looked, w, e) ? 0 : -1;
}

/* --- stages ----------------------------------------------------------------------------------- */

static void op_virt_done(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct attach_op *op = arg;

	(void)answer;
	op->virt_call = NULL;
	op_wake(op, e);
}

static void op_alias(const struct attach_op *op, char alias[DOMAIN_ALIAS_SIZE])
{
	if (op->is_standby)
		domain_standby_alias(&op->a->spec, alias);
	else
		domain_alias(&op->a->spec, alias);
}

/* `present`: whether the domain is to have it afterwards. */
static int op_ask(struct attach_op *op, enum virt_op what, enum virt_which which, bool present,
	virt_done_fn *done, struct err *e)
{
	struct registry *r = op->d->registry;
	const struct attachment_spec *spec = &op->a->spec;
	/* Without its function for a while it is still one of the domain's. */
	bool is_described = present || op->verb == ATTACH_LEAVE || op->verb == ATTACH_JOIN;
	auto_free char *device =
		op->is_standby ? domain_xml_standby(spec) : domain_xml_device(r, spec);
	auto_free char *metadata = domain_xml_metadata(r, spec->domain, op->d->conf->address,
		is_described ? op->a : NULL, is_described ? NULL : op->a);
	char alias[DOMAIN_ALIAS_SIZE];
	const struct virt_ask ask = {.op = what,
		.which = which,
		.domain = spec->domain,
		.alias = alias,
		.text = device,
		.metadata = op->is_standby ? NULL : metadata};

	if (!device || !metadata)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a domain's XML");
	op_alias(op, alias);
	op->virt_call = virt_do(domains_virt(op->d->domains), &ask, done, op, e);
	return op->virt_call ? 0 : -1;
}

static int op_plug_into(
	struct attach_op *op, struct stages *x, enum virt_which which, struct err *e)
{
	if (op_ask(op, VIRT_PLUG, which, true, op_virt_done, e) < 0)
		return -1;
	return op_wait(op, x, NULL, NULL, 0, e);
}

/* The stage is about the device, or about its standby: whether there is one. */
static bool op_is_about(struct attach_op *op, bool standby)
{
	op->is_standby = standby;
	return !standby || op->a->spec.vf.standby[0];
}

int op_define(struct stages *x, void *arg, struct err *e)
{
	op_is_about(arg, false);
	return op_plug_into(arg, x, VIRT_CONFIG, e);
}

int op_define_standby(struct stages *x, void *arg, struct err *e)
{
	return op_is_about(arg, true) ? op_plug_into(arg, x, VIRT_CONFIG, e) : STAGE_DONE;
}

int op_plug(struct stages *x, void *arg, struct err *e)
{
	op_is_about(arg, false);
	return op_plug_into(arg, x, VIRT_LIVE, e);
}

int op_plug_standby(struct stages *x, void *arg, struct err *e)
{
	return op_is_about(arg, true) ? op_plug_into(arg, x, VIRT_LIVE, e) : STAGE_DONE;
}

static int undefine(struct attach_op *op, struct stages *x, struct err *e)
{
	if (op_ask(op, VIRT_UNPLUG, VIRT_CONFIG, false, op_virt_done, e) < 0)
		return -1;
	return op_wait(op, x, NULL, NULL, 0, e);
}

int op_undefine(struct stages *x, void *arg, struct err *e)
{
	op_is_about(arg, false);
	return undefine(arg, x, e);
}

int op_undefine_standby(struct stages *x, void *arg, struct err *e)
{
	return op_is_about(arg, true) ? undefine(arg, x, e) : STAGE_DONE;
}

/* --- unplugging: the guest has a say ---------------------------------------------------------- */

/* The guest's answer is not waited for any more. */
static void unplug_end(struct attach_op *op, const struct err *e)
{
	domain_unwatch(&op->guest);
	op->guest.uuid = NULL;
	if (op->virt_call)
		virt_forget(op->virt_call);
	op->virt_call = NULL;
	op_wake(op, e);
}

static void unplug_kept(struct attach_op *op, const char *how)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_ROLLED_BACK, "GUEST-KEEPS", "the guest of %s %s", op->a->spec.vm, how);
	err_evidence(&e, "it was asked to let go of %s; nothing is changed", op->a->spec.name);
	err_fix(&e, "end what uses the disk in the guest (umount), or shut the domain down; a "
		    "guest that has no system running never answers");
	unplug_end(op, &e);
}

static void unplug_late(void *arg, unsigned int events)
{
	(void)events;
	unplug_kept(arg, "does not answer");
}

/* Gone from the running domain: its description, too. */
static void unplug_gone(struct attach_op *op)
{
	struct err e = ERR_INIT;

	domain_unwatch(&op->guest);
	op->guest.uuid = NULL;
	if (op->virt_call)
		virt_forget(op->virt_call);
	op->virt_call = NULL;
	op->d->loop->ops->set_timer(op->timer, 2 * VIRT_DEADLINE_MS); /* it has answered */
	if (op_ask(op, VIRT_DESCRIBE, VIRT_LIVE, false, op_virt_done, &e) < 0)
		op_wake(op, &e);
}

static void unplug_told(struct domain_watch *w, const struct virt_event *event)
{
	struct attach_op *op = container_of(w, struct attach_op, guest);
	char alias[DOMAIN_ALIAS_SIZE];
	bool ours, stopped;

	op_alias(op, alias);
	ours = event->device && strcmp(event->device, alias) == 0;
	stopped = event->kind == VIRT_DOMAIN_CHANGED && strcmp(event->what, "stopped") == 0;
	if (stopped || (ours && event->kind == VIRT_DEVICE_REMOVED))
		unplug_gone(op);
	else if (ours && event->kind == VIRT_DEVICE_KEPT)
		unplug_kept(op, "refuses");
}

/* The event may have come before the call came back: then nobody waits for it any more. */
static void unplug_asked(void *arg, const struct virt_answer *answer, const struct err *e)
{
	struct attach_op *op = arg;

	op->virt_call = NULL;
	if (e || !answer->asked)
		unplug_end(op, e);
}

static int unplug(struct attach_op *op, struct stages *x, struct err *e)
{
	if (op_ask(op, VIRT_UNPLUG, VIRT_LIVE, false, unplug_asked, e) < 0)
		return -1;
	op->guest = (struct domain_watch){.uuid = op->a->spec.domain, .told = unplug_told};
	domains_watch(op->d->domains, &op->guest);
	return op_wait(op, x, NULL, unplug_late, GUEST_ANSWERS_MS, e);
}

int op_unplug(struct stages *x, void *arg, struct err *e)
{
	op_is_about(arg, false);
	return unplug(arg, x, e);
}

int op_unplug_standby(struct stages *x, void *arg, struct err *e)
{
	return op_is_about(arg, true) ? unplug(arg, x, e) : STAGE_DONE;
}

/* --- domains that are gone -------------------------------------------------------------------- */

static void gone_detached(void *arg, struct attachment *a, const struct err *e)
{
	(void)arg;
	if (e)
		log_error("%s: its domain is gone, and it cannot be taken back: %s", a->spec.id,
			e->msg);
}

static void take_back(struct daemon *d, struct attachment *a)
{
	static const struct attach_caller caller = {.done = gone_detached};
	struct err e = ERR_INIT;

	if (a->kept != KEPT_ATTACHED || (a->busy && !a->renewal) || a->gating || baton_keeps(d, a))
		return;
	registry_look(d->registry, a);
	if (a->connected || a->vmm_pid) {
		log_warning("%s: libvirt has no domain %s, but its VM runs", a->spec.id,
			a->spec.domain);
		return;
	}
	log_info("%s: domain %s is gone: taken back", a->spec.id, a->spec.vm);
	if (detach_start(d, a, &caller, &e) < 0)
		gone_detached(NULL, a, &e);
}

void attach_domain_gone(struct daemon *d, const char *uuid)
{
	list_for_each_safe (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.domain, uuid) == 0)
			take_back(d, a);
	}
}

void attach_domain_check(struct daemon *d, const char *vm)
{
	if (!domains_are_known(d->domains))
		return;
	list_for_each_safe (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->spec.domain[0] && strcmp(a->spec.vm, vm) == 0 &&
			!domains_find(d->domains, a->spec.domain))
			take_back(d, a);
	}
}

static void described(void *arg, const struct virt_answer *answer, const struct err *e)
{
	(void)arg, (void)answer;
	if (e)
		log_warning("a domain that has arrived is not described: %s", e->msg);
}

static void describe(struct daemon *d, const char *uuid)
{
	static const enum virt_which both[] = {VIRT_LIVE, VIRT_CONFIG};
	auto_free char *metadata =
		domain_xml_metadata(d->registry, uuid, d->conf->address, NULL, NULL);

	for (size_t i = 0; metadata && i < ARRAY_SIZE(both); i++) {
		const struct virt_ask ask = {.op = VIRT_DESCRIBE,
			.which = both[i],
			.domain = uuid,
			.metadata = metadata};
		struct err e = ERR_INIT;

		if (!virt_do(domains_virt(d->domains), &ask, described, NULL, &e))
			described(NULL, NULL, &e);
	}
}

void attach_domain_arrived(struct daemon *d, const char *vm)
{
	attach_domain_check(d, vm);
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (!a->spec.domain[0] || strcmp(a->spec.vm, vm) != 0)
			continue;
		describe(d, a->spec.domain);
		return;
	}
}

void attach_domains_listed(struct daemon *d)
{
	list_for_each_safe (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->spec.domain[0] && !domains_find(d->domains, a->spec.domain))
			take_back(d, a);
	}
}
