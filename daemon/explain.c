/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. For each path the device that it would be about (for an interface, the PCI
 * function below it) is looked at as attach looks: the rules judge its facts, and then attach's own
 * checks are asked, so that what is told here and what attach does cannot part. The one thing left
 * out is to open a disk: that is a deed, which only attach (or its dry run) does.
 *
 * Reading facts changes the model, and what the model gave is gone then: a device is named by class
 * and id in between.
 */
#include "daemon/explain.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/daemon.h"
#include "lib/cleanup.h"
#include "lib/codes.h"

/* --- findings --------------------------------------------------------------------------------- */

static const char *const weight_names[] = {
	[RULE_CLOSES] = "closes",
	[RULE_REFUSES] = "closes",
	[RULE_WARNS] = "warns",
	[RULE_NOTES] = "notes",
};

static void put_finding(const struct finding *f, struct json_out *o)
{
	const struct code_page *page = code_find(f->code);

	json_out_object(o, NULL);
	json_out_str(o, "code", f->code);
	json_out_str(o, "weight", weight_names[f->weight]);
	json_out_str(o, "title", page ? page->title : NULL);
	json_out_str(o, "what", f->e.msg);
	json_out_str(o, "evidence", f->e.evidence);
	json_out_str(o, "fix", f->e.fix);
	json_out_str(o, "waiver", page ? page->waiver : NULL);
	json_out_end(o);
}

void explain_put_findings(const struct findings *found, struct json_out *o, const char *key)
{
	json_out_array(o, key);
	for (unsigned int weight = RULE_CLOSES; weight <= RULE_NOTES; weight++)
		for (size_t i = 0; i < found->count; i++)
			if (found->at[i].weight == weight)
				put_finding(&found->at[i], o);
	json_out_end(o);
}

/* --- one path of a device --------------------------------------------------------------------- */

/* A look at one device, on its way from name to words. */
struct look {
	struct daemon *d;
	const char *vm;
	struct host_facts host;
	struct device_facts dev;
	const struct machine_facts *machine;
	struct findings found;
	enum device_class class;
	char id[PATH_MAX];
};

static const unsigned int about_path[ATTACHMENT_PATHS] = {
	[ATTACHMENT_PARAVIRT] = RULE_PARAVIRT,
	[ATTACHMENT_PASSTHROUGH] = RULE_PASSTHROUGH,
	[ATTACHMENT_EMULATED] = RULE_EMULATED,
};
static const unsigned int about_vm[ATTACHMENT_PATHS] = {
	[ATTACHMENT_PARAVIRT] = RULE_VM_PARAVIRT,
	[ATTACHMENT_PASSTHROUGH] = RULE_VM_PASSTHROUGH,
};

/* False if the device went meanwhile. */
static bool look_read(struct look *l)
{
	struct inventory *inv = l->d->inventory;
	const struct device *dev = inventory_find(inv, l->class, l->id);

	if (!dev)
		return false;
	facts_read_device(inv, dev, l->vm, &l->dev);
	l->dev.is_wedged = hands_find_wedge(l->d->hands, l->id, &l->dev.wedge);
	return true;
}

static void look_judge(struct look *l, unsigned int about)
{
	const struct facts facts = {.host = &l->host, .dev = &l->dev, .machine = l->machine};

	rules_judge(&facts, about, &l->found);
}

/* What attach itself would say, by the very functions that it calls: -1, or 0 if it would do it. */
static int look_ask(struct look *l, enum attachment_path path, struct err *e)
{
	struct attach_wish w = {
		.d = l->d, .disk_fd = -1, .spec = {.queues = 1, .path = path, .owner = "root"}};
	const struct host_use_own own = {.vm = l->vm};
	const struct device *dev = inventory_find(l->d->inventory, l->class, l->id);
	int rc;

	if (dev && host_use_check_own(l->d->inventory, dev, &own, e) < 0)
		return -1;
	dev = inventory_find(l->d->inventory, l->class, l->id);
	if (!dev || !attach_paths[path]->fits(dev))
		return 0; /* of which a rule tells */
	str_copy(w.spec.device, sizeof(w.spec.device), l->id);
	str_copy(w.spec.vm, sizeof(w.spec.vm), l->vm ?: "");
	rc = attach_paths[path]->choose(dev, &w, e);
	attach_wish_release(&w);
	return rc;
}

/* The device that the path is about; the one of that name where there is none such. */
static int look_find(struct look *l, const char *name, enum attachment_path path, struct err *e)
{
	struct attach_choice c;
	struct err none = ERR_INIT;

	if (attach_choose(l->d, name, attachment_path_names[path], &c, &none) < 0) {
		c.device = inventory_resolve(l->d->inventory, name, e);
		if (!c.device)
			return -1;
	}
	l->class = c.device->class;
	str_copy(l->id, sizeof(l->id), c.device->id);
	return 0;
}

static int put_path(struct look *l, const char *name, enum attachment_path path, bool chosen,
	struct json_out *o, struct err *e)
{
	struct err refused = ERR_INIT;
	bool would;

	l->found.count = 0;
	if (look_find(l, name, path, e) < 0)
		return -1;
	would = look_ask(l, path, &refused) == 0;
	if (!look_read(l))
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", l->id);
	look_judge(l, about_path[path] | (l->machine ? about_vm[path] : 0));
	if (!would)
		findings_add(&l->found, &refused);
	json_out_object(o, NULL);
	json_out_str(o, "path", attachment_path_names[path]);
	json_out_str(o, "device", l->id);
	json_out_bool(o, "open", findings_are_open(&l->found));
	json_out_bool(o, "chosen", chosen);
	explain_put_findings(&l->found, o, "findings");
	json_out_end(o);
	return 0;
}

/* --- the device ------------------------------------------------------------------------------- */

static void put_choice(
	const struct attach_choice *c, bool has_path, const char *name, struct json_out *o)
{
	const struct device *d = c->device;

	json_out_str(o, "name", name);
	json_out_str(o, "device", d->id);
	json_out_str(o, "class", device_class_names[d->class]);
	json_out_str(o, "title", d->name);
	json_out_str(o, "driver", d->driver[0] ? d->driver : NULL);
	if (d->iommu_group >= 0)
		json_out_i64(o, "iommu_group", d->iommu_group);
	else
		json_out_null(o, "iommu_group");
	json_out_str(o, "path", has_path ? attachment_path_names[c->path] : NULL);
	json_out_str(o, "reason", has_path ? c->reason : "no path is for such a device");
}

/* Virtual functions, of a PF; and whether it can move: both of the PCI function that was last read. */
static void put_more(struct look *l, struct json_out *o)
{
	if (l->class == DEVICE_PCI && (l->dev.sriov_total.known || l->dev.config.sriov_at)) {
		l->found.count = 0;
		look_judge(l, RULE_VFS);
		json_out_object(o, "vfs");
		json_out_bool(o, "open", findings_are_open(&l->found));
		json_out_u64(o, "possible", l->dev.sriov_total.value);
		json_out_u64(o, "count", l->dev.dev->pci.sriov_count);
		explain_put_findings(&l->found, o, "findings");
		json_out_end(o);
	}
	l->found.count = 0;
	look_judge(l, RULE_MOVE);
	explain_put_findings(&l->found, o, "move");
}

/* The order of the answer; passthrough last, since what follows is of its device. */
static const enum attachment_path order[] = {
	ATTACHMENT_PARAVIRT, ATTACHMENT_EMULATED, ATTACHMENT_PASSTHROUGH};
static_assert(ARRAY_SIZE(order) == ATTACHMENT_PATHS, "each path is told of");

int explain_device(struct daemon *d, const char *name, const char *vm,
	const struct machine_facts *machine, struct json_out *o, const char *key, struct err *e)
{
	auto_free struct look *l = calloc(1, sizeof(*l));
	struct attach_choice c;
	bool has_path;

	if (!l)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to explain %s", name);
	l->d = d;
	l->vm = vm;
	l->machine = machine;
	host_use_update(d->inventory);
	facts_read_host(d->inventory, &l->host);
	has_path = attach_choose(d, name, NULL, &c, e) == 0;
	if (!c.device)
		return -1;
	json_out_object(o, key);
	put_choice(&c, has_path, name, o);
	json_out_str(o, "vm", vm);
	json_out_array(o, "paths");
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (put_path(l, name, order[i], has_path && order[i] == c.path, o, e) < 0)
			return -1;
	json_out_end(o);
	put_more(l, o);
	json_out_end(o);
	return 0;
}

/* --- what attach refuses by rules -------------------------------------------------------------- */

static bool is_waived(const struct finding *f, unsigned int allow)
{
	return attach_allow_of(f->code, strlen(f->code)) & allow;
}

/* By the first rule that refuses by itself. */
static int refuse_first(
	const struct findings *found, unsigned int allow, const char *except, struct err *e)
{
	for (size_t i = 0; i < found->count; i++) {
		const struct finding *f = &found->at[i];

		if (f->weight != RULE_REFUSES || is_waived(f, allow) ||
			(except && strcmp(f->code, except) == 0))
			continue;
		*e = f->e;
		return -1;
	}
	return 0;
}

/* With the facts of the host and, unless id is NULL, of the device. NULL with e set. */
static struct look *look_new(
	struct daemon *d, enum device_class class, const char *id, struct err *e)
{
	struct look *l = calloc(1, sizeof(*l));

	if (!l) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory to judge it");
		return NULL;
	}
	l->d = d;
	facts_read_host(d->inventory, &l->host);
	if (!id)
		return l;
	l->class = class;
	str_copy(l->id, sizeof(l->id), id);
	if (look_read(l))
		return l;
	err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", l->id);
	free(l);
	return NULL;
}

int explain_refuse(
	struct daemon *d, enum device_class class, const struct attach_wish *w, struct err *e)
{
	auto_free struct look *l = look_new(d, class, w->spec.device, e);

	if (!l)
		return -1;
	look_judge(l, about_path[w->spec.path]);
	return refuse_first(&l->found, w->allow, NULL, e);
}

int explain_refuse_bind(struct daemon *d, const char *id, unsigned int allow, struct err *e)
{
	auto_free struct look *l = look_new(d, DEVICE_PCI, id, e);

	if (!l)
		return -1;
	look_judge(l, RULE_PASSTHROUGH);
	return refuse_first(&l->found, allow, NULL, e);
}

int explain_refuse_machine(struct daemon *d, const struct machine_facts *machine,
	enum attachment_path path, const char *except, struct err *e)
{
	auto_free struct look *l = look_new(d, DEVICE_PCI, NULL, e);

	if (!l)
		return -1;
	l->machine = machine;
	look_judge(l, about_vm[path]);
	return refuse_first(&l->found, 0, except, e);
}

int explain_refuse_functions(struct daemon *d, const char *pf, struct err *e)
{
	auto_free struct look *l = look_new(d, DEVICE_PCI, pf, e);

	if (!l)
		return -1;
	look_judge(l, RULE_VFS);
	for (size_t i = 0; i < l->found.count; i++) {
		if (!finding_closes(&l->found.at[i]))
			continue;
		*e = l->found.at[i].e;
		return -1;
	}
	return 0;
}

int explain_refuse_move_of(struct daemon *d, const struct attachment *a, struct err *e)
{
	auto_free struct look *l = NULL;

	if (a->spec.path != ATTACHMENT_PASSTHROUGH)
		return 0;
	l = look_new(d, DEVICE_PCI, a->spec.device, e);
	if (!l)
		return -1;
	look_judge(l, RULE_MOVE);
	if (!l->found.count)
		return 0;
	*e = l->found.at[0].e;
	return -1;
}

int explain_refuse_move(struct daemon *d, const char *vm, struct err *e)
{
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.vm, vm) == 0 && explain_refuse_move_of(d, a, e) < 0)
			return -1;
	}
	return 0;
}
