/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who uses a device: what the host itself needs, and what other VMs have. Found out from the
 * mounts, swaps, routes and relations of devices, each with the file that says so.
 */
#pragma once

#include "lib/device.h"
#include "lib/openers.h"

struct inventory;
struct inv_node;

enum use_kind {
	USE_ROOT,  /* the root file system is on it */
	USE_ROUTE, /* the default route goes through it */
	USE_MOUNT,
	USE_SWAP,
	USE_FILESYSTEM, /* a member of btrfs or of a cache set */
	USE_HOLDER,     /* md, dm, bcache, ... are built on it */
	USE_MASTER,     /* a port of a bridge, a leg of a bond */
	USE_LOOP,       /* a loop device shows the file */
	USE_BUS,        /* the bridge to other devices */
	USE_UNKNOWN,    /* passed through, and to whom is lost (daemon/unknown.h) */
	USE_QUARANTINE, /* nobody's: it has failed (daemon/quarantine.h) */
	USE_VM,         /* attached */
	USE_KIND_COUNT
};

/* As in JSON: "root", "default_route", ... */
extern const char *const use_kind_names[USE_KIND_COUNT];

/* One file says that one device is used. */
struct host_claim {
	enum use_kind kind;
	struct inv_node *node; /* which device it says that of */
	char *what;            /* "/home", "br0", "attachment web1/disk0" */
	char *evidence;        /* "/proc/self/mountinfo: ..." */
	char *vm;              /* of USE_VM; else NULL */
	bool is_untrusted;     /* of USE_VM: it could not be reset */
	bool is_array;         /* of USE_HOLDER: it mirrors, or has parity */
	bool other_name;       /* of USE_VM: the attachment knows the file by another one */
};

/* That a device is in use by a claim: its own, or one of a device that stands on it (or below). */
struct host_use {
	const struct host_claim *claim;
	const struct inv_node *via; /* NULL: its own */
};

/* A disk that is an array's own: what is written to it beneath the array is lost, or harms. */
static inline bool host_use_is_leg(const struct host_use *use)
{
	return use && !use->via && use->claim->is_array;
}

/* Brings the uses of all devices up to date, and tells the watchers what changed before that. */
void host_use_update(struct inventory *inv);

/* Forgets all of them / those that have to do with a node that is about to go. */
void host_use_release(struct inventory *inv);
void host_use_forget(struct inventory *inv, const struct inv_node *node);

/*
 * Processes besides our own that have the device open for writing, by the path of its node, which
 * is given back in `path`. Takes tens of milliseconds; none on a recorded tree.
 */
size_t host_use_openers(const struct inventory *inv, const struct device *d, char *path,
	size_t size, struct opener *found, size_t max);

/*
 * May the device be given away now? Looks at everything again first. 0, or -1 with ERR_REFUSED:
 * code HOST-USE (the host needs it), DEV-TAKEN (a VM has it), DEV-UNKNOWN or DEV-QUARANTINED, with evidence and fix; or
 * ERR_NOT_FOUND if the device is gone. Never waits for the device itself: whether something has a
 * disk for itself that no table shows, only its opening tells (daemon/backing.h). `d` is from inventory_resolve() or inventory_find().
 */
int host_use_check(struct inventory *inv, const struct device *d, struct err *e);

/* The same, where some attachments are no reason: by id, by VM; either may be NULL. */
struct host_use_own {
	const char *attachment, *vm;
	bool moves;   /* nor is another iovd that has it open: the VM comes from there */
	bool unknown; /* neither is that nobody knows who has it */
};

/*
 * What was found out by the last host_use_update(): the worst use by the host (`by_vm`: by a machine)
 * that `own` does not except; NULL if there is none. And that use as a refusal: -1.
 */
const struct host_use *host_use_worst(
	struct inventory *inv, const struct device *d, const struct host_use_own *own, bool by_vm);
int host_use_refuse(const char *id, const struct host_use *use, struct err *e);

/* That nobody can know who uses it: -1, code HOST-USE. */
int host_use_refuse_blind(const char *id, struct err *e);

int host_use_check_own(struct inventory *inv, const struct device *d,
	const struct host_use_own *own, struct err *e);
