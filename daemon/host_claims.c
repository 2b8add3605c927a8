/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Collects what each source says of who uses a device: the first step of daemon/host_use.c. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "daemon/inventory_model.h"
#include "lib/log.h"
#include "lib/nbd_uri.h"
#include "lib/procfs.h"

#define TABLE_MAX_BYTES ((size_t)16 << 20) /* of a table in /proc */
#define MOUNTS_MAX      16                 /* claims for one device: bind mounts can be thousands */

/* --- claims ----------------------------------------------------------------------------------- */

void host_claims_free(struct host_claim *claims, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(claims[i].what);
		free(claims[i].evidence);
		free(claims[i].vm);
	}
	free(claims);
}

static struct host_claim *claim_new(struct inventory *inv)
{
	if (inv->claim_count == inv->claim_room) {
		size_t room = inv->claim_room ? inv->claim_room * 2 : 64;
		struct host_claim *claims =
			reallocarray(inv->claims, room, sizeof(struct host_claim));

		if (!claims)
			return NULL;
		inv->claims = claims;
		inv->claim_room = room;
	}
	inv->claims[inv->claim_count] = (struct host_claim){0};
	return &inv->claims[inv->claim_count];
}

/* NULL if the claim could not be kept; then nothing is known for sure. */
static struct host_claim *claim_add(struct inventory *inv, enum use_kind kind,
	struct inv_node *node, const char *what, const char *fmt, ...) PRINTF_LIKE(5, 6);

static struct host_claim *claim_add(struct inventory *inv, enum use_kind kind,
	struct inv_node *node, const char *what, const char *fmt, ...)
{
	struct host_claim *c = claim_new(inv);
	va_list ap;
	int len;

	if (!c) {
		inv->blind = true;
		return NULL;
	}
	va_start(ap, fmt);
	len = vasprintf(&c->evidence, fmt, ap);
	va_end(ap);
	c->what = strdup(what);
	if (len < 0 || !c->what) {
		free(c->what);
		if (len >= 0)
			free(c->evidence);
		inv->blind = true;
		return NULL;
	}
	text_clean(c->what);
	text_clean(c->evidence);
	c->kind = kind;
	c->node = node;
	inv->claim_count++;
	return c;
}

/* --- claims: what /proc says ------------------------------------------------------------------ */

/* A table, or NULL. A kernel without IPv6 lacks one; any other reason leaves us blind. */
static char *read_table(struct inventory *inv, const char *path)
{
	char *text = NULL;
	int rc = sysroot_read_file(inv->root, path, TABLE_MAX_BYTES, &text);

	if (rc < 0) {
		log_debug("inv", "/%s: %s", path, strerror(-rc));
		inv->blind = inv->blind || rc != -ENOENT;
	}
	return text;
}

static struct inv_node *mounted_node(struct inventory *inv, const struct mountinfo_row *row)
{
	struct inv_node *node = NULL;

	if (row->major) /* 0: a file system with no device, or with several */
		node = inv_find_block_number(inv, makedev(row->major, row->minor));
	if (!node && strncmp(row->source, "/dev/", 5) == 0)
		node = inv_find_block_path(inv, row->source);
	return node;
}

static void collect_mount(struct inventory *inv, const char *table, const struct mountinfo_row *row)
{
	bool is_root = strcmp(row->mount_point, "/") == 0;
	struct inv_node *node = mounted_node(inv, row);

	if (!node || (node->mounts >= MOUNTS_MAX && !is_root))
		return;
	node->mounts++;
	claim_add(inv, is_root ? USE_ROOT : USE_MOUNT, node, row->mount_point,
		"/%s: %u:%u %s on %s type %s", table, row->major, row->minor, row->source,
		row->mount_point, row->fstype);
}

/* False if the table cannot be read. */
static bool collect_mounts(struct inventory *inv, const char *table)
{
	auto_free char *text = NULL;
	struct mountinfo_row row;
	char *cursor;

	if (sysroot_read_file(inv->root, table, TABLE_MAX_BYTES, &text) < 0)
		return false;
	cursor = text;
	while (mountinfo_next(&cursor, &row))
		collect_mount(inv, table, &row);
	return true;
}

/* The node of the file that a path leads to, if somebody named that file (by whatever path). */
static struct inv_node *find_file(struct inventory *inv, const char *path)
{
	for (size_t i = inv->node_count; i-- > 0 && inv->nodes[i]->dev->class >= DEVICE_FILE;)
		if (device_is_file(inv->nodes[i]->dev, path))
			return inv->nodes[i];
	return NULL;
}

static void collect_swaps(struct inventory *inv)
{
	auto_free char *text = read_table(inv, "proc/swaps");
	struct swaps_row row;
	char *cursor = text;

	while (text && swaps_next(&cursor, &row)) {
		struct inv_node *node =
			row.is_file ? find_file(inv, row.path) : inv_find_block_path(inv, row.path);

		if (node)
			claim_add(inv, USE_SWAP, node, row.path, "/proc/swaps: %s", row.path);
	}
}

static void collect_routes(struct inventory *inv, const char *table,
	bool (*next)(char **cursor, struct route_row *row), const char *what)
{
	auto_free char *text = read_table(inv, table);
	struct route_row row;
	char *cursor = text;

	while (text && next(&cursor, &row)) {
		struct inv_node *node =
			row.is_default ? inv_find(inv, DEVICE_NET, row.interface) : NULL;

		if (node)
			claim_add(inv, USE_ROUTE, node, what, "/%s: default by %s", table,
				row.interface);
	}
}

/* --- claims: what /sys says ------------------------------------------------------------------- */

static bool is_array(struct inventory *inv, const char *name)
{
	const struct inv_node *node = inv_find(inv, DEVICE_BLOCK, name);
	struct device_redundancy r = {0};

	if (node)
		device_redundancy_read(inv->root, node->dev, &r);
	return r.kind == REDUNDANCY_MIRROR || r.kind == REDUNDANCY_RAID;
}

static void collect_block(struct inventory *inv, struct inv_node *node)
{
	const struct device *d = node->dev;

	for (size_t i = 0; i < d->block.holders.count; i++) {
		const char *holder = d->block.holders.names[i];

		struct host_claim *c = claim_add(inv, USE_HOLDER, node, holder,
			"/sys/class/block/%s/holders/%s", d->id, holder);

		if (c)
			c->is_array = is_array(inv, holder);
	}
	if (d->block.loop_file) {
		struct inv_node *file = find_file(inv, d->block.loop_file);

		if (file)
			claim_add(inv, USE_LOOP, file, d->id,
				"/sys/class/block/%s/loop/backing_file: %s", d->id,
				d->block.loop_file);
	}
}

static void collect_relations(struct inventory *inv)
{
	for (size_t i = 0; i < inv->node_count; i++) {
		struct inv_node *node = inv->nodes[i];
		const struct device *d = node->dev;

		if (d->class == DEVICE_BLOCK)
			collect_block(inv, node);
		else if (d->class == DEVICE_NET && d->net.master[0])
			claim_add(inv, USE_MASTER, node, d->net.master,
				"/sys/class/net/%s/master: %s", d->id, d->net.master);
		else if (d->class == DEVICE_PCI && d->pci.is_bridge)
			claim_add(inv, USE_BUS, node, "the devices behind it",
				"/sys/bus/pci/devices/%s/class: 0x%06x", d->id, d->pci.class_code);
	}
}

/* The members of mounted btrfs file systems, of which a mount names but one. */
static void collect_btrfs(struct inventory *inv)
{
	auto_names struct name_list systems = {0};
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, inv->root, "sys/fs/btrfs");
	sysfs_list(&dir, &systems);
	for (size_t i = 0; i < systems.count; i++) {
		auto_names struct name_list members = {0};

		sysfs_dir_init(&dir, inv->root, "sys/fs/btrfs/%s/devices", systems.names[i]);
		sysfs_list(&dir, &members);
		for (size_t j = 0; j < members.count; j++) {
			struct inv_node *node = inv_find(inv, DEVICE_BLOCK, members.names[j]);

			if (node)
				claim_add(inv, USE_FILESYSTEM, node, systems.names[i], "/%s/%s",
					dir.path, members.names[j]);
		}
	}
}

/* A member of a cache set: "cache0 -> ../../../devices/.../block/sdc/bcache". */
static void collect_bcache_member(
	struct inventory *inv, const struct sysfs_dir *set, const char *set_name, const char *link)
{
	char target[SYSFS_PATH_MAX];
	struct inv_node *node;
	char *end;

	if (sysfs_read_link(set, link, target, sizeof(target)) < 0)
		return;
	end = strrchr(target, '/');
	if (!end || strcmp(end, "/bcache") != 0)
		return;
	*end = '\0';
	end = strrchr(target, '/');
	node = end ? inv_find(inv, DEVICE_BLOCK, end + 1) : NULL;
	if (node)
		claim_add(inv, USE_FILESYSTEM, node, set_name, "/%s/%s", set->path, link);
}

static void collect_bcache(struct inventory *inv)
{
	auto_names struct name_list sets = {0};
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, inv->root, "sys/fs/bcache");
	sysfs_list(&dir, &sets);
	for (size_t i = 0; i < sets.count; i++) {
		auto_names struct name_list links = {0};

		sysfs_dir_init(&dir, inv->root, "sys/fs/bcache/%s", sets.names[i]);
		sysfs_list(&dir, &links);
		for (size_t j = 0; j < links.count; j++)
			collect_bcache_member(inv, &dir, sets.names[i], links.names[j]);
	}
}

/* --- claims: what iovd itself gave away ------------------------------------------------------- */

/* As it is, if that can be seen without waiting; else as it was when it was opened. */
static struct inv_node *attached_file(struct inventory *inv, const struct inventory_attachment *a)
{
	struct inv_node *node = inv_find(inv, DEVICE_FILE, a->device);
	struct file_facts facts;

	if (node) {
		inv_refresh_file(inv, node);
		return inv_find(inv, DEVICE_FILE, a->device);
	}
	if (file_look_now(a->device, &facts) < 0)
		facts = (struct file_facts){.fs = a->fs,
			.inode = a->inode,
			.size_bytes = a->size_bytes,
			.is_regular = true};
	return inv_add_file(inv, a->device, &facts, NULL);
}

static struct inv_node *attached_nbd(struct inventory *inv, const struct inventory_attachment *a)
{
	struct inv_node *node = inv_find(inv, DEVICE_NBD, a->device);

	if (node && node->dev->nbd.size_bytes == a->size_bytes)
		return node;
	return inv_add_nbd(inv, a->device, a->size_bytes, NULL);
}

static struct inv_node *attached_node(struct inventory *inv, const struct inventory_attachment *a)
{
	const char *device = a->device;

	if (device[0] == '/')
		return attached_file(inv, a);
	if (nbd_uri_is(device))
		return attached_nbd(inv, a);
	for (unsigned int class = 0; class < DEVICE_CLASS_COUNT; class ++) {
		struct inv_node *node = inv_find(inv, (enum device_class) class, device);

		if (node)
			return node;
	}
	return NULL;
}

static void claim_attached(
	struct inventory *inv, struct inv_node *node, const struct inventory_attachment *a)
{
	char what[128];
	struct host_claim *c;

	snprintf(what, sizeof(what), "attachment %s", a->id);
	c = claim_add(inv, USE_VM, node, what, "iovctl show %s", a->id);
	if (!c)
		return;
	c->other_name = node->dev->class == DEVICE_FILE && strcmp(node->dev->id, a->device) != 0;
	c->is_untrusted = a->is_untrusted;
	c->vm = strdup(a->vm);
	if (!c->vm)
		inv->blind = true;
}

/* The same file by other names, and loop devices that show it, are the same bytes. */
static void claim_attached_file(
	struct inventory *inv, const struct inv_node *file, const struct inventory_attachment *a)
{
	for (size_t i = inv_first(inv, DEVICE_BLOCK); i < inv->node_count; i++) {
		struct inv_node *node = inv->nodes[i];
		const char *loop_file =
			node->dev->class == DEVICE_BLOCK ? node->dev->block.loop_file : NULL;

		if (node != file && (device_is_file(node->dev, a->device) ||
					    (loop_file && device_is_file(file->dev, loop_file))))
			claim_attached(inv, node, a);
	}
}

static void collect_attachment(void *arg, const struct inventory_attachment *a)
{
	struct inventory *inv = arg;
	struct inv_node *node = attached_node(inv, a);

	if (!node)
		return;
	if (a->unknown) {
		claim_add(inv, USE_UNKNOWN, node, node->dev->driver, "%s", a->unknown);
		return;
	}
	if (a->quarantined) {
		claim_add(inv, USE_QUARANTINE, node, node->dev->id, "%s", a->quarantined);
		return;
	}
	claim_attached(inv, node, a);
	if (node->dev->class == DEVICE_FILE)
		claim_attached_file(inv, node, a);
}

/* --- all of them ------------------------------------------------------------------------------ */

static int claim_order(const void *a, const void *b)
{
	const struct host_claim *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return strverscmp(x->what, y->what);
}

void host_claims_collect(struct inventory *inv)
{
	for (size_t i = 0; i < inv->node_count; i++)
		inv->nodes[i]->mounts = 0;
	if (inv->attachments) /* first: they may add files, which others then claim */
		inv->attachments(inv->attachments_arg, collect_attachment, inv);
	if (!collect_mounts(inv, "proc/self/mountinfo"))
		inv->blind = true;
	collect_mounts(inv, "proc/1/mountinfo"); /* ours may be private */
	collect_swaps(inv);
	collect_routes(inv, "proc/net/route", route_next, "IPv4");
	collect_routes(inv, "proc/net/ipv6_route", ipv6_route_next, "IPv6");
	collect_relations(inv);
	collect_btrfs(inv);
	collect_bcache(inv);
	if (inv->claim_count)
		qsort(inv->claims, inv->claim_count, sizeof(*inv->claims), claim_order);
}
