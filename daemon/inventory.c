/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The model is an array of nodes in the order of class and name, each with the
 * facts of one device. It is read whole at start. On the live host the kernel's messages then name
 * one device each: that device is read again; its relatives (whose facts change with it, without a
 * message of their own) are marked stale. When there are no more messages to read, the stale ones
 * are read, once each however long the burst was, and the watchers are told what is different. Lost
 * messages mean that everything is read again.
 *
 * Edges between nodes are names in the facts. They are turned into pointers when somebody asks
 * (inv_settle()) and the model has changed since.
 */
#include "daemon/inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/inventory_model.h"
#include "lib/log.h"
#include "lib/netlink.h"

/* --- the array of nodes ----------------------------------------------------------------------- */

static int node_compare(const struct inv_node *node, enum device_class class, const char *id)
{
	if (node->dev->class != class)
		return node->dev->class < class ? -1 : 1;
	return strverscmp(node->dev->id, id);
}

/* Where the device is, or would be. */
static size_t node_place(const struct inventory *inv, enum device_class class, const char *id)
{
	size_t low = 0, high = inv->node_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (node_compare(inv->nodes[middle], class, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t inv_first(const struct inventory *inv, enum device_class class)
{
	return node_place(inv, class, "");
}

struct inv_node *inv_find(struct inventory *inv, enum device_class class, const char *id)
{
	size_t place = node_place(inv, class, id);

	if (place < inv->node_count && node_compare(inv->nodes[place], class, id) == 0)
		return inv->nodes[place];
	return NULL;
}

static bool node_make_room(struct inventory *inv)
{
	size_t room = inv->node_room ? inv->node_room * 2 : 64;
	struct inv_node **nodes;

	if (inv->node_count < inv->node_room)
		return true;
	nodes = reallocarray(inv->nodes, room, sizeof(struct inv_node *));
	if (!nodes)
		return false;
	inv->nodes = nodes;
	nodes = reallocarray(inv->stack, room, sizeof(struct inv_node *));
	if (!nodes)
		return false;
	inv->stack = nodes;
	inv->node_room = room;
	return true;
}

/* A node for a device that has none; owns `dev` from now on. NULL without memory. */
static struct inv_node *node_insert(struct inventory *inv, struct device *dev)
{
	size_t place = node_place(inv, dev->class, dev->id);
	struct inv_node *node = calloc(1, sizeof(*node));

	if (!node || !node_make_room(inv)) {
		free(node);
		return NULL;
	}
	memmove(inv->nodes + place + 1, inv->nodes + place,
		(inv->node_count - place) * sizeof(struct inv_node *));
	inv->nodes[place] = node;
	inv->node_count++;
	inv->generation++;
	node->dev = dev;
	inv_groups_touch(inv, dev);
	return node;
}

static void node_free(struct inv_node *node)
{
	device_free(node->dev);
	free(node->lower);
	free(node->uses);
	free(node->json);
	free(node);
}

void inv_remove(struct inventory *inv, struct inv_node *node)
{
	size_t place = node_place(inv, node->dev->class, node->dev->id);

	host_use_forget(inv, node);
	inv_groups_touch(inv, node->dev);
	inv->node_count--;
	memmove(inv->nodes + place, inv->nodes + place + 1,
		(inv->node_count - place) * sizeof(struct inv_node *));
	inv->generation++;
	node_free(node);
}

/* --- bringing it up to date ------------------------------------------------------------------- */

static char *facts_text(const struct inventory *inv, const struct inv_node *node)
{
	auto_json_out struct json_out o;
	size_t len;

	json_out_init(&o);
	inv_put_json(inv, node, &o, NULL, INV_FACTS);
	return json_out_finish(&o, &len);
}

static bool same_edges(const struct device *a, const struct device *b)
{
	if (a->lower_count != b->lower_count)
		return false;
	for (size_t i = 0; i < a->lower_count; i++)
		if (a->lower[i].class != b->lower[i].class ||
			strcmp(a->lower[i].id, b->lower[i].id) != 0)
			return false;
	return true;
}

/* Puts new facts in the place of old ones. */
static void node_replace(struct inventory *inv, struct inv_node *node, struct device *dev)
{
	auto_free char *before = facts_text(inv, node);
	auto_free char *after = NULL;
	bool edges_differ = !same_edges(node->dev, dev);

	if (node->dev->iommu_group != dev->iommu_group)
		inv_groups_touch(inv, node->dev);
	if (strcmp(node->dev->fingerprint, dev->fingerprint) != 0)
		node->config.has_header = false; /* another device in its place */
	if (!node->config.has_header)
		node->config_asked = false;
	device_free(node->dev);
	node->dev = dev;
	node->stale = false;
	after = facts_text(inv, node);
	if (before && after && strcmp(before, after) == 0 && !edges_differ)
		return;
	inv_groups_touch(inv, node->dev);
	inv->generation++;
	free(node->json);
	node->json = NULL;
	inv_news_add(inv, NEWS_CHANGED, node);
}

static void node_drop(struct inventory *inv, enum device_class class, const char *id)
{
	struct inv_node *node = inv_find(inv, class, id);

	if (!node)
		return;
	inv_news_add(inv, NEWS_REMOVED, node);
	inv_remove(inv, node);
}

struct inv_node *inv_update(struct inventory *inv, enum device_class class, const char *id)
{
	struct err e = ERR_INIT;
	struct device *dev = device_read(inv->root, class, id, inv->names, &e);
	struct inv_node *node;

	if (!dev) {
		if (e.kind != ERR_NOT_FOUND)
			log_warning("inventory: left out: %s", e.msg);
		node_drop(inv, class, id);
		return NULL;
	}
	node = inv_find(inv, class, id);
	if (node) {
		node_replace(inv, node, dev);
		return node;
	}
	node = node_insert(inv, dev);
	if (!node) {
		log_error("inventory: left out: %s: %s", id, strerror(ENOMEM));
		device_free(dev);
		return NULL;
	}
	inv_news_add(inv, NEWS_ADDED, node);
	return node;
}

void inv_refresh_file(struct inventory *inv, struct inv_node *node)
{
	struct file_facts facts;

	if (file_look_now(node->dev->id, &facts) == 0)
		inv_add_file(inv, node->dev->id, &facts, NULL);
}

/* `dev` becomes the node's of this id, or that of a new one; NULL with e set. */
static struct inv_node *inv_put(struct inventory *inv, struct device *dev, struct err *e)
{
	struct inv_node *node = inv_find(inv, dev->class, dev->id);

	if (node) {
		device_free(node->dev);
		node->dev = dev;
		free(node->json);
		node->json = NULL;
		return node;
	}
	node = node_insert(inv, dev);
	if (!node) {
		err_sys(e, ENOMEM, "keep the facts of %.200s", dev->id);
		device_free(dev);
	}
	return node;
}

struct inv_node *inv_add_file(
	struct inventory *inv, const char *path, const struct file_facts *facts, struct err *e)
{
	struct device *dev = device_of_file(path, facts, e);

	return dev ? inv_put(inv, dev, e) : NULL;
}

struct inv_node *inv_add_nbd(
	struct inventory *inv, const char *name, uint64_t size_bytes, struct err *e)
{
	struct device *dev = device_of_nbd(name, size_bytes, e);

	return dev ? inv_put(inv, dev, e) : NULL;
}

/* Reads all of a class; what is in the model and not in the list is dropped. */
static int scan_class(struct inventory *inv, enum device_class class, struct err *e)
{
	auto_names struct name_list names = {0};
	struct sysfs_dir dir;
	int rc;

	sysfs_dir_init(&dir, inv->root, "%s", device_class_dir(class));
	rc = sysfs_list(&dir, &names);
	if (rc == -ENOENT)
		rc = 0; /* a host without PCI */
	if (rc < 0)
		return err_sys(e, -rc, "list the devices of /%s", dir.path);
	for (size_t i = 0; i < names.count; i++)
		inv_update(inv, class, names.names[i]);
	for (size_t i = inv->node_count, n = names.count; i-- > 0;) {
		const struct inv_node *node = inv->nodes[i];

		if (node->dev->class != class)
			continue;
		while (n > 0 && strverscmp(names.names[n - 1], node->dev->id) > 0)
			n--;
		if (n == 0 || strcmp(names.names[n - 1], node->dev->id) != 0)
			node_drop(inv, class, node->dev->id);
	}
	return 0;
}

static int scan(struct inventory *inv, struct err *e)
{
	uint64_t start_ms = now_ms();

	for (unsigned int class = 0; class < DEVICE_CLASS_COUNT; class ++)
		if (device_class_dir((enum device_class) class) &&
			scan_class(inv, (enum device_class) class, e) < 0)
			return -1;
	log_debug("inv", "%zu devices read in %llu ms", inv->node_count,
		(unsigned long long)(now_ms() - start_ms));
	return 0;
}

static void link_node(struct inventory *inv, struct inv_node *node)
{
	const struct device *d = node->dev;

	free(node->lower);
	node->lower_count = 0;
	node->lower = d->lower_count ? calloc(d->lower_count, sizeof(struct inv_node *)) : NULL;
	for (size_t i = 0; node->lower && i < d->lower_count; i++) {
		struct inv_node *lower = inv_find(inv, d->lower[i].class, d->lower[i].id);

		if (lower && lower != node)
			node->lower[node->lower_count++] = lower;
	}
}

void inv_settle(struct inventory *inv)
{
	struct err e = ERR_INIT;

	if (inv->rescan_pending && scan(inv, &e) < 0)
		log_warning("inventory: %s", e.msg);
	/* Backwards: reading a device that has gone takes its node out of the array. */
	for (size_t i = inv->settle_pending ? inv->node_count : 0; i-- > 0;)
		if (i < inv->node_count && inv->nodes[i]->stale)
			inv_update(inv, inv->nodes[i]->dev->class, inv->nodes[i]->dev->id);
	inv->rescan_pending = inv->settle_pending = false;
	if (inv->linked == inv->generation)
		return;
	for (size_t i = 0; i < inv->node_count; i++)
		link_node(inv, inv->nodes[i]);
	inv->linked = inv->generation;
}

/* --- what the kernel tells -------------------------------------------------------------------- */

static void mark_relatives(struct inventory *inv, const struct device *d)
{
	for (size_t i = 0; i < d->lower_count; i++) {
		struct inv_node *lower = inv_find(inv, d->lower[i].class, d->lower[i].id);

		if (!lower || (lower->dev->class == DEVICE_PCI && lower->dev->pci.is_bridge))
			continue;
		inv->settle_pending = lower->stale = true;
	}
}

/* Reads one device again, and remembers to read those that it stood or stands on. */
static void update_with_relatives(struct inventory *inv, enum device_class class, const char *id)
{
	struct inv_node *node = inv_find(inv, class, id);

	if (node)
		mark_relatives(inv, node->dev);
	node = inv_update(inv, class, id);
	if (node)
		mark_relatives(inv, node->dev);
}

static void on_uevent(void *arg, const struct uevent *event)
{
	struct inventory *inv = arg;
	enum device_class class;

	if (!device_class_by_name(event->subsystem, &class) || !device_class_dir(class))
		return;
	log_debug("inv", "uevent: %s", event->devpath);
	if (event->recovery && inv->recovery)
		inv->recovery(inv->recovery_arg, uevent_name(event->devpath), event->recovery);
	if (event->old_devpath)
		update_with_relatives(inv, class, uevent_name(event->old_devpath));
	/* Removal too is found out by looking: what we read is never older than the message. */
	update_with_relatives(inv, class, uevent_name(event->devpath));
}

static void on_link(void *arg, const char *interface)
{
	update_with_relatives(arg, DEVICE_NET, interface);
}

static void on_overrun(void *arg)
{
	struct inventory *inv = arg;

	log_warning("inventory: the kernel's messages came too fast: reading everything again");
	inv->rescan_pending = true;
}

static void on_done(void *arg)
{
	host_use_update(arg);
}

static int follow(struct inventory *inv, struct watch_loop *loop, struct err *e)
{
	const struct netlink_handler handler = {.on_uevent = on_uevent,
		.on_link = on_link,
		.on_overrun = on_overrun,
		.on_done = on_done,
		.arg = inv};

	inv->monitor = netlink_monitor_new(loop, &handler, e);
	return inv->monitor ? 0 : -1;
}

/* --- making and using it ---------------------------------------------------------------------- */

int inventory_new(
	const char *sysroot, struct watch_loop *loop, struct inventory **out, struct err *e)
{
	struct inventory *inv = calloc(1, sizeof(*inv));

	if (!inv)
		return err_sys(e, ENOMEM, "make the inventory");
	inv->names = pci_names_open();
	if (sysroot_open(sysroot, &inv->root, e) < 0)
		goto fail;
	/* First listen, then read: what happens in between is told twice, not never. */
	if (loop && sysroot_is_live(inv->root) && follow(inv, loop, e) < 0)
		goto fail;
	if (scan(inv, e) < 0)
		goto fail;
	inv_write_all(inv);
	inv_groups_settle(inv);
	*out = inv;
	return 0;
fail:
	inventory_free(inv);
	return err_wrap(e, "take the inventory");
}

void inventory_free(struct inventory *inv)
{
	if (!inv)
		return;
	netlink_monitor_free(inv->monitor);
	host_use_release(inv);
	for (size_t i = 0; i < inv->node_count; i++)
		node_free(inv->nodes[i]);
	inv_groups_free(inv);
	inv->tell = NULL;
	free(inv->news);
	free(inv->nodes);
	free(inv->stack);
	pci_names_close(inv->names);
	sysroot_close(inv->root);
	free(inv);
}

void inventory_set_recovery(struct inventory *inv, inventory_recovery_fn *fn, void *arg)
{
	inv->recovery = fn;
	inv->recovery_arg = arg;
}

void inventory_set_listener(struct inventory *inv, inventory_tell_fn *fn, void *arg)
{
	inv->tell = fn;
	inv->tell_arg = arg;
}

void inventory_set_attachments(struct inventory *inv, inventory_attachments_fn *fn, void *arg)
{
	inv->attachments = fn;
	inv->attachments_arg = arg;
}

void inventory_set_wedged(struct inventory *inv, inventory_wedged_fn *fn, void *arg)
{
	inv->wedged = fn;
	inv->wedged_arg = arg;
}

void inventory_set_facts(struct inventory *inv, inventory_facts_fn *fn, void *arg)
{
	inv->facts = fn;
	inv->facts_arg = arg;
}

static bool is_object(const struct device *d, const char *object)
{
	char node[SYSFS_PATH_MAX];

	device_node_path(d, node, sizeof(node));
	return strcmp(d->id, object) == 0 || strcmp(node, object) == 0;
}

void inventory_wedge_changed(struct inventory *inv, const char *object)
{
	for (size_t i = 0; i < inv->node_count; i++) {
		struct inv_node *node = inv->nodes[i];

		if (!is_object(node->dev, object))
			continue;
		free(node->json);
		node->json = NULL;
		inv_news_add(inv, NEWS_CHANGED, node);
	}
	host_use_update(inv);
}

void inventory_set_keeper(struct inventory *inv, pid_t keeper)
{
	inv->keeper = keeper;
}

const struct sysroot *inventory_sysroot(const struct inventory *inv)
{
	return inv->root;
}

void inventory_each(
	struct inventory *inv, enum device_class class, inventory_device_fn *fn, void *arg)
{
	for (size_t i = inv_first(inv, class); i < inv->node_count; i++) {
		if (inv->nodes[i]->dev->class != class)
			break;
		fn(arg, inv->nodes[i]->dev);
	}
}

const struct device *inventory_find(struct inventory *inv, enum device_class class, const char *id)
{
	const struct inv_node *node = inv_find(inv, class, id);

	return node ? node->dev : NULL;
}

/* --- looking again ---------------------------------------------------------------------------- */

void inv_walk(struct inventory *inv, struct inv_node *node, inv_walk_fn *fn, void *arg)
{
	size_t count = 0;

	/* A node is put on the stack once, so that there is room for all, and a loop (which a
	 * recorded tree may have) ends. */
	inv->walks++;
	node->visited = inv->walks;
	inv->stack[count++] = node;
	while (count) {
		node = inv->stack[--count];
		fn(node, arg);
		for (size_t i = 0; i < node->lower_count; i++) {
			struct inv_node *lower = node->lower[i];

			if (lower->visited == inv->walks)
				continue;
			lower->visited = inv->walks;
			inv->stack[count++] = lower;
		}
	}
}

static void mark_stale(struct inv_node *node, void *arg)
{
	(void)arg;
	node->stale = true;
}

struct search {
	const struct inv_node *wanted;
	bool found;
};

static void compare_node(struct inv_node *node, void *arg)
{
	struct search *search = arg;

	search->found = search->found || node == search->wanted;
}

bool inv_stands_on(struct inventory *inv, struct inv_node *upper, const struct inv_node *lower)
{
	struct search search = {.wanted = lower};

	inv_walk(inv, upper, compare_node, &search);
	return search.found;
}

bool inventory_refresh(struct inventory *inv, const struct device **d)
{
	enum device_class class = (*d)->class;
	auto_free char *id = strdup((*d)->id);
	struct inv_node *node;

	inv_settle(inv);
	node = id ? inv_find(inv, class, id) : NULL;
	if (node && class == DEVICE_FILE) {
		inv_refresh_file(inv, node);
	} else if (node && class != DEVICE_NBD) {
		for (size_t i = 0; i < inv->node_count; i++)
			if (inv_stands_on(inv, inv->nodes[i], node))
				inv->nodes[i]->stale = true;
		inv_walk(inv, node, mark_stale, NULL);
		inv->settle_pending = true;
		inv_settle(inv);
		node = inv_find(inv, class, id);
	}
	*d = node ? node->dev : NULL;
	return node;
}
