/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/vf_pool.h"

#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/registry.h"
#include "daemon/vf.h"
#include "daemon/vf_given.h"

#define PREFIX   "vf:"
#define RULE_MAX 256
#define PFS_MAX  256
#define ANY_VLAN UINT32_MAX

struct pool {
	char pf[PCI_ADDR_MAX]; /* "": of any */
	bool has_product;
	uint16_t vendor, product;
	char switch_id[68]; /* "": of any */
	uint32_t vlan;
	bool linked; /* its PF has a link */
};

/* Why functions that fit are not free: how many each. */
struct tally {
	unsigned int attached, used, busy, unlinked;
};

bool vf_pool_is(const char *name)
{
	return strncmp(name, PREFIX, strlen(PREFIX)) == 0;
}

/* --- reading a rule --------------------------------------------------------------------------- */

static int read_pf(struct daemon *d, struct pool *p, const char *name, struct err *e)
{
	const struct device *device = inventory_resolve(d->inventory, name, e);

	if (device && device->class != DEVICE_PCI)
		device = device->parent[0]
				 ? inventory_find(d->inventory, DEVICE_PCI, device->parent)
				 : NULL;
	else if (!device)
		return -1;
	if (!device || device->pci.physfn[0] || !device->pci.sriov_total)
		return err_set(e, ERR_REFUSED, "SRIOV-NONE", "%s has no virtual functions", name);
	str_copy(p->pf, sizeof(p->pf), device->id);
	return 0;
}

static bool read_product(struct pool *p, const char *text)
{
	unsigned int vendor, product;
	int len = 0;

	p->has_product = sscanf(text, "%4x:%4x%n", &vendor, &product, &len) == 2 && !text[len];
	if (!p->has_product)
		return false;
	p->vendor = (uint16_t)vendor;
	p->product = (uint16_t)product;
	return true;
}

static bool read_condition(struct pool *p, const char *key, const char *value)
{
	struct vf_settings s = {0};

	if (strcmp(key, "product") == 0)
		return read_product(p, value);
	if (strcmp(key, "switch") == 0)
		return *value && str_copy(p->switch_id, sizeof(p->switch_id), value);
	if (strcmp(key, "vlan") != 0 || vf_settings_add(&s, "vlan", value, NULL) < 0)
		return false;
	p->vlan = s.number[VF_VLAN];
	return true;
}

static int refuse_rule(const char *rule, const char *word, struct err *e)
{
	err_set(e, ERR_USAGE, "VF-RULE", "%.128s: '%.64s' says nothing about a VF", rule, word);
	return err_fix(e, "vf:PF, vf:product=VENDOR:DEVICE, vf:switch=ID, vf:vlan=N, or several "
			  "with commas between");
}

static int read_rule(struct daemon *d, const char *rule, struct pool *p, struct err *e)
{
	char copy[RULE_MAX], *rest = copy, *word;

	*p = (struct pool){.vlan = ANY_VLAN};
	if (!str_copy(copy, sizeof(copy), rule + strlen(PREFIX)))
		return refuse_rule(rule, "a long word", e);
	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');

		if (!*word)
			return refuse_rule(rule, word, e);
		if (!value) {
			if (read_pf(d, p, word, e) < 0)
				return -1;
			continue;
		}
		*value = '\0';
		if (!read_condition(p, word, value + 1))
			return refuse_rule(rule, word, e);
	}
	return 0;
}

/* --- what fits -------------------------------------------------------------------------------- */

static bool is_product(const struct pool *p, const struct device *device)
{
	return device->pci.vendor == p->vendor && device->pci.device == p->product;
}

static bool is_on_switch(const struct sysroot *root, const char *pf, const char *switch_id)
{
	char interface[DEVICE_NAME_MAX], id[sizeof(((struct pool *)0)->switch_id)];
	struct sysfs_dir dir;

	if (!switch_id[0])
		return true;
	if (!sriov_interface(root, pf, interface, sizeof(interface)))
		return false;
	sysfs_dir_init(&dir, root, "sys/class/net/%s", interface);
	return sysfs_read_text(&dir, "phys_switch_id", id, sizeof(id)) == 0 &&
	       strcmp(id, switch_id) == 0;
}

static bool is_in_vlan(struct daemon *d, const char *vf, uint32_t vlan)
{
	struct vf_setting_row row;
	bool found;

	if (vlan == ANY_VLAN)
		return true;
	return vf_setting_load(d->store, vf, &row, &found, NULL) == 0 && found &&
	       row.kept.has & 1u << VF_VLAN && row.kept.number[VF_VLAN] == vlan;
}

static bool is_attached(struct daemon *d, const char *vf)
{
	list_for_each (node, registry_list(d->registry))
		if (attachment_has(list_entry(node, struct attachment, node), vf))
			return true;
	return false;
}

/* Nobody has it; else counted. Who uses a device is found out anew, which may change the model. */
static const struct device *take_if_free(struct daemon *d, const char *vf, struct tally *tally)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, vf);
	char object[PCI_ADDR_MAX + 8];

	if (!device)
		return NULL;
	snprintf(object, sizeof(object), "device:%s", vf);
	if (is_attached(d, vf)) {
		tally->attached++;
		return NULL;
	}
	if (jobs_check_free(d->jobs, "attach", object, NULL) < 0) {
		tally->busy++;
		return NULL;
	}
	if (host_use_check(d->inventory, device, NULL) < 0) {
		tally->used++;
		return NULL;
	}
	return inventory_find(d->inventory, DEVICE_PCI, vf);
}

static const struct device *choose_of(
	struct daemon *d, const struct pool *p, const char *pf, struct tally *tally)
{
	const struct sysroot *root = inventory_sysroot(d->inventory);
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, pf);
	bool pf_fits = device && (!p->has_product || is_product(p, device));
	char vf[PCI_ADDR_MAX];

	if (!is_on_switch(root, pf, p->switch_id))
		return NULL;
	for (uint32_t i = 0; sriov_vf(root, pf, i, vf) == 0; i++) {
		device = inventory_find(d->inventory, DEVICE_PCI, vf);
		if (!device || !(pf_fits || is_product(p, device)) || !is_in_vlan(d, vf, p->vlan))
			continue;
		if (p->linked && !vf_given_has_link(d, device)) {
			tally->unlinked++;
			continue;
		}
		device = take_if_free(d, vf, tally);
		if (device)
			return device;
	}
	return NULL;
}

/* --- the choice ------------------------------------------------------------------------------- */

struct pfs {
	char ids[PFS_MAX][PCI_ADDR_MAX];
	size_t count;
};

static void add_pf(void *arg, const struct device *device)
{
	struct pfs *pfs = arg;

	if (!device->pci.physfn[0] && device->pci.sriov_total && pfs->count < PFS_MAX)
		str_copy(pfs->ids[pfs->count++], PCI_ADDR_MAX, device->id);
}

static const struct device *refuse_pool(const char *rule, const struct tally *t, struct err *e)
{
	err_set(e, ERR_REFUSED, "VF-POOL", "%.128s: no such virtual function is free", rule);
	err_evidence(e,
		"of those that fit %u are attached, %u in use by the host or quarantined, %u "
		"worked "
		"on, %u without a link",
		t->attached, t->used, t->busy, t->unlinked);
	err_fix(e, "make more (iovctl vf create PF COUNT), take one back, or ask for less");
	return NULL;
}

static const struct device *choose(struct daemon *d, const char *rule, bool linked, struct err *e)
{
	const struct device *device = NULL;
	struct tally tally = {0};
	struct pfs pfs = {.count = 0};
	struct pool pool;

	if (read_rule(d, rule, &pool, e) < 0)
		return NULL;
	pool.linked = linked;
	if (pool.pf[0])
		str_copy(pfs.ids[pfs.count++], PCI_ADDR_MAX, pool.pf);
	else
		inventory_each(d->inventory, DEVICE_PCI, add_pf, &pfs);
	for (size_t i = 0; i < pfs.count && !device; i++)
		device = choose_of(d, &pool, pfs.ids[i], &tally);
	return device ?: refuse_pool(rule, &tally, e);
}

const struct device *vf_pool_choose(struct daemon *d, const char *rule, struct err *e)
{
	return choose(d, rule, false, e);
}

const struct device *vf_pool_choose_linked(struct daemon *d, const char *rule, struct err *e)
{
	return choose(d, rule, true, e);
}
