/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The damaged store is renamed before a fresh one is made (lib/store.c), so a
 * fresh one with a damaged one beside it has lost something, also after a crash in between: the
 * fresh one says whether it has been looked what (`looked`), and that is written in one transaction
 * with what was found. A store that begins with nothing beside it has lost nothing: devices that
 * VFIO drivers have there are somebody else's, as they would be later.
 *
 * A row stands for as long as it can be true: for the same device, in the same boot, while it has a
 * VFIO driver or none. An attachment of the device hides it, and what that gives back is unknown
 * again; only a release, or a boot, ends it.
 */
#include "daemon/unknown.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/binding_internal.h"
#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/registry.h"
#include "lib/iommu/sriov.h"
#include "lib/list.h"
#include "lib/log.h"

struct unknown {
	struct list_node node;
	char id[BINDING_ID_MAX];
	char fingerprint[40], driver[BIND_DRIVER_MAX];
	char evidence[PATH_MAX + 64];
};

static struct list_node all = {&all, &all};

static struct unknown *unknown_find(const char *id)
{
	list_for_each (node, &all) {
		struct unknown *u = list_entry(node, struct unknown, node);

		if (strcmp(u->id, id) == 0)
			return u;
	}
	return NULL;
}

static void unknown_drop(struct unknown *u)
{
	list_remove(&u->node);
	free(u);
}

void unknown_end(void)
{
	list_for_each_safe (node, &all)
		unknown_drop(list_entry(node, struct unknown, node));
}

/* --- the store -------------------------------------------------------------------------------- */

static int read_looked(void *arg, const struct store_row *row)
{
	*(bool *)arg = store_row_int(row, 0) != 0;
	return 1;
}

static int load_row(void *arg, const struct store_row *row)
{
	const char *id = store_row_text(row, 0), *fingerprint = store_row_text(row, 1);
	const char *driver = store_row_text(row, 2), *damaged = store_row_text(row, 3);
	struct unknown *u = calloc(1, sizeof(*u));

	(void)arg;
	if (!u)
		return -1;
	if (!id || !str_copy(u->id, sizeof(u->id), id) || !fingerprint ||
		!str_copy(u->fingerprint, sizeof(u->fingerprint), fingerprint) || !driver ||
		!str_copy(u->driver, sizeof(u->driver), driver)) {
		free(u);
		return 0;
	}
	snprintf(u->evidence, sizeof(u->evidence), "driver %s; whose it is was in %s", u->driver,
		damaged ? damaged : "the damaged store");
	list_append(&all, &u->node);
	return 0;
}

/* Those of this boot; nothing is written, since a store that is full or broken has to do. */
static int load(struct daemon *d, const char *boot, struct err *e)
{
	static const char rows[] =
		"SELECT device, fingerprint, driver, damaged FROM unknown WHERE boot = ?";

	return store_run(d->store, rows, STORE_BIND(STORE_TEXT(boot)), load_row, NULL, e);
}

/* --- looking ---------------------------------------------------------------------------------- */

struct finding {
	struct daemon *d;
	char boot[40];
	const char *damaged;
	struct err *e;
	int rc;
};

/* Whether an attachment has it, itself or as a companion. */
static bool is_attached(struct daemon *d, const char *id)
{
	list_for_each (node, registry_list(d->registry))
		if (attachment_has(list_entry(node, struct attachment, node), id))
			return true;
	return false;
}

static void judge(void *arg, const struct device *device)
{
	static const char sql[] = "INSERT OR REPLACE INTO unknown"
				  " (device, fingerprint, driver, boot, damaged)"
				  " VALUES (?, ?, ?, ?, ?)";
	struct finding *f = arg;

	if (f->rc < 0 || !bind_is_vfio(device->driver) || is_attached(f->d, device->id))
		return;
	log_warning("%s: has driver %s, and for whom is lost with %s", device->id, device->driver,
		f->damaged);
	f->rc = store_run(f->d->store, sql,
		STORE_BIND(STORE_TEXT(device->id), STORE_TEXT(device->fingerprint),
			STORE_TEXT(device->driver), STORE_TEXT(f->boot), STORE_TEXT(f->damaged)),
		NULL, NULL, f->e);
}

static int look(struct finding *f)
{
	static const char looked[] = "UPDATE counter SET looked = 1";
	struct store *s = f->d->store;

	if (store_begin(s, f->e) < 0)
		return -1;
	if (f->damaged)
		inventory_each(f->d->inventory, DEVICE_PCI, judge, f);
	if (f->rc == 0 && store_run(s, looked, STORE_NO_BIND, NULL, NULL, f->e) == 0)
		return store_commit(s, f->e);
	store_rollback(s);
	return -1;
}

/* The latest store that was put aside; names sort by time. */
static int look_beside(struct finding *f)
{
	char pattern[PATH_MAX];
	glob_t found = {0};
	int rc;

	snprintf(
		pattern, sizeof(pattern), "%.4000s/iovd.db" STORE_ASIDE "*", f->d->conf->state_dir);
	if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc)
		f->damaged = found.gl_pathv[found.gl_pathc - 1];
	rc = look(f);
	globfree(&found);
	return rc;
}

int unknown_begin(struct daemon *d, struct err *e)
{
	static const char sql[] = "SELECT looked FROM counter";
	struct finding f = {.d = d, .e = e};
	bool looked = false;

	sriov_boot(inventory_sysroot(d->inventory), f.boot);
	if (store_run(d->store, sql, STORE_NO_BIND, read_looked, &looked, e) < 0 ||
		(!looked && look_beside(&f) < 0))
		return err_wrap(e, "find out what was lost");
	return load(d, f.boot, e);
}

/* --- being asked ------------------------------------------------------------------------------ */

static bool is_true(struct daemon *d, const struct unknown *u)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, u->id);

	return device && strcmp(device->fingerprint, u->fingerprint) == 0 &&
	       (!device->driver[0] || bind_is_vfio(device->driver)) && !is_attached(d, u->id);
}

bool unknown_is(struct daemon *d, const char *id)
{
	const struct unknown *u = unknown_find(id);

	return u && is_true(d, u);
}

void unknown_tell(struct daemon *d, inventory_visit_fn *visit, void *visit_arg)
{
	list_for_each (node, &all) {
		const struct unknown *u = list_entry(node, struct unknown, node);
		const struct inventory_attachment told = {.device = u->id, .unknown = u->evidence};

		if (is_true(d, u))
			visit(visit_arg, &told);
	}
}

static int claim_rows(struct store *s, const struct unknown *u, struct err *e)
{
	static const char forget[] = "DELETE FROM unknown WHERE device = ?";
	static const char keep[] =
		"INSERT OR REPLACE INTO binding"
		" (device, holder, fingerprint, driver, old_driver, old_override)"
		" VALUES (?, '" BINDING_KEPT "', ?, ?, '" BIND_KERNELS "', '')";

	if (store_run(s, forget, STORE_BIND(STORE_TEXT(u->id)), NULL, NULL, e) < 0)
		return -1;
	return store_run(s, keep,
		STORE_BIND(STORE_TEXT(u->id), STORE_TEXT(u->fingerprint), STORE_TEXT(u->driver)),
		NULL, NULL, e);
}

int unknown_claim(struct daemon *d, const char *id, struct err *e)
{
	struct unknown *u = unknown_find(id);

	if (!u)
		return 0;
	if (store_begin(d->store, e) < 0)
		return -1;
	if (claim_rows(d->store, u, e) < 0) {
		store_rollback(d->store);
		return -1;
	}
	if (store_commit(d->store, e) < 0)
		return -1;
	unknown_drop(u);
	return 0;
}
