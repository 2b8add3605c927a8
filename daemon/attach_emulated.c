/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the path `emulated`, for libvirt's domains whose guests have no driver for
 * anything else. The device is the VMM's own, a SATA disk or an e1000e network card, on the same disk,
 * or on the same network: a bridge as its port, any other interface by a macvtap.
 *
 *	attach:	keep it | put it into the definition | plug it into the running domain | keep as attached
 *	detach:	unplug | take it out of the definition | keep as detaching | forget it
 *
 * There is no worker, and nothing of the host changes: the disk is the VMM's to open. That nobody else
 * is given it is all there is to it. A SATA disk cannot be plugged into a running machine: for that the
 * domain must be shut off (daemon/attach_domain.c). It is active as long as its domain runs.
 */
#include <string.h>

#include "daemon/attach_op.h"
#include "daemon/domain_xml.h"
#include "daemon/standby.h"
#include "lib/cleanup.h"

static const struct stage attach_stages[] = {
	{"keep it in the store", .run = op_keep, .undo = op_unkeep},
	{"keep it as attached", .run = op_keep_attached, .commits = true},
};
static const struct stages_table attach_table = {
	"attach", attach_stages, ARRAY_SIZE(attach_stages)};

static const struct stage attach_domain_stages[] = {
	{"keep it in the store", .run = op_keep, .undo = op_unkeep},
	{"put it into the definition", .run = op_define, .undo = op_undefine},
	{"plug it into the running domain", .run = op_plug, .undo = op_unplug},
	{"keep it as attached", .run = op_keep_attached, .commits = true},
};
static const struct stages_table attach_domain_table = {
	"attach-domain", attach_domain_stages, ARRAY_SIZE(attach_domain_stages)};

static int emulated_forget(struct stages *x, void *arg, struct err *e)
{
	op_begin_detaching(arg);
	return op_unkeep(x, arg, e);
}

static const struct stage detach_stages[] = {
	{"keep it as detaching", .run = op_keep_detaching, .commits = true},
	{"forget it", .run = emulated_forget},
};
static const struct stages_table detach_table = {
	"detach", detach_stages, ARRAY_SIZE(detach_stages)};

static const struct stage detach_domain_stages[] = {
	{"unplug it from the running domain", .run = op_unplug, .undo = op_plug},
	{"take it out of the definition", .run = op_undefine, .undo = op_define},
	{"keep it as detaching", .run = op_keep_detaching, .commits = true},
	{"forget it", .run = emulated_forget},
};
static const struct stages_table detach_domain_table = {
	"detach-domain", detach_domain_stages, ARRAY_SIZE(detach_domain_stages)};

/* --- before ----------------------------------------------------------------------------------- */

static bool emulated_fits(const struct device *device)
{
	return device->class == DEVICE_BLOCK || device->class == DEVICE_FILE ||
	       device->class == DEVICE_NET;
}

static int refuse_option(const char *option, struct err *e)
{
	err_set(e, ERR_USAGE, "PATH-OPTION", "%s means nothing to a device that is emulated",
		option);
	return err_fix(e, "leave it out");
}

static int emulated_choose(const struct device *device, struct attach_wish *w, struct err *e)
{
	struct attachment_spec *spec = &w->spec;
	bool is_net = device->class == DEVICE_NET;

	str_copy(spec->fingerprint, sizeof(spec->fingerprint), device->fingerprint);
	if (spec->queues > 1)
		return refuse_option("--queues", e);
	if (is_net && (spec->readonly || spec->cache != ATTACHMENT_CACHE_NONE))
		return refuse_option(spec->readonly ? "--readonly" : "--cache", e);
	if (is_net)
		str_copy(spec->target, sizeof(spec->target),
			strcmp(device->net.kind, "bridge") == 0 ? DOMAIN_NET_BRIDGE
								: DOMAIN_NET_DIRECT);
	else
		device_node_path(device, spec->node, sizeof(spec->node));
	return 0;
}

static int emulated_looked(struct attach_wish *w, struct err *e)
{
	(void)e;
	w->done(w, NULL);
	return 0;
}

static void emulated_put_plan(const struct attach_wish *w, struct json_out *o)
{
	const struct attachment_spec *spec = &w->spec;

	if (spec->node[0])
		json_out_fmt(o, NULL, "device: a SATA disk of the VMM's own, on %s", spec->node);
	else
		json_out_fmt(o, NULL, "device: an e1000e network card of the VMM's own, on %s (%s)",
			spec->device, spec->target);
}

/* --- afterwards ------------------------------------------------------------------------------- */

static bool domain_runs(const struct daemon *d, const struct attachment *a)
{
	const struct domain *domain = domains_find(d->domains, a->spec.domain);

	return domain && domain_is_active(domain);
}

static int emulated_may_detach(struct daemon *d, struct attachment *a, struct err *e)
{
	if (!a->spec.node[0] || !domain_runs(d, a))
		return 0;
	err_set(e, ERR_REFUSED, "VM-RUNS", "%s runs, and lets go of no SATA disk while it does",
		a->spec.vm);
	return err_fix(e, "shut it down first");
}

static void emulated_look(struct daemon *d, struct attachment *a)
{
	registry_set_state(
		d->registry, a, domain_runs(d, a) ? ATTACHMENT_ACTIVE : ATTACHMENT_READY, NULL);
}

static void emulated_keep_up(struct daemon *d, struct attachment *a, const struct err *failed)
{
	(void)failed;
	emulated_look(d, a);
}

void attach_domain_changed(struct daemon *d, const char *uuid)
{
	list_for_each (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->kept != KEPT_ATTACHED || a->busy || strcmp(a->spec.domain, uuid) != 0)
			continue;
		if (a->spec.path == ATTACHMENT_EMULATED)
			emulated_look(d, a);
		else if (a->spec.vf.pair == PAIR_APART)
			standby_keep_up(d, a);
	}
}

const struct attach_path attach_emulated = {
	.fits = emulated_fits,
	.fits_what = "disks, image files and network interfaces of libvirt's domains",
	.only_asked = true,
	.attach = &attach_table,
	.detach = &detach_table,
	.attach_domain = &attach_domain_table,
	.detach_domain = &detach_domain_table,
	.choose = emulated_choose,
	.look = emulated_looked,
	.put_plan = emulated_put_plan,
	.may_detach = emulated_may_detach,
	.keep_up = emulated_keep_up,
	.adopt = emulated_look,
};
