/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of the inventory: what daemon/inventory*.c and daemon/host_use.c share. Not for
 * others. */
#pragma once

#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "lib/vf_settings.h"
#include "lib/iommu/acs.h"
#include "lib/iommu/pci_config.h"

/* One device in the model, with what was found out about it. */
struct inv_node {
	struct device *dev;
	bool stale;              /* a relative changed: to be read again soon */
	struct inv_node **lower; /* dev->lower as nodes; those that exist */
	size_t lower_count;
	uint64_t visited; /* the last walk that came by */

	/* its configuration space (PCI): has been asked for, and what it says */
	bool config_asked;
	struct pci_config config;

	/* who uses it, worst first, and the digest by which a change is seen */
	struct host_use *uses;
	size_t use_count, use_room;
	unsigned int mounts; /* claims of its own, while they are collected */
	uint64_t use_digest;
	const struct host_claim *attachment; /* its own, NULL if it is not attached */

	char *json; /* as `list` shows it; NULL when it must be written again */
	size_t json_len;
};

enum inv_event { NEWS_ADDED, NEWS_CHANGED, NEWS_REMOVED };

/* A change that the watchers have not been told of yet. */
struct inv_news {
	enum inv_event event;
	enum device_class class;
	char *id;
	char *json; /* of a device that is gone, as it was; else NULL */
	size_t len;
};

struct inv_group;

struct inventory {
	struct sysroot *root;
	struct pci_names *names;
	inventory_tell_fn *tell;
	void *tell_arg;
	inventory_recovery_fn *recovery;
	void *recovery_arg;

	struct inv_node **nodes; /* in the order of class and name */
	size_t node_count, node_room;
	struct inv_node **stack; /* of a walk; as large as nodes */
	uint64_t generation;     /* counts changes of the model */
	uint64_t linked;         /* the generation that the edges are of */
	uint64_t walks;

	struct inv_group **groups; /* by number (daemon/inventory_groups.c) */
	size_t group_count;
	bool reasons_stale; /* why they are as they are is to be found out again */

	struct host_claim *claims;
	size_t claim_count, claim_room;
	uint64_t claims_digest;
	bool blind; /* who uses what could not be found out in full */

	inventory_attachments_fn *attachments;
	void *attachments_arg;
	const char *look_name; /* of the look that is there for the next resolve */
	const struct inventory_look *look;
	inventory_facts_fn *facts;
	void *facts_arg;
	inventory_wedged_fn *wedged;
	void *wedged_arg;
	pid_t keeper; /* what it and its children have open is ours; 0: none */

	struct inv_news *news;
	size_t news_count, news_room;

	char vf[DEVICE_NAME_MAX]; /* whose settings are known just now; "": none */
	struct vf_settings vf_settings;

	struct netlink_monitor *monitor;
	bool settle_pending, rescan_pending;
};

struct inv_node *inv_find(struct inventory *inv, enum device_class class, const char *id);

/* Where the devices of a class begin; they lie together. */
size_t inv_first(const struct inventory *inv, enum device_class class);

/*
 * Reads the device again: adds, replaces or drops its node, which is news if anything is
 * different. NULL if there is no such device (now).
 */
struct inv_node *inv_update(struct inventory *inv, enum device_class class, const char *id);

void inv_remove(struct inventory *inv, struct inv_node *node);

/* A node for an image file, with these facts; NULL with e set. */
struct inv_node *inv_add_file(
	struct inventory *inv, const char *path, const struct file_facts *facts, struct err *e);

/* A node for an NBD volume (device_of_nbd()); NULL with e set. */
struct inv_node *inv_add_nbd(
	struct inventory *inv, const char *name, uint64_t size_bytes, struct err *e);

/* The facts of a file's node as they are by now, if they can be had without waiting. */
void inv_refresh_file(struct inventory *inv, struct inv_node *node);

/* Notes a change / tells the watchers all that was noted. */
void inv_news_add(struct inventory *inv, enum inv_event event, const struct inv_node *node);
void inv_news_tell(struct inventory *inv);

/* Does what uevents left to do later, and makes the edges those of this generation. */
void inv_settle(struct inventory *inv);

/*
 * Calls fn for the node and for all that it stands on, each once, as of the last inv_settle(). fn
 * must not change the model.
 */
typedef void inv_walk_fn(struct inv_node *node, void *arg);
void inv_walk(struct inventory *inv, struct inv_node *node, inv_walk_fn *fn, void *arg);
bool inv_stands_on(struct inventory *inv, struct inv_node *upper, const struct inv_node *lower);

/* The block device of this number, or that a path names ("/dev/mapper/root"); NULL if none. */
struct inv_node *inv_find_block_number(struct inventory *inv, dev_t number);
struct inv_node *inv_find_block_path(struct inventory *inv, const char *path);

/* How much of a device: the keys of `list`, also its `facts`, also who has it open just now. */
enum inv_detail { INV_LIST, INV_FACTS, INV_ALL };

void inv_put_json(const struct inventory *inv, const struct inv_node *node, struct json_out *o,
	const char *key, enum inv_detail detail);

/* A pci_config_fn; `arg` is the inventory. */
void inv_config_of(void *arg, const char *id, struct pci_config *c);

/* Brings the groups up to date; forgets what is known of a device's group; frees all. */
void inv_groups_settle(struct inventory *inv);
void inv_groups_touch(struct inventory *inv, const struct device *d);
void inv_groups_free(struct inventory *inv);

/* Why the group of this number is as it is, after inv_groups_settle(): how many reasons, of `max`. */
size_t inv_group_reasons(
	const struct inventory *inv, uint32_t id, struct acs_finding *found, size_t max);

/* Adds the members "streams" and "why" of a PCI function, after inv_groups_settle(). */
void inv_put_group_facts(const struct inventory *inv, const struct device *d, struct json_out *o);

/* Writes the text of every device ahead of the first request. */
void inv_write_all(struct inventory *inv);

/* Fills inv->claims, which is empty, worst first; sets inv->blind when something is amiss. */
void host_claims_collect(struct inventory *inv);
void host_claims_free(struct host_claim *claims, size_t count);
