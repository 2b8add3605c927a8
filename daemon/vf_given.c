/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. What a VF of a network interface is set to is its PF's to say, whoever has the
 * VF. So before a VM gets it, what it is set to is noted (`before`, in the store), and what was asked
 * for is set; when the VM has let go of it and it has been reset, it is set to what it was, or to what
 * `vf set` says meanwhile. A guest, too, can change what is set: its MAC, where it may. That is undone
 * the same way, also between two runs of one VM.
 *
 * Only what differs is set: a MAC that is set, if only to what it is, can be changed by no guest any
 * more.
 *
 * The link of a VF follows that of its PF, by the card itself, unless its setting `state` says
 * otherwise. The attachment shows it, and watchers are told of each change.
 */
#include "daemon/vf_given.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/attach_op.h"
#include "daemon/domain_xml.h"
#include "daemon/inventory.h"
#include "daemon/standby.h"
#include "daemon/tap_node.h"
#include "daemon/vf.h"
#include "lib/log.h"

#define NEWS_MS 20 /* the kernel tells a change in several messages */

/* --- what is kept ----------------------------------------------------------------------------- */

static int64_t spec_number(const struct attachment_spec *spec)
{
	return strtoll(spec->id + 1, NULL, 10);
}

int vf_given_keep(struct store *s, const struct attachment_spec *spec, struct err *e)
{
	static const char sql[] =
		"INSERT OR REPLACE INTO attachment_vf (number, pool, settings, before, standby,"
		" pair, left_because, leaves) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
	const struct attachment_vf *vf = &spec->vf;
	char settings[VF_SETTINGS_TEXT], before[VF_SETTINGS_TEXT];

	if (!vf->pool[0] && !vf->settings.has && !vf->before.has)
		return 0;
	vf_settings_write(&vf->settings, settings);
	vf_settings_write(&vf->before, before);
	return store_run(s, sql,
		STORE_BIND(STORE_INT(spec_number(spec)), STORE_TEXT(vf->pool), STORE_TEXT(settings),
			STORE_TEXT(before), STORE_TEXT(vf->standby), STORE_INT(vf->pair),
			STORE_TEXT(vf->left), STORE_INT(vf->leaves)),
		NULL, NULL, e);
}

int vf_given_unkeep(struct store *s, int64_t number, struct err *e)
{
	static const char sql[] = "DELETE FROM attachment_vf WHERE number = ?";

	return store_run(s, sql, STORE_BIND(STORE_INT(number)), NULL, NULL, e);
}

static bool read_settings(const struct store_row *row, int column, struct vf_settings *s)
{
	const char *text = store_row_text(row, column);

	return text && vf_settings_read(text, s, NULL) == 0;
}

static bool read_pair(const struct store_row *row, struct attachment_vf *vf)
{
	const char *left = store_row_text(row, 6);
	int64_t pair = store_row_int(row, 5);

	if (pair < 0 || pair >= PAIRS || !left)
		return false;
	vf->pair = (enum attachment_pair)pair;
	vf->leaves = (unsigned int)store_row_int(row, 7);
	return str_copy(vf->left, sizeof(vf->left), left);
}

static int load_row(void *arg, const struct store_row *row)
{
	const char *pool = store_row_text(row, 1), *standby = store_row_text(row, 4);
	char id[KEEPER_ID_SIZE];
	struct attachment *a;

	snprintf(id, sizeof(id), "a%lld", (long long)store_row_int(row, 0));
	a = registry_by_id(arg, id);
	if (a && !(pool && standby &&
			 str_copy(a->spec.vf.standby, sizeof(a->spec.vf.standby), standby) &&
			 str_copy(a->spec.vf.pool, sizeof(a->spec.vf.pool), pool) &&
			 read_settings(row, 2, &a->spec.vf.settings) &&
			 read_settings(row, 3, &a->spec.vf.before) && read_pair(row, &a->spec.vf)))
		log_error("store: what the VF of %s was set to makes no sense", id);
	return 0;
}

int vf_given_load(struct store *s, struct registry *r, struct err *e)
{
	static const char sql[] = "SELECT number, pool, settings, before, standby, pair,"
				  " left_because, leaves FROM attachment_vf";

	return store_run(s, sql, STORE_NO_BIND, load_row, r, e);
}

/* --- whose it is ------------------------------------------------------------------------------ */

struct place {
	char pf[PCI_ADDR_MAX];
	uint32_t index;
};

/* False where nothing can be set: it is no VF, or not of a network interface, or gone. */
static bool find_place(struct daemon *d, const struct attachment_spec *spec, struct place *place)
{
	const struct sysroot *root = inventory_sysroot(d->inventory);
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, spec->device);
	char interface[DEVICE_NAME_MAX];
	int index;

	if (!device || !device->pci.physfn[0] || !sysroot_is_live(root))
		return false;
	str_copy(place->pf, sizeof(place->pf), device->pci.physfn);
	index = sriov_index(root, place->pf, spec->device);
	place->index = (uint32_t)index;
	return index >= 0 && sriov_interface(root, place->pf, interface, sizeof(interface));
}

/* One that nobody else has, as far as chance goes. */
static int make_mac(struct vf_settings *s, struct err *e)
{
	if (s->has & 1u << VF_MAC)
		return 0;
	if (getrandom(s->mac, sizeof(s->mac), 0) != sizeof(s->mac))
		return err_sys(e, errno, "make up a MAC");
	s->mac[0] = (uint8_t)((s->mac[0] & ~1u) | 2u);
	s->has |= 1u << VF_MAC;
	return 0;
}

static int choose_standby(struct attach_wish *w, struct err *e)
{
	struct attachment_vf *vf = &w->spec.vf;
	const struct device *standby;

	if (!w->standby)
		return 0;
	if (!w->spec.domain[0]) {
		err_set(e, ERR_REFUSED, "VM-UNMANAGED", "%s is no libvirt domain", w->spec.vm);
		return err_fix(e, "leave out --standby");
	}
	standby = inventory_resolve(w->d->inventory, w->standby, e);
	if (!standby)
		return -1;
	if (standby->class != DEVICE_NET || strcmp(standby->parent, w->spec.device) == 0)
		return err_set(e, ERR_REFUSED, "STANDBY", "%s is no network interface of the host",
			w->standby);
	snprintf(vf->standby, sizeof(vf->standby), "%s:%s",
		strcmp(standby->net.kind, "bridge") == 0 ? DOMAIN_NET_BRIDGE : DOMAIN_NET_DIRECT,
		standby->id);
	return make_mac(&vf->settings, e);
}

int vf_given_choose(const struct device *device, struct attach_wish *w, struct err *e)
{
	const struct sysroot *root = inventory_sysroot(w->d->inventory);
	char interface[DEVICE_NAME_MAX];

	if (!w->spec.vf.settings.has && !w->standby)
		return 0;
	if (!device->pci.physfn[0]) {
		err_set(e, ERR_REFUSED, "VF-NONE", "%s is no virtual function", device->id);
		return err_fix(e, "leave out --set and --standby");
	}
	if (sriov_interface(root, device->pci.physfn, interface, sizeof(interface)))
		return choose_standby(w, e);
	err_set(e, ERR_REFUSED, "VF-NOT-NET", "%s is no network device", device->pci.physfn);
	return err_evidence(e, "/sys/bus/pci/devices/%s/net has no interface", device->pci.physfn);
}

int vf_given_check_known(const char *pf, const struct vf_settings *wanted,
	const struct vf_settings *now, struct err *e)
{
	unsigned int missing = wanted->has & ~now->has;

	if (!missing)
		return 0;
	err_set(e, ERR_REFUSED, "VF-DRIVER", "the driver of %s knows no %s", pf,
		vf_setting_names[__builtin_ctz(missing)]);
	return err_evidence(e, "the kernel does not show it");
}

/* --- stages ----------------------------------------------------------------------------------- */

static void given_done(void *arg, const struct vf_settings *now, const struct err *e)
{
	(void)now;
	op_wake(arg, e);
}

/* As it was, with what `vf set` has said since. */
static struct vf_settings settings_of_host(struct attach_op *op)
{
	const struct attachment_spec *spec = &op->a->spec;
	struct vf_settings s = spec->vf.before;
	struct vf_setting_row row;
	bool found;

	if (vf_setting_load(op->d->store, spec->device, &row, &found, NULL) == 0 && found)
		vf_settings_merge(&s, &row.kept);
	return s;
}

static int given_fit(struct attach_op *op, const struct place *place, bool wanted, struct err *e)
{
	struct vf_settings s = settings_of_host(op);

	if (wanted)
		vf_settings_merge(&s, &op->a->spec.vf.settings);
	return vf_fit(op->d, place->pf, place->index, &s, given_done, op, e);
}

/* What it is set to now is to come back after its VM. */
static int given_note(struct attach_op *op, const struct vf_settings *now, struct err *e)
{
	struct attachment_spec *spec = &op->a->spec;
	struct place place;

	if (!find_place(op->d, spec, &place))
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", spec->device);
	if (vf_given_check_known(place.pf, &spec->vf.settings, now, e) < 0)
		return -1;
	spec->vf.before = *now;
	if (vf_given_keep(op->d->store, spec, e) < 0)
		return -1;
	return given_fit(op, &place, true, e);
}

static void given_looked(void *arg, const struct vf_settings *now, const struct err *e)
{
	struct attach_op *op = arg;
	bool unseen = e && strcmp(e->code, "VF-UNSEEN") == 0 && !op->a->spec.vf.settings.has;
	struct err own = ERR_INIT;

	if (unseen || e)
		op_wake(op, unseen ? NULL : e);
	else if (given_note(op, now, &own) < 0)
		op_wake(op, &own);
}

int vf_given_set(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;
	const struct attachment_spec *spec = &op->a->spec;
	struct place place;
	int rc;

	if (!find_place(op->d, spec, &place))
		return spec->vf.settings.has
			       ? err_set(e, ERR_FAILED, "DEV-GONE",
					 "the interface that sets %s is gone", spec->device)
			       : STAGE_DONE;
	rc = spec->vf.before.has
		     ? given_fit(op, &place, true, e)
		     : vf_settings_do(op->d, place.pf, place.index, NULL, given_looked, op, e);
	return rc < 0 ? -1 : op_wait(op, x, NULL, NULL, 0, e);
}

int vf_given_restore(struct stages *x, void *arg, struct err *e)
{
	struct attach_op *op = arg;
	const struct attachment_spec *spec = &op->a->spec;
	struct place place;

	if (!spec->vf.before.has)
		return STAGE_DONE;
	if (!find_place(op->d, spec, &place)) {
		log_warning("%s: what %s is set to stays: its PF has no interface, or it is gone",
			spec->id, spec->device);
		return STAGE_DONE;
	}
	if (given_fit(op, &place, false, e) < 0)
		return -1;
	return op_wait(op, x, NULL, NULL, 0, e);
}

/* --- the link of its PF, or bridge ----------------------------------------------------------------------- */

static struct watch *news_timer;

/* The host's interface that its frames go through; false: there is none. */
static bool find_interface(
	struct daemon *d, const struct attachment_spec *spec, char interface[DEVICE_NAME_MAX])
{
	const struct sysroot *root = inventory_sysroot(d->inventory);
	struct place place;

	if (tap_node_is(spec->node))
		return str_copy(interface, DEVICE_NAME_MAX, spec->device);
	return find_place(d, spec, &place) &&
	       sriov_interface(root, place.pf, interface, DEVICE_NAME_MAX);
}

static enum attachment_link read_link(struct daemon *d, const char *interface)
{
	const struct sysroot *root = inventory_sysroot(d->inventory);
	char state[16];
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, root, "sys/class/net/%s", interface);
	if (sysfs_read_text(&dir, "operstate", state, sizeof(state)) < 0)
		return ATTACHMENT_LINK_NONE;
	return strcmp(state, "up") == 0 || strcmp(state, "unknown") == 0 ? ATTACHMENT_LINK_UP
									 : ATTACHMENT_LINK_DOWN;
}

bool vf_given_has_link(struct daemon *d, const struct device *vf)
{
	char interface[DEVICE_NAME_MAX];

	return vf->pci.physfn[0] &&
	       sriov_interface(inventory_sysroot(d->inventory), vf->pci.physfn, interface,
		       sizeof(interface)) &&
	       read_link(d, interface) == ATTACHMENT_LINK_UP;
}

void vf_given_look(struct daemon *d, struct attachment *a)
{
	enum attachment_link link = ATTACHMENT_LINK_NONE;
	char interface[DEVICE_NAME_MAX];

	if (find_interface(d, &a->spec, interface))
		link = read_link(d, interface);
	if (link == a->link)
		return;
	if (link == ATTACHMENT_LINK_DOWN)
		log_warning("%s (%s of %s): %s %s", a->spec.id, a->spec.name, a->spec.vm, interface,
			a->link == ATTACHMENT_LINK_UP ? "has lost its link" : "has no link");
	else if (a->link == ATTACHMENT_LINK_DOWN)
		log_info("%s (%s of %s): the link is back", a->spec.id, a->spec.name, a->spec.vm);
	registry_set_link(d->registry, a, link);
	standby_link(d, a);
}

static void look_at_links(void *arg, unsigned int events)
{
	struct daemon *d = arg;

	(void)events;
	d->loop->ops->remove(news_timer);
	news_timer = NULL;
	list_for_each (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->spec.path != ATTACHMENT_EMULATED && a->kept == KEPT_ATTACHED)
			vf_given_look(d, a);
	}
	standby_look(d);
}

/* Told from within the inventory: looking there is for later. */
void vf_given_news(struct daemon *d)
{
	struct err e = ERR_INIT;

	if (news_timer || !d->registry)
		return;
	news_timer = d->loop->ops->add_timer(d->loop, NEWS_MS, look_at_links, d, &e);
	if (!news_timer)
		log_error("links of network devices: %s", e.msg);
}

void vf_given_end(struct daemon *d)
{
	d->loop->ops->remove(news_timer);
	news_timer = NULL;
}
