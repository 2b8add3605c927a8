/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which devices the host has: the one model of them, kept in memory, brought up to date by what
 * the kernel tells and by looking again. Answers come from the model; who uses a device is found
 * out anew for every answer (daemon/host_use.h).
 *
 * A device handed out stays valid until the model changes, which it does only in calls that take a
 * non-const inventory and in the loop: copy what must last.
 */
#pragma once

#include "lib/device.h"
#include "lib/watch.h"
#include "proto/json.h"

struct inventory;
struct vf_settings;
struct iommu_group;
struct pci_config;

/*
 * Reads all devices below `sysroot`. On the live host (sysroot "/") and with a loop (may be NULL)
 * it then follows hot plug. A device that cannot be read is logged and left out. -1 only where
 * nothing works.
 */
int inventory_new(
	const char *sysroot, struct watch_loop *loop, struct inventory **out, struct err *e);
void inventory_free(struct inventory *inv);

/*
 * Who is told of changes. event: "added", "removed", "changed"; `json`: the device as `list` shows
 * it (when removed: as it was).
 */
typedef void inventory_tell_fn(
	void *arg, const char *event, const char *id, const char *json, size_t len);

void inventory_set_listener(struct inventory *inv, inventory_tell_fn *fn, void *arg);

/* Told when the kernel recovers a PCI function from an error: `what` as in struct uevent. */
typedef void inventory_recovery_fn(void *arg, const char *id, const char *what);

void inventory_set_recovery(struct inventory *inv, inventory_recovery_fn *fn, void *arg);

/*
 * What a hand saw where a path leads, for the resolve that comes next: the inventory itself never
 * waits for a file system. Plain data.
 */
struct inventory_look {
	int error; /* 0, or an errno */
	char real[PATH_MAX];
	struct file_facts facts;
};

/* Whether a name may be that of a file, so that a hand must look first. */
bool inventory_wants_look(const char *name);

/* `look` (NULL: none any more) is where `name` leads; both stay the caller's, until then. */
void inventory_set_look(struct inventory *inv, const char *name, const struct inventory_look *look);

/* The one that is set; NULL: none. Who answers later keeps a copy, and sets it again. */
const struct inventory_look *inventory_get_look(const struct inventory *inv);

/* Who has attached what: for each attachment the source calls visit() once. */
struct inventory_attachment {
	const char *id, *vm;
	const char *device;             /* the device's id */
	uint64_t fs, inode, size_bytes; /* of a file, as it was opened; 0 where nobody knows */
	bool is_untrusted;              /* it could not be reset: quarantined */
	/* Instead of all that: whose it is nobody knows, or it has failed; the evidence. */
	const char *unknown, *quarantined;
};

typedef void inventory_visit_fn(void *visit_arg, const struct inventory_attachment *a);
typedef void inventory_attachments_fn(void *arg, inventory_visit_fn *visit, void *visit_arg);

void inventory_set_attachments(struct inventory *inv, inventory_attachments_fn *fn, void *arg);

/*
 * Whether a device is wedged: something is stuck at it in the kernel. With `o`, and if it is, adds
 * the member "wedge", which says what.
 */
typedef bool inventory_wedged_fn(void *arg, const struct device *d, struct json_out *o);

void inventory_set_wedged(struct inventory *inv, inventory_wedged_fn *fn, void *arg);

/* Adds members to the facts that `show` has of a device: what the store remembers of it. */
typedef void inventory_facts_fn(void *arg, const struct device *d, struct json_out *o);

void inventory_set_facts(struct inventory *inv, inventory_facts_fn *fn, void *arg);

/* The device of this id, or of this node (/dev/sda), became wedged or free: the watchers are told.
 */
void inventory_wedge_changed(struct inventory *inv, const char *object);

/* The process whose children the workers are: what they have open is no use by somebody else. */
void inventory_set_keeper(struct inventory *inv, pid_t keeper);

const struct sysroot *inventory_sysroot(const struct inventory *inv);

/* By its exact id; NULL if there is none. */
const struct device *inventory_find(struct inventory *inv, enum device_class class, const char *id);

/*
 * By any name that people paste: an id, 41:00.0, pci_0000_41_00_0, /dev/sdb, /dev/disk/by-id/...,
 * nvme0 (a controller: its PCI function), /sys/class/net/eth1, an NBD URI, or the absolute path of an image file that a hand looked at (these two
 * are forgotten with the next call). NULL with e set: ERR_NOT_FOUND, or ERR_USAGE when several fit, listing them.
 */
const struct device *inventory_resolve(struct inventory *inv, const char *name, struct err *e);

/*
 * A volume that names itself, by its fingerprint, whatever the kernel calls it now (the first of its
 * paths). NULL if there is none.
 */
const struct device *inventory_find_volume(struct inventory *inv, const char *fingerprint);

/* Looks at the device again, and at all it stands on: for decisions. False if it is gone. */
bool inventory_refresh(struct inventory *inv, const struct device **d);

/* Calls fn for all of a class; it must not change the model. */
typedef void inventory_device_fn(void *arg, const struct device *d);
void inventory_each(
	struct inventory *inv, enum device_class class, inventory_device_fn *fn, void *arg);

/* What `list devices` shows. */
struct inventory_filter {
	const char *class; /* NULL: all */
	const char *vm;    /* only what this VM has; NULL: all */
	bool free_only;
};

/* What a VF is set to now, as inventory_put_device() shows it from now on; id NULL: forget it. */
void inventory_set_vf_settings(
	struct inventory *inv, const char *id, const struct vf_settings *settings);

/* Adds an array of those that pass / one object with all facts. -1 with e set. */
int inventory_put_devices(struct inventory *inv, const struct inventory_filter *filter,
	struct json_out *o, const char *key, struct err *e);
int inventory_put_device(struct inventory *inv, const struct device *d, struct json_out *o,
	const char *key, struct err *e);

/*
 * A group, read again: for decisions. NULL with e set: ERR_NOT_FOUND, or ERR_REFUSED (code GRP-NONE)
 * for a device that is in no group. Of a device that is no PCI function: that of the function it is
 * on. Valid until the model changes.
 */
const struct iommu_group *inventory_group(struct inventory *inv, uint32_t id, struct err *e);
const struct iommu_group *inventory_group_of(
	struct inventory *inv, const struct device *d, struct err *e);

/* How many groups there are, of this type (NULL: of any), as the model has them. */
size_t inventory_count_groups(struct inventory *inv, const char *type);

/* Adds an array of all groups, as the model has them / one, read again, with its streams. */
void inventory_put_groups(struct inventory *inv, struct json_out *o, const char *key);
int inventory_put_group(
	struct inventory *inv, uint32_t id, struct json_out *o, const char *key, struct err *e);

/* Calls fn for all streams of all PCI functions (reads sysfs). It must not change the model. */
struct stream;
typedef void inventory_stream_fn(
	void *arg, const struct device *d, const struct pci_addr *addr, const struct stream *s);
void inventory_each_stream(struct inventory *inv, inventory_stream_fn *fn, void *arg);

/*
 * PCI functions of the live host whose configuration space nobody has read yet: at most `max` ids,
 * valid until the model changes; each is told once. What was read (NULL: it could not be) is handed
 * in by inventory_put_config(). Of a recorded tree everything is read when it is needed.
 */
size_t inventory_unread_configs(struct inventory *inv, const char **ids, size_t max);
void inventory_put_config(struct inventory *inv, const char *id, const struct pci_config *c);
