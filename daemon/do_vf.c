/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual functions, as clients make and set them: what must hold before anything is done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/explain.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/registry.h"
#include "daemon/vf.h"
#include "daemon/vf_given.h"
#include "lib/cleanup.h"
#include "lib/iommu/bind.h"

#define VF_JOB_DEADLINE_MS 180000 /* a driver takes its time for each of 256 */

/* One request that is worked on, as long as its job. */
struct vf_change {
	struct daemon *d;
	struct job *job;
	char what[128]; /* "make 4 VFs of eth1" */
	char pf[PCI_ADDR_MAX];
	uint32_t wanted;           /* of vf create */
	struct vf_setting_row set; /* of vf set */
};

static const struct sysroot *root_of(const struct daemon *d)
{
	return inventory_sysroot(d->inventory);
}

/* --- names ------------------------------------------------------------------------------------ */

/* The PCI function that a name means, be it by its interface or its controller; NULL with e set. */
static const struct device *find_function(struct daemon *d, const char *name, struct err *e)
{
	const struct device *device = inventory_resolve(d->inventory, name, e);
	const struct device *function = device;

	if (!device)
		return NULL;
	if (device->class != DEVICE_PCI)
		function = device->parent[0]
				   ? inventory_find(d->inventory, DEVICE_PCI, device->parent)
				   : NULL;
	if (!function) {
		err_set(e, ERR_REFUSED, "SRIOV-NONE", "%s is no PCI function", name);
		err_evidence(e, "it is a %s device%s%s", device_class_names[device->class],
			device->parent[0] ? " on " : " on no other", device->parent);
	}
	return function;
}

static int find_pf(struct daemon *d, const char *name, char pf[PCI_ADDR_MAX], struct err *e)
{
	const struct device *function = find_function(d, name, e);

	if (!function)
		return -1;
	if (function->pci.physfn[0]) {
		err_set(e, ERR_REFUSED, "SRIOV-NONE", "%s is a virtual function itself",
			function->id);
		return err_evidence(e, "/sys/bus/pci/devices/%s/physfn leads to %s", function->id,
			function->pci.physfn);
	}
	str_copy(pf, PCI_ADDR_MAX, function->id);
	return 0;
}

/* Fills the row with what is kept of the VF of that name. */
static int find_vf(struct daemon *d, const char *name, struct vf_setting_row *row, struct err *e)
{
	const struct device *function = find_function(d, name, e);
	char vf[PCI_ADDR_MAX], pf[PCI_ADDR_MAX];
	bool found;
	int index;

	if (!function)
		return -1;
	if (!function->pci.physfn[0]) {
		err_set(e, ERR_REFUSED, "VF-NONE", "%s is no virtual function", function->id);
		return err_evidence(e, "/sys/bus/pci/devices/%s has no physfn", function->id);
	}
	str_copy(vf, sizeof(vf), function->id);
	str_copy(pf, sizeof(pf), function->pci.physfn);
	index = sriov_index(root_of(d), pf, vf);
	if (index < 0)
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is no VF of %s any more", vf, pf);
	if (vf_setting_load(d->store, vf, row, &found, e) < 0)
		return -1;
	if (!found)
		*row = (struct vf_setting_row){.index = 0};
	str_copy(row->vf, sizeof(row->vf), vf);
	str_copy(row->pf, sizeof(row->pf), pf);
	row->index = (uint32_t)index;
	return 0;
}

/* --- how they are shown ----------------------------------------------------------------------- */

void vf_settings_put(const struct vf_settings *s, struct json_out *o)
{
	char text[32];

	for (enum vf_setting k = 0; k < VF_SETTING_COUNT; k++) {
		if (!vf_settings_value(s, k, text, sizeof(text)))
			json_out_null(o, vf_setting_names[k]);
		else if (vf_setting_is_number(k))
			json_out_u64(o, vf_setting_names[k], s->number[k]);
		else
			json_out_str(o, vf_setting_names[k], text);
	}
}

/* `settings` NULL: they were not asked for. */
static void put_vf(struct daemon *d, const char *key, const struct vf_setting_row *row,
	const struct vf_settings *settings, struct json_out *o)
{
	auto_device struct device *device =
		device_read(root_of(d), DEVICE_PCI, row->vf, NULL, NULL);

	json_out_object(o, key);
	json_out_str(o, "device", row->vf);
	json_out_str(o, "pf", row->pf);
	json_out_u64(o, "index", row->index);
	json_out_str(o, "driver", device && device->driver[0] ? device->driver : NULL);
	if (device && device->iommu_group >= 0)
		json_out_i64(o, "iommu_group", device->iommu_group);
	else
		json_out_null(o, "iommu_group");
	if (settings)
		vf_settings_put(settings, o);
	json_out_end(o);
}

static void put_vfs(struct daemon *d, const char *pf, struct json_out *o)
{
	struct vf_setting_row row = {.index = 0};

	str_copy(row.pf, sizeof(row.pf), pf);
	json_out_array(o, "vfs");
	for (; sriov_vf(root_of(d), pf, row.index, row.vf) == 0; row.index++)
		put_vf(d, NULL, &row, NULL, o);
	json_out_end(o);
}

/* --- the end of a request --------------------------------------------------------------------- */

static void change_fail(struct vf_change *x, const struct err *e)
{
	struct err words = *e;

	err_wrap(&words, "%s", x->what);
	job_fail(x->job, &words);
	free(x);
}

static void change_end(struct vf_change *x, struct json_out *o)
{
	auto_free char *text = NULL;
	struct err e = ERR_INIT;
	size_t len;

	json_out_end(o);
	text = json_out_finish(o, &len);
	if (!text) {
		err_set(&e, ERR_FAILED, "MEMORY", "it is done, but there is no memory to say so");
		change_fail(x, &e);
		return;
	}
	job_done(x->job, text, len);
	free(x);
}

static void change_step(void *arg, const char *stage, unsigned int percent)
{
	struct vf_change *x = arg;

	job_progress(x->job, percent, "%s", stage);
}

/* A job on `function`; consumes nothing. 0, or -1. */
static int change_begin(struct request *rq, const struct vf_change *wish, const char *verb,
	const char *const functions[2], struct vf_change **out, struct err *e)
{
	struct daemon *d = request_daemon(rq);
	char first[PCI_ADDR_MAX + 8], second[PCI_ADDR_MAX + 8];
	struct job_spec job = {.verb = verb, .objects = {first}, .deadline_ms = VF_JOB_DEADLINE_MS};
	struct vf_change *x = malloc(sizeof(*x));

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a change");
	*x = *wish;
	x->d = d;
	snprintf(first, sizeof(first), "device:%s", functions[0]);
	if (functions[1]) {
		snprintf(second, sizeof(second), "device:%s", functions[1]);
		job.objects[1] = second;
	}
	x->job = job_start(d->jobs, rq, &job, e);
	if (!x->job) {
		free(x);
		return -1;
	}
	*out = x;
	return 0;
}

/* --- vf create: may it be? -------------------------------------------------------------------- */

static int pf_in_use(const char *pf, const struct err *why, struct err *e)
{
	err_set(e, ERR_REFUSED, "PF-IN-USE", "the VFs of %s are in use: %s", pf, why->msg);
	if (why->evidence[0])
		err_evidence(e, "%s", why->evidence);
	return err_fix(e, "the number changes for all of them at once: %s",
		why->fix[0] ? why->fix : "take them back first");
}

/* A program that has its VFIO group open, without our having given it. */
static int check_vfio_openers(struct daemon *d, const struct device *vf, struct err *e)
{
	struct opener opener;
	char path[32];

	if (vf->iommu_group < 0 || !sysroot_is_live(root_of(d)))
		return 0;
	snprintf(path, sizeof(path), "/dev/vfio/%lld", (long long)vf->iommu_group);
	if (openers_find(path, 0, &opener, 1) == 0)
		return 0;
	err_set(e, ERR_REFUSED, "DEV-TAKEN", "%s is in use", vf->id);
	err_evidence(e, "%s (pid %d) has %s open", opener.comm, (int)opener.pid, path);
	return err_fix(e, "end that program");
}

static int check_vf_unused(struct daemon *d, const char *vf, struct err *e)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, vf);
	char object[PCI_ADDR_MAX + 8];

	snprintf(object, sizeof(object), "device:%s", vf);
	if (jobs_check_free(d->jobs, "vf create", object, e) < 0)
		return -1;
	if (!device)
		return 0; /* so new that nobody has it yet */
	if (host_use_check(d->inventory, device, e) < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	device = inventory_find(d->inventory, DEVICE_PCI, vf);
	if (!device || !device->driver[0])
		return 0;
	if (bind_is_vfio(device->driver))
		return check_vfio_openers(d, device, e);
	err_set(e, ERR_REFUSED, "HOST-USE", "%s works for the host", vf);
	err_evidence(e, "/sys/bus/pci/devices/%s/driver is %s", vf, device->driver);
	return err_fix(e, "take it from its driver first");
}

static int check_all_unused(struct daemon *d, const char *pf, struct err *e)
{
	struct err why = ERR_INIT;
	char vf[PCI_ADDR_MAX];

	for (uint32_t i = 0; sriov_vf(root_of(d), pf, i, vf) == 0; i++)
		if (check_vf_unused(d, vf, &why) < 0)
			return pf_in_use(pf, &why, e);
	return 0;
}

static int check_pf_is_ours(struct daemon *d, const char *pf, struct err *e)
{
	list_for_each (node, registry_list(d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.device, pf) != 0)
			continue;
		err_set(e, ERR_REFUSED, "DEV-TAKEN", "%s is given to %s", pf, a->spec.vm);
		err_evidence(e, "attachment %s", a->spec.id);
		return err_fix(e, "iovctl detach %s", a->spec.id);
	}
	return 0;
}

static int check_count(struct vf_change *x, const struct sriov_facts *now, struct err *e)
{
	struct vf_row row;

	if (x->wanted > now->total) {
		err_set(e, ERR_REFUSED, "VF-COUNT", "%s can have %u VFs at most", x->pf,
			now->total);
		return err_evidence(e, "/sys/bus/pci/devices/%s/sriov_totalvfs", x->pf);
	}
	if (check_pf_is_ours(x->d, x->pf, e) < 0)
		return -1;
	if (x->wanted && explain_refuse_functions(x->d, x->pf, e) < 0)
		return -1;
	if (!now->count)
		return 0;
	if (vf_row_load(x->d->store, x->pf, &row, e) < 0)
		return -1;
	if (!vf_row_is_of(&row, now)) {
		err_set(e, ERR_REFUSED, "VF-FOREIGN", "the VFs of %s were made by somebody else",
			x->pf);
		err_evidence(e,
			"/sys/bus/pci/devices/%s/sriov_numvfs is %u, and iovd made none of "
			"these",
			x->pf, now->count);
		return err_fix(e, "if nobody needs them, write 0 there; iovd never removes them");
	}
	return check_all_unused(x->d, x->pf, e);
}

/* --- vf create -------------------------------------------------------------------------------- */

struct create_args {
	const char *pf;
	uint64_t count;
};

static const struct json_field create_fields[] = {
	{"pf", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct create_args, pf)},
	{"count", JSON_FIELD_U64, .required = true, .offset = offsetof(struct create_args, count),
		.max = SRIOV_MAX_VFS},
};
const struct json_params do_create_vfs_params = {
	create_fields, ARRAY_SIZE(create_fields), sizeof(struct create_args)};

static void create_answer(struct vf_change *x, bool already, const struct sriov_facts *facts)
{
	struct vf_row row;
	struct json_out o;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.vfs/1");
	json_out_str(&o, "pf", x->pf);
	json_out_u64(&o, "count", facts->count);
	json_out_u64(&o, "possible", facts->total);
	json_out_bool(&o, "ours",
		vf_row_load(x->d->store, x->pf, &row, NULL) == 0 && vf_row_is_of(&row, facts));
	json_out_bool(&o, "already", already);
	put_vfs(x->d, x->pf, &o);
	change_end(x, &o);
}

static void create_seen(void *arg, const struct sriov_facts *facts, const struct err *e)
{
	struct vf_change *x = arg;

	if (e)
		change_fail(x, e);
	else
		create_answer(x, false, facts);
}

static void create_ended(void *arg, const struct err *e)
{
	struct vf_change *x = arg;
	struct err own = ERR_INIT;

	if (e)
		change_fail(x, e);
	else if (vf_look(x->d, x->pf, create_seen, x, &own) < 0)
		change_fail(x, &own);
}

static void create_looked(void *arg, const struct sriov_facts *now, const struct err *e)
{
	struct vf_change *x = arg;
	const struct vf_caller caller = {.done = create_ended, .progress = change_step, .arg = x};
	struct err own = ERR_INIT;

	if (e)
		change_fail(x, e);
	else if (now->count == x->wanted)
		create_answer(x, true, now);
	else if (check_count(x, now, &own) < 0 ||
		 vf_change_count(x->d, x->pf, now, x->wanted, &caller, &own) < 0)
		change_fail(x, &own);
}

static int create_ask(struct request *rq, const struct create_args *a, struct err *e)
{
	struct vf_change wish = {.wanted = (uint32_t)a->count}, *x;
	const char *const functions[2] = {wish.pf, NULL};
	struct err own = ERR_INIT;

	if (find_pf(request_daemon(rq), a->pf, wish.pf, e) < 0)
		return -1;
	snprintf(wish.what, sizeof(wish.what), "give %.64s %u VFs", a->pf, wish.wanted);
	if (change_begin(rq, &wish, "vf create", functions, &x, e) < 0)
		return -1;
	job_progress(x->job, 0, "looking at %s", x->pf);
	if (vf_look(x->d, x->pf, create_looked, x, &own) < 0)
		change_fail(x, &own);
	return 0;
}

void do_create_vfs(struct request *rq, const void *args)
{
	const struct create_args *a = args;
	struct err e = ERR_INIT;

	if (create_ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "give %.64s %llu VFs", a->pf, (unsigned long long)a->count);
	request_fail(rq, &e);
}

/* --- vf set ----------------------------------------------------------------------------------- */

struct set_args {
	const char *vf;
	const char *value[VF_SETTING_COUNT];
};

static const struct json_field set_fields[] = {
	{"vf", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct set_args, vf)},
	{"mac", JSON_FIELD_STRING, .offset = offsetof(struct set_args, value[VF_MAC])},
	{"vlan", JSON_FIELD_STRING, .offset = offsetof(struct set_args, value[VF_VLAN])},
	{"qos", JSON_FIELD_STRING, .offset = offsetof(struct set_args, value[VF_QOS])},
	{"spoofchk", JSON_FIELD_STRING, .offset = offsetof(struct set_args, value[VF_SPOOFCHK])},
	{"trust", JSON_FIELD_STRING, .offset = offsetof(struct set_args, value[VF_TRUST])},
	{"min_tx_rate", JSON_FIELD_STRING,
		.offset = offsetof(struct set_args, value[VF_MIN_TX_RATE])},
	{"max_tx_rate", JSON_FIELD_STRING,
		.offset = offsetof(struct set_args, value[VF_MAX_TX_RATE])},
	{"state", JSON_FIELD_STRING, .offset = offsetof(struct set_args, value[VF_STATE])},
};
const struct json_params do_set_vf_params = {
	set_fields, ARRAY_SIZE(set_fields), sizeof(struct set_args)};

static void set_seen(void *arg, const struct vf_settings *s, const struct err *e)
{
	struct vf_change *x = arg;
	struct json_out o;

	if (e) {
		change_fail(x, e);
		return;
	}
	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_str(&o, "schema", "iovd.vf/1");
	put_vf(x->d, "vf", &x->set, s, &o);
	change_end(x, &o);
}

static void set_ended(void *arg, const struct err *e)
{
	struct vf_change *x = arg;
	struct err own = ERR_INIT;

	if (e)
		change_fail(x, e);
	else if (vf_settings_do(x->d, x->set.pf, x->set.index, NULL, set_seen, x, &own) < 0)
		change_fail(x, &own);
}

static void set_looked(void *arg, const struct vf_settings *now, const struct err *e)
{
	struct vf_change *x = arg;
	const struct vf_caller caller = {.done = set_ended, .progress = change_step, .arg = x};
	struct err own = ERR_INIT;

	if (e) {
		change_fail(x, e);
		return;
	}
	x->set.before = *now;
	if (vf_given_check_known(x->set.pf, &x->set.wanted, now, &own) < 0 ||
		vf_change_settings(x->d, &x->set, &caller, &own) < 0)
		change_fail(x, &own);
}

static int set_read(const struct set_args *a, struct vf_settings *wanted, struct err *e)
{
	for (enum vf_setting k = 0; k < VF_SETTING_COUNT; k++)
		if (a->value[k] && vf_settings_add(wanted, vf_setting_names[k], a->value[k], e) < 0)
			return -1;
	if (wanted->has)
		return 0;
	err_set(e, ERR_USAGE, "VF-KEY", "nothing is said to be set");
	return err_fix(e, "name a key and its value, such as vlan=10");
}

static int set_ask(struct request *rq, const struct set_args *a, struct err *e)
{
	struct vf_change wish = {.wanted = 0}, *x;
	const char *const functions[2] = {wish.set.vf, wish.set.pf};
	struct err own = ERR_INIT;

	if (find_vf(request_daemon(rq), a->vf, &wish.set, e) < 0)
		return -1;
	wish.set.wanted.has = 0;
	if (set_read(a, &wish.set.wanted, e) < 0)
		return -1;
	snprintf(wish.what, sizeof(wish.what), "set %.64s", a->vf);
	if (change_begin(rq, &wish, "vf set", functions, &x, e) < 0)
		return -1;
	job_progress(x->job, 0, "asking the driver");
	if (vf_settings_do(x->d, x->set.pf, x->set.index, NULL, set_looked, x, &own) < 0)
		change_fail(x, &own);
	return 0;
}

void do_set_vf(struct request *rq, const void *args)
{
	const struct set_args *a = args;
	struct err e = ERR_INIT;

	if (set_ask(rq, a, &e) == 0)
		return;
	err_wrap(&e, "set %.64s", a->vf);
	request_fail(rq, &e);
}
