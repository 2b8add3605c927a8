/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the names that people paste to devices. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "daemon/inventory_model.h"
#include "lib/nbd_uri.h"

#define MATCHES_MAX 8 /* candidates that are listed */

struct matches {
	struct inv_node *nodes[MATCHES_MAX];
	size_t count; /* may be more than are kept */
};

static void match_add(struct matches *m, struct inv_node *node)
{
	if (!node)
		return;
	for (size_t i = 0; i < MIN(m->count, MATCHES_MAX); i++)
		if (m->nodes[i] == node)
			return;
	if (m->count < MATCHES_MAX)
		m->nodes[m->count] = node;
	m->count++;
}

/* --- block devices by number and node --------------------------------------------------------- */

struct inv_node *inv_find_block_number(struct inventory *inv, dev_t number)
{
	struct sysfs_dir numbers;
	char text[32], name[DEVICE_NAME_MAX];

	for (size_t i = inv_first(inv, DEVICE_BLOCK); i < inv->node_count; i++) {
		const struct device *d = inv->nodes[i]->dev;

		if (d->class != DEVICE_BLOCK)
			break;
		if (d->block.number == number)
			return inv->nodes[i];
	}
	/* one that is so new that the kernel's message has not been read yet */
	sysfs_dir_init(&numbers, inv->root, "sys/dev/block");
	snprintf(text, sizeof(text), "%u:%u", major(number), minor(number));
	if (sysfs_read_link_name(&numbers, text, name, sizeof(name)) < 0)
		return NULL;
	return inv_update(inv, DEVICE_BLOCK, name);
}

/* "/dev/cciss/c0d0" is cciss!c0d0 in /sys. */
static struct inv_node *find_block_node_name(struct inventory *inv, const char *path)
{
	char id[DEVICE_NAME_MAX];

	if (strncmp(path, "/dev/", 5) != 0 || !str_copy(id, sizeof(id), path + 5))
		return NULL;
	for (char *s = id; *s; s++)
		if (*s == '/')
			*s = '!';
	return inv_find(inv, DEVICE_BLOCK, id);
}

struct inv_node *inv_find_block_path(struct inventory *inv, const char *path)
{
	struct inv_node *node = find_block_node_name(inv, path);
	char real[SYSFS_PATH_MAX] = "/";
	struct sysfs_dir at;
	bool is_block;
	dev_t number;

	if (node)
		return node;
	if (sysroot_stat_block(inv->root, path, &is_block, &number) < 0)
		return NULL;
	if (is_block)
		return inv_find_block_number(inv, number);
	/* a recorded tree has links, and plain files in the place of device nodes */
	if (sysroot_is_live(inv->root) || !sysfs_dir_init(&at, inv->root, "%s", path) ||
		sysfs_real_path(&at, real + 1, sizeof(real) - 1) < 0)
		return NULL;
	return find_block_node_name(inv, real);
}

/* --- the forms of a name ---------------------------------------------------------------------- */

/* Not by ".." to somewhere else, where looking may take for ever. */
static bool leads_below(const char *folder, const char *name)
{
	return strncmp(name, folder, strlen(folder)) == 0 && !strstr(name, "/..");
}

static void match_ids(struct inventory *inv, const char *name, struct matches *m)
{
	for (unsigned int class = 0; class < DEVICE_CLASS_COUNT; class ++)
		match_add(m, inv_find(inv, (enum device_class) class, name));
}

static void match_pci(struct inventory *inv, const char *name, struct matches *m)
{
	struct pci_addr wanted, addr;
	char id[PCI_ADDR_MAX];

	if (!pci_addr_parse(name, &wanted))
		return;
	if (wanted.domain_given) {
		pci_addr_format(&wanted, id);
		match_add(m, inv_find(inv, DEVICE_PCI, id));
		return;
	}
	for (size_t i = 0; i < inv->node_count; i++) {
		const struct device *d = inv->nodes[i]->dev;

		if (d->class != DEVICE_PCI || !pci_addr_parse(d->id, &addr))
			continue;
		if (addr.bus == wanted.bus && addr.slot == wanted.slot &&
			addr.function == wanted.function)
			match_add(m, inv->nodes[i]);
	}
}

static void match_sys(struct inventory *inv, const char *name, struct matches *m)
{
	char real[SYSFS_PATH_MAX];
	struct sysfs_dir at;

	if (!leads_below("/sys/", name) || !sysfs_dir_init(&at, inv->root, "%s", name) ||
		sysfs_real_path(&at, real, sizeof(real)) < 0)
		return;
	for (size_t i = 0; i < inv->node_count; i++) {
		const char *syspath = inv->nodes[i]->dev->syspath;

		if (syspath && strcmp(syspath, real) == 0)
			match_add(m, inv->nodes[i]);
	}
}

/* "nvme0" is a controller: the PCI function that it is. */
static void match_controller(struct inventory *inv, const char *name, struct matches *m)
{
	char function[PCI_ADDR_MAX];
	struct sysfs_dir controller;

	if (strchr(name, '/') || !sysfs_dir_init(&controller, inv->root, "sys/class/nvme/%s", name))
		return;
	if (sysfs_read_link_name(&controller, "device", function, sizeof(function)) == 0)
		match_add(m, inv_find(inv, DEVICE_PCI, function));
}

/* A path that is neither: an image file, or a link to a device. */
static int match_file(struct inventory *inv, const char *name, struct matches *m, struct err *e)
{
	const struct inventory_look *look = inv->look;
	struct inv_node *node;

	if (!look || strcmp(inv->look_name, name) != 0)
		return err_set(e, ERR_FAILED, "INTERNAL", "nobody looked where %s leads", name);
	if (look->error) {
		err_set(e,
			look->error == ENOENT || look->error == ENOTDIR ? ERR_NOT_FOUND
									: ERR_FAILED,
			"NO-SUCH", "there is no file %s", name);
		return err_evidence(e, "%s: %s", name, strerror(look->error));
	}
	if (look->facts.is_block && sysroot_is_live(inv->root)) {
		match_add(m, inv_find_block_number(inv, look->facts.number));
		return 0;
	}
	node = inv_add_file(inv, look->real, &look->facts, e);
	if (!node)
		return -1;
	match_add(m, node);
	return 0;
}

static int refuse_ambiguous(const char *name, const struct matches *m, struct err *e)
{
	char list[sizeof(e->evidence)] = "";

	for (size_t i = 0; i < MIN(m->count, MATCHES_MAX); i++) {
		const struct device *d = m->nodes[i]->dev;
		size_t len = strlen(list);

		snprintf(list + len, sizeof(list) - len, "%s/%s/%s", i ? ", " : "",
			device_class_dir(d->class), d->id);
	}
	err_set(e, ERR_USAGE, "AMBIGUOUS", "%s names %zu devices", name, m->count);
	err_evidence(e, "%s%s", list, m->count > MATCHES_MAX ? ", ..." : "");
	return err_fix(e, "say which one, in full");
}

bool inventory_wants_look(const char *name)
{
	return name[0] == '/' && !leads_below("/sys/", name);
}

void inventory_set_look(struct inventory *inv, const char *name, const struct inventory_look *look)
{
	inv->look_name = name;
	inv->look = look;
}

const struct inventory_look *inventory_get_look(const struct inventory *inv)
{
	return inv->look;
}

/* They lie last. */
static void drop_unattached(struct inventory *inv)
{
	for (size_t i = inv->node_count; i-- > 0 && inv->nodes[i]->dev->class >= DEVICE_FILE;)
		if (!inv->nodes[i]->attachment)
			inv_remove(inv, inv->nodes[i]);
}

/* A volume is whatever is called so: there is nobody to be asked. */
static const struct device *resolve_nbd(struct inventory *inv, const char *name, struct err *e)
{
	struct device *wanted = device_of_nbd(name, 0, e);
	struct inv_node *node = wanted ? inv_find(inv, DEVICE_NBD, wanted->id) : NULL;

	if (wanted && !node)
		node = inv_add_nbd(inv, wanted->id, 0, e);
	device_free(wanted);
	return node ? node->dev : NULL;
}

const struct device *inventory_resolve(struct inventory *inv, const char *name, struct err *e)
{
	struct matches m = {.count = 0};

	drop_unattached(inv);
	inv_settle(inv);
	if (nbd_uri_is(name))
		return resolve_nbd(inv, name, e);
	match_ids(inv, name, &m);
	if (m.count == 0)
		match_pci(inv, name, &m);
	if (m.count == 0 && leads_below("/dev/", name))
		match_add(&m, inv_find_block_path(inv, name));
	if (m.count == 0)
		match_sys(inv, name, &m);
	if (m.count == 0)
		match_controller(inv, strncmp(name, "/dev/", 5) == 0 ? name + 5 : name, &m);
	if (m.count == 0 && inventory_wants_look(name) && match_file(inv, name, &m, e) < 0)
		return NULL;
	if (m.count == 1)
		return m.nodes[0]->dev;
	if (m.count > 1) {
		refuse_ambiguous(name, &m, e);
	} else {
		err_set(e, ERR_NOT_FOUND, "NO-SUCH", "there is no device %s", name);
		err_fix(e, "iovctl list devices shows those there are");
	}
	return NULL;
}

const struct device *inventory_find_volume(struct inventory *inv, const char *fingerprint)
{
	inv_settle(inv);
	for (size_t i = inv_first(inv, DEVICE_BLOCK); i < inv->node_count; i++) {
		const struct device *d = inv->nodes[i]->dev;

		if (d->class != DEVICE_BLOCK)
			break;
		if (d->block.is_identified && strcmp(d->fingerprint, fingerprint) == 0)
			return d;
	}
	return NULL;
}
