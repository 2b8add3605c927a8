/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the path `passthrough`, a PCI function that the VMM opens by VFIO.
 *
 * attach:	keep it (preparing)	| undo: forget it
 *		bind its group to VFIO	| undo: give the drivers back
 *		make its group translate| undo: give the group its type back
 *		block and reset it	  by a hand; the block ends with the hand
 *		set it as wanted	| undo: set it as it was  (VFs: daemon/vf_given.c)
 *		keep it as attached	  commits
 *		open its node		  to the user that the VMM runs as
 *
 * renew:	shut its node		  its VMM has ended, or the daemon was not there to see
 *		bind, translate, block and reset it; set it as wanted; open its node
 *
 * detach:	shut its node		| undo: open it
 *		block and reset it
 *		set it as it was	| undo: set it as wanted
 *		keep it as detaching	  commits
 *		give the group its type back
 *		give the drivers back
 *		forget it
 *
 * A function with a standby, of a libvirt domain, may go alone, and another one come (daemon/standby.c):
 *
 * leave:	keep it as leaving	  commits: what has failed is not plugged in again
 *		unplug it from the running domain
 *		set it as it was	  frames for its MAC are the standby's from here on
 *		take it out of the definition
 *		shut its node
 *		block and reset it	  or else it is quarantined
 *		give the group its type back
 *		give the drivers back
 *		keep it as apart
 *
 * join:	keep it as joining	| undo: keep it as apart
 *		... as attach, from "bind its group to VFIO" on
 *		keep it as whole	  commits
 *
 * A device changes hands only by "block and reset it", which fails while anybody has it open. What
 * cannot be reset stays where it is: a detach is undone, and after the end of a VMM the node
 * stays shut and the attachment is failed, until a reset works.
 *
 * The gap, from "open its node" until a VMM has opened it: no address space of ours is around the
 * device. Its bus master is off, and its group's default domain translates with nothing mapped in
 * it -- hence "make its group translate", where the host was booted with iommu=pt.
 */
#include "daemon/attach_op.h"

#include <stdio.h>
#include <string.h>

#include "daemon/binding.h"
#include "daemon/faults.h"
#include "daemon/group_type.h"
#include "daemon/inventory.h"
#include "daemon/passthrough.h"
#include "daemon/passthrough_plan.h"
#include "daemon/quarantine.h"
#include "daemon/standby.h"
#include "daemon/vf_given.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define RESET_MS 60000 /* for a hand that resets; a function may take seconds */
#define CLOSE_MS 20000 /* of them, for the kernel to let go of what an ended VMM had open */
#define OPEN_MS  3000  /* the same for a detach, which may find that another VMM has opened it */

/* --- waiting for a hand ----------------------------------------------------------------------- */

static void op_bound(void *arg, const struct err *e)
{
	op_wake(arg, e);
}

/* The first time that it says who it is: from then on it must be that one. */
static int note_identity(struct attach_op *op, const struct passthrough_identity *is, struct err *e)
{
	struct attachment_passthrough *p = &op->a->spec.passthrough;

	if (p->serial[0] || !is->serial[0] || op_takes_back(op))
		return 0;
	str_copy(p->serial, sizeof(p->serial), is->serial);
	return registry_keep_serial(op->d->registry, op->a, e);
}

static void op_reset_done(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct err kept = ERR_INIT;

	close_fd(&fd);
	if (!e && len >= sizeof(struct passthrough_identity) &&
		note_identity(arg, result, &kept) < 0)
		e = &kept;
	op_wake(arg, e);
}

static int op_hand(struct attach_op *op, struct stages *x, const char *const words[HAND_WORDS],
	uint64_t deadline_ms, hand_done_fn *done, struct err *e)
{
	if (hands_do(op->d->hands, op->a->spec.device, words, deadline_ms, done, op, e) < 0)
		return -1;
	return op_wait(op, x, NULL, NULL, 0, e);
}

/* --- stages: driver and group ----------------------------------------------------------------- */

/* Not what was attached once, though it is where that was. */
static int check_fingerprint(struct attach_op *op, struct err *e)
{
	const struct attachment_spec *spec = &op->a->spec;
	const struct device *device = inventory_find(op->d->inventory, DEVICE_PCI, spec->device);

	if (!device)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", spec->device);
	if (strcmp(device->fingerprint, spec->fingerprint) == 0)
		return 0;
	err_set(e, ERR_HOST_CHANGED, "DEV-GONE", "another device is at %s now", spec->device);
	err_evidence(
		e, "its fingerprint is %s, and was %s", device->fingerprint, spec->fingerprint);
	return err_fix(e, "detach %s", spec->id);
}

static int passthrough_bind(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;
	const struct attachment_spec *spec = &op->a->spec;
	const struct binding_ask ask = {.device = spec->device,
		.driver = BIND_VFIO,
		.holder = spec->id,
		.whole_group = spec->passthrough.companion_count > 0};

	if (check_fingerprint(op, e) < 0)
		return -1;
	/* The ordinary case after the end of a VMM, in which nobody should have to wait. */
	if (op->verb == ATTACH_RENEW && passthrough_is_bound(op->d, op->a))
		return STAGE_DONE;
	if (binding_take(op->d, &ask, op_bound, op, e) < 0)
		return -1;
	return op_wait(op, x, NULL, NULL, 0, e);
}

static int passthrough_unbind(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	if (binding_give_back(op->d, op->a->spec.id, op_bound, op, e) < 0)
		return -1;
	return op_wait(op, x, NULL, NULL, 0, e);
}

static void op_typed(void *arg, const struct err *e)
{
	struct err refused;

	if (!e) {
		op_wake(arg, NULL);
		return;
	}
	refused = *e;
	str_copy(refused.code, sizeof(refused.code), "GRP-IDENTITY");
	op_wake(arg, &refused);
}

/* STAGE_DONE where the group has the type, or is to keep the one that it has, or is gone. */
static int set_group_type(struct attach_op *op, struct stages *x, const char *type, struct err *e)
{
	const struct device *device =
		inventory_find(op->d->inventory, DEVICE_PCI, op->a->spec.device);
	struct group_type_plan plan = {.is_lent = true};

	if (!op->a->spec.passthrough.group_type[0] || !device || device->iommu_group < 0)
		return STAGE_DONE;
	plan.group = (uint32_t)device->iommu_group;
	passthrough_read_type(op->d, plan.group, plan.before, sizeof(plan.before));
	if (strcmp(plan.before, type) == 0)
		return STAGE_DONE;
	str_copy(plan.word, sizeof(plan.word), type);
	if (group_type_set(op->d, &plan, op_typed, op, e) < 0)
		return -1;
	return op_wait(op, x, NULL, NULL, 0, e);
}

/*
 * Some IOMMUs' devices have no group until a driver probes them: only now can its type be known. It
 * is kept before it is changed.
 */
static int look_at_new_group(struct attach_op *op, struct err *e)
{
	struct attachment_passthrough *p = &op->a->spec.passthrough;
	const struct device *device =
		inventory_find(op->d->inventory, DEVICE_PCI, op->a->spec.device);

	if (p->group_type[0])
		return 0;
	if (!device || device->iommu_group < 0)
		return err_set(
			e, ERR_REFUSED, "GRP-NONE", "%s is in no IOMMU group", op->a->spec.device);
	if (passthrough_check_type(op->d, (uint32_t)device->iommu_group, &op->a->spec, e) < 0)
		return -1;
	return p->group_type[0] ? registry_keep(op->d->registry, op->a, e) : 0;
}

static int passthrough_translate(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	if (op->verb == ATTACH_ATTACH && look_at_new_group(op, e) < 0)
		return -1;
	return set_group_type(op, x, "DMA", e);
}

static int passthrough_untranslate(struct stages *x, void *arg, struct err *e)
{
	const struct attach_op *op = arg;

	return set_group_type(arg, x, op->a->spec.passthrough.group_type, e);
}

/* --- stages: between two owners --------------------------------------------------------------- */

static int reset_by_hand(struct attach_op *op, struct stages *x, hand_done_fn *done, struct err *e)
{
	const struct attachment_passthrough *p = &op->a->spec.passthrough;
	char ids[(1 + ATTACHMENT_MAX_COMPANIONS) * PCI_ADDR_MAX], wait[16];
	/* Whatever is there can be detached. */
	const char *const words[HAND_WORDS] = {"vfio-reset", ids,
		p->no_reset_boot[0] ? "keep" : "reset", wait, op_takes_back(op) ? "" : p->serial};
	int len = snprintf(ids, sizeof(ids), "%s", op->a->spec.device);

	for (unsigned int i = 0; i < p->companion_count; i++)
		len += snprintf(ids + len, sizeof(ids) - (size_t)len, ",%s", p->companions[i]);
	/* Gone, or the host's since a reboot: then it is nobody else's to be kept from. */
	if (op_takes_back(op) && !passthrough_is_bound(op->d, op->a))
		return STAGE_DONE;
	/* A domain's QEMU has been told to let go, and is about to. */
	snprintf(wait, sizeof(wait), "%d", op->verb == ATTACH_DETACH ? OPEN_MS : CLOSE_MS);
	return op_hand(op, x, words, RESET_MS, done, e);
}

static int passthrough_reset(struct stages *x, void *arg, struct err *e)
{
	return reset_by_hand(arg, x, op_reset_done, e);
}

static int passthrough_open(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	(void)x;
	if (op->verb == ATTACH_ATTACH)
		op_begin_attached(op);
	else if (op_takes_back(op) && op->a->is_untrusted)
		return STAGE_DONE; /* the undo, for one that was shut before */
	passthrough_listen(op->d->passthrough, op->a);
	return passthrough_set_owner(op->d, op->a, op->a->spec.owner, e);
}

static int passthrough_shut(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	(void)x;
	if (passthrough_set_owner(op->d, op->a, NULL, e) < 0)
		return -1;
	passthrough_deafen(op->d->passthrough, op->a);
	return STAGE_DONE;
}

static int passthrough_forget(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;

	passthrough_unwatch(op->d->passthrough, op->a);
	standby_forget(op->d, op->a);
	return op_unkeep(x, arg, e);
}

static int detach_unbind(struct stages *x, void *arg, struct err *e)
{
	op_begin_detaching(arg);
	return passthrough_unbind(x, arg, e);
}

static int detach_untranslate(struct stages *x, void *arg, struct err *e)
{
	op_begin_detaching(arg);
	return passthrough_untranslate(x, arg, e);
}

/* --- stages: a function goes, and one comes ----------------------------------------------------- */

static int keep_pair(struct attach_op *op, const struct attachment_spec *spec, struct err *e)
{
	struct store *s = op->d->store;

	if (store_begin(s, e) < 0)
		return -1;
	if (registry_keep_pair(op->d->registry, spec, e) == 0 && store_commit(s, e) == 0) {
		op->a->spec = *spec;
		return STAGE_DONE;
	}
	store_rollback(s);
	return -1;
}

/* The transaction is the executor's. */
static int leave_keep(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;
	struct attachment_spec spec = op->a->spec;

	(void)x;
	spec.vf.pair = PAIR_LEAVING;
	spec.vf.leaves++;
	if (registry_keep_pair(op->d->registry, &spec, e) < 0 ||
		(op->quarantines && quarantine_add(op->d, spec.device, spec.fingerprint, spec.id,
					    spec.vf.left, e) < 0))
		return -1;
	op->a->spec = spec;
	return STAGE_DONE;
}

/* One that cannot be made as new goes to nobody. */
static void leave_reset_done(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct attach_op *op = arg;
	const struct attachment_spec *spec = &op->a->spec;
	struct err own = ERR_INIT;
	bool ill = e && inventory_find(op->d->inventory, DEVICE_PCI, spec->device) &&
		   !quarantine_is(op->d, spec->device);
	int rc =
		ill ? quarantine_add(op->d, spec->device, spec->fingerprint, spec->id, e->msg, &own)
		    : 0;

	(void)result, (void)len;
	close_fd(&fd);
	op_wake(op, rc < 0 ? &own : NULL);
}

static int leave_reset(struct stages *x, void *arg, struct err *e)
{
	return reset_by_hand(arg, x, leave_reset_done, e);
}

/* One in quarantine stays where nothing is mapped. */
static int leave_untranslate(struct stages *x, void *arg, struct err *e)
{
	const struct attach_op *op = arg;

	return quarantine_is(op->d, op->a->spec.device) ? STAGE_DONE
							: passthrough_untranslate(x, arg, e);
}

static void now_apart(struct attachment_spec *spec)
{
	spec->vf.pair = PAIR_APART;
	spec->vf.before = (struct vf_settings){0};
	spec->passthrough.serial[0] = '\0';
	spec->passthrough.group_type[0] = '\0';
	spec->passthrough.no_reset_boot[0] = '\0';
}

static int leave_part(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;
	struct attachment_spec spec = op->a->spec;

	(void)x;
	now_apart(&spec);
	if (keep_pair(op, &spec, e) < 0)
		return -1;
	passthrough_unwatch(op->d->passthrough, op->a);
	op->a->vmm_pid = 0;
	op->a->is_untrusted = false;
	op->a->storm = (struct attachment_storm){.seen = 0};
	return STAGE_DONE;
}

static int join_keep(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;
	struct attachment_spec spec = op->joins;

	(void)x;
	spec.vf.pair = PAIR_JOINING;
	return keep_pair(op, &spec, e);
}

static int join_part(struct stages *x, void *arg, struct err *e)
{
	return leave_part(x, arg, e);
}

/* The transaction is the executor's. */
static int join_end(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;
	struct attachment_spec spec = op->a->spec;

	(void)x;
	spec.vf.pair = PAIR_WHOLE;
	if (registry_keep_pair(op->d->registry, &spec, e) < 0)
		return -1;
	op->a->spec = spec;
	return STAGE_DONE;
}

static const struct stage attach_stages[] = {
	{"keep it in the store", .run = op_keep, .undo = passthrough_forget},
	{"bind its group to VFIO", .run = passthrough_bind, .undo = passthrough_unbind},
	{"make its group translate", .run = passthrough_translate, .undo = passthrough_untranslate},
	{"block and reset it", .run = passthrough_reset},
	{"set it as wanted", .run = vf_given_set, .undo = vf_given_restore},
	{"keep it as attached", .run = op_keep_attached, .commits = true},
	{"open its node", .run = passthrough_open},
};
static const struct stages_table attach_table = {
	"attach", attach_stages, ARRAY_SIZE(attach_stages)};

static const struct stage renew_stages[] = {
	{"shut its node", .run = passthrough_shut},
	{"bind its group to VFIO", .run = passthrough_bind},
	{"make its group translate", .run = passthrough_translate},
	{"block and reset it", .run = passthrough_reset},
	{"set it as wanted", .run = vf_given_set},
	{"keep it as renewed", .run = op_keep_attached, .commits = true},
	{"open its node", .run = passthrough_open},
};
static const struct stages_table renew_table = {"renew", renew_stages, ARRAY_SIZE(renew_stages)};

static const struct stage detach_stages[] = {
	{"shut its node", .run = passthrough_shut, .undo = passthrough_open},
	{"block and reset it", .run = passthrough_reset},
	{"set it as it was", .run = vf_given_restore, .undo = vf_given_set},
	{"keep it as detaching", .run = op_keep_detaching, .commits = true},
	{"give the group its type back", .run = detach_untranslate},
	{"give the drivers back", .run = detach_unbind},
	{"forget it", .run = passthrough_forget},
};
/* libvirt's QEMU opens the node: it is there before, and its definitions have it last. */
static const struct stage attach_domain_stages[] = {
	{"keep it in the store", .run = op_keep, .undo = passthrough_forget},
	{"bind its group to VFIO", .run = passthrough_bind, .undo = passthrough_unbind},
	{"make its group translate", .run = passthrough_translate, .undo = passthrough_untranslate},
	{"block and reset it", .run = passthrough_reset},
	{"set it as wanted", .run = vf_given_set, .undo = vf_given_restore},
	{"open its node", .run = passthrough_open, .undo = passthrough_shut},
	{"put its standby into the definition", .run = op_define_standby,
		.undo = op_undefine_standby},
	{"put it into the definition", .run = op_define, .undo = op_undefine},
	{"plug its standby into the running domain", .run = op_plug_standby,
		.undo = op_unplug_standby},
	{"plug it into the running domain", .run = op_plug, .undo = op_unplug},
	{"keep it as attached", .run = op_keep_attached, .commits = true},
};
static const struct stages_table attach_domain_table = {
	"attach-domain", attach_domain_stages, ARRAY_SIZE(attach_domain_stages)};

static const struct stage detach_domain_stages[] = {
	{"unplug it from the running domain", .run = op_unplug, .undo = op_plug},
	{"unplug its standby", .run = op_unplug_standby, .undo = op_plug_standby},
	{"take it out of the definition", .run = op_undefine, .undo = op_define},
	{"take its standby out of the definition", .run = op_undefine_standby,
		.undo = op_define_standby},
	{"shut its node", .run = passthrough_shut, .undo = passthrough_open},
	{"block and reset it", .run = passthrough_reset},
	{"set it as it was", .run = vf_given_restore, .undo = vf_given_set},
	{"keep it as detaching", .run = op_keep_detaching, .commits = true},
	{"give the group its type back", .run = detach_untranslate},
	{"give the drivers back", .run = detach_unbind},
	{"forget it", .run = passthrough_forget},
};
static const struct stages_table detach_domain_table = {
	"detach-domain", detach_domain_stages, ARRAY_SIZE(detach_domain_stages)};

static const struct stages_table detach_table = {
	"detach", detach_stages, ARRAY_SIZE(detach_stages)};

static const struct stage leave_stages[] = {
	{"keep it as leaving", .run = leave_keep, .commits = true},
	{"unplug it from the running domain", .run = op_unplug},
	{"set it as it was", .run = vf_given_restore},
	{"take it out of the definition", .run = op_undefine},
	{"shut its node", .run = passthrough_shut},
	{"block and reset it", .run = leave_reset},
	{"give the group its type back", .run = leave_untranslate},
	{"give the drivers back", .run = passthrough_unbind},
	{"keep it as apart", .run = leave_part},
};
static const struct stages_table leave_table = {"leave", leave_stages, ARRAY_SIZE(leave_stages)};

static const struct stage join_stages[] = {
	{"keep it as joining", .run = join_keep, .undo = join_part},
	{"bind its group to VFIO", .run = passthrough_bind, .undo = passthrough_unbind},
	{"make its group translate", .run = passthrough_translate, .undo = passthrough_untranslate},
	{"block and reset it", .run = passthrough_reset},
	{"set it as wanted", .run = vf_given_set, .undo = vf_given_restore},
	{"open its node", .run = passthrough_open, .undo = passthrough_shut},
	{"put it into the definition", .run = op_define, .undo = op_undefine},
	{"plug it into the running domain", .run = op_plug, .undo = op_unplug},
	{"keep it as whole", .run = join_end, .commits = true},
};
static const struct stages_table join_table = {"join", join_stages, ARRAY_SIZE(join_stages)};

/* --- before and after ------------------------------------------------------------------------- */

static bool passthrough_fits(const struct device *device)
{
	return device->class == DEVICE_PCI;
}

/* All that can be known was known by choose(): the device itself is for the stages. */
static int passthrough_looked(struct attach_wish *w, struct err *e)
{
	(void)e;
	w->done(w, NULL);
	return 0;
}

static int passthrough_may_detach(struct daemon *d, struct attachment *a, struct err *e)
{
	/* A domain is told to let go of it, and may refuse: a stage. */
	if (!a->spec.domain[0] && passthrough_check_idle(d, a, e) < 0)
		return -1;
	return passthrough_check_boot(d, &a->spec, e);
}

static bool is_no_reset(const struct err *e)
{
	return strcmp(e->code, "DEV-RESET") == 0 || strcmp(e->code, "DEV-NO-RESET") == 0;
}

static void passthrough_keep_up(struct daemon *d, struct attachment *a, const struct err *failed)
{
	vf_given_look(d, a);
	if (a->spec.vf.pair == PAIR_APART) {
		standby_keep_up(d, a);
		return;
	}
	if (failed && is_no_reset(failed))
		a->is_untrusted = true;
	else if (!failed)
		a->is_untrusted = false;
	if (!failed) /* it is as new */
		faults_renewed(d->faults, a);
	if (!failed)
		a->storm = (struct attachment_storm){.seen = 0};
	/* Its gate is open: whether somebody has come through already is looked at after that is said. */
	if (!failed)
		registry_set_state(d->registry, a, ATTACHMENT_READY, NULL);
	if (failed && (a->is_untrusted || a->state == ATTACHMENT_RECOVERING ||
			      a->state == ATTACHMENT_FAILED)) {
		registry_set_state(d->registry, a, ATTACHMENT_FAILED, failed->msg);
		passthrough_try_again(d->passthrough, a);
	} else if (!passthrough_look(d->passthrough, a)) {
		registry_set_state(d->registry, a, ATTACHMENT_READY, NULL);
	}
	standby_keep_up(d, a);
}

/* Whoever has it open goes on with it; if nobody has, nobody knows what was done to it. */
static void passthrough_adopt(struct daemon *d, struct attachment *a)
{
	vf_given_look(d, a);
	standby_keep_up(d, a);
	if (a->spec.vf.pair == PAIR_APART)
		return;
	passthrough_listen(d->passthrough, a);
	if (!passthrough_look(d->passthrough, a))
		attach_renew(d, a);
}

const struct attach_path attach_passthrough = {
	.fits = passthrough_fits,
	.fits_what = "PCI functions",
	.attach = &attach_table,
	.renew = &renew_table,
	.detach = &detach_table,
	.attach_domain = &attach_domain_table,
	.detach_domain = &detach_domain_table,
	.leave = &leave_table,
	.join = &join_table,
	.choose = passthrough_choose,
	.look = passthrough_looked,
	.put_plan = passthrough_put_plan,
	.may_detach = passthrough_may_detach,
	.keep_up = passthrough_keep_up,
	.adopt = passthrough_adopt,
};
