/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking PCI functions from the host's drivers for VFIO, a whole IOMMU group at a time, and giving
 * them back. What each had before is in the store before anything is touched, under the name of the
 * *holder* it is taken for: an attachment's id ("a3"), or BINDING_KEPT for what an administrator
 * bound. Several holders may have one device (an attachment of a device that is bound to vfio for
 * good): each gives back what it found, in whatever order they go.
 *
 * binding_take() and binding_give_back() are made to be the run() and undo() of a stage: they may be
 * called again for what was done, half done or not begun, and end by done(), once, from the loop.
 */
#pragma once

#include "lib/iommu/bind.h"
#include "lib/store.h"

#define BINDING_KEPT       "bind" /* the holder of what survives reboots */
#define BINDING_HOLDER_MAX 32
#define BINDING_MAX        64 /* most functions in one transaction */
#define BINDING_ID_MAX     24

struct daemon;
struct json_out;

/* As part of the store's schema. */
#define BINDING_SCHEMA                                                                             \
	"CREATE TABLE binding ("                                                                   \
	"	seq INTEGER PRIMARY KEY,"                                                                \
	"	device TEXT NOT NULL,"                                                                   \
	"	holder TEXT NOT NULL,"                                                                   \
	"	fingerprint TEXT NOT NULL,"                                                              \
	"	driver TEXT NOT NULL,"                                                                   \
	"	old_driver TEXT NOT NULL,"                                                               \
	"	old_override TEXT NOT NULL,"                                                             \
	"	UNIQUE (device, holder));"

struct binding_ask {
	const char *device; /* a PCI function's id in the inventory */
	const char *driver; /* BIND_VFIO, or a driver's name */
	const char *holder;
	const char *vm; /* whose other attachments of the group are no reason to refuse; or NULL */
	bool whole_group; /* its companions are meant, too */
	bool unknown;     /* also one of which nobody knows who has it (daemon/unknown.h) */
};

/* What would be taken: the device first, then its companions. */
struct binding_plan {
	int64_t group; /* -1: none (yet) */
	size_t count;
	struct binding_member {
		char id[BINDING_ID_MAX];
		char driver[BIND_DRIVER_MAX]; /* that it has now; "" for none */
	} members[BINDING_MAX];
};

/*
 * Looks only. -1 with ERR_REFUSED: GRP-NONE (no IOMMU isolates it), GRP-VIABLE (what is in its group
 * cannot be taken from the host), GRP-SPLIT (companions that are not meant, or another VM's),
 * HOST-USE, DEV-TAKEN, DEV-WEDGED; ERR_NOT_FOUND. What `holder`, an attachment, has itself is no
 * reason. A driver that is none of VFIO's is asked for one device, whatever its group.
 */
int binding_plan(
	struct daemon *d, const struct binding_ask *ask, struct binding_plan *plan, struct err *e);

/* Whether that is asked for a VM: then it is the whole group's business. */
bool binding_is_for_vfio(const struct binding_ask *ask);

/* How it ended; e is NULL, or why it failed. */
typedef void binding_done_fn(void *arg, const struct err *e);

/*
 * Checks as binding_plan(), keeps what each member has now, checks again, and gives each of them its
 * driver. After a failure what was done stays until binding_give_back(). 0: done() will be called.
 */
int binding_take(struct daemon *d, const struct binding_ask *ask, binding_done_fn *done, void *arg,
	struct err *e);

/*
 * Everything that the holder has, last first: each gets what it had (its driver and override, or
 * none), unless a later holder still has it, and is forgotten. Of a device that is gone, or where
 * another one sits by now, only the memory goes.
 */
int binding_give_back(
	struct daemon *d, const char *holder, binding_done_fn *done, void *arg, struct err *e);

/* What the store has of one device and holder. */
struct binding_row {
	int64_t seq; /* later holders have greater ones */
	char device[BINDING_ID_MAX];
	char holder[BINDING_HOLDER_MAX];
	char fingerprint[40];
	char driver[BIND_DRIVER_MAX]; /* that it was given */
	struct bind_state old;        /* what it had before */
};

/* False if the holder does not have the device, or the store cannot be read. `row` may be NULL. */
bool binding_find(
	struct daemon *d, const char *device, const char *holder, struct binding_row *row);

/* --- refusals, as others tell them, too: -1 with e set ----------------------------------------- */

struct device;
struct hand_wedge;

#define BINDING_STAYS "stays with the host, at work"

/* PF-IN-USE; 0 if it has no virtual functions. */
int binding_check_functions(const struct device *device, struct err *e);

/* DEV-WEDGED, GRP-NONE, GRP-VIABLE: `why` goes on after the member's name. */
int binding_refuse_wedged(const char *id, const struct hand_wedge *wedge, struct err *e);
int binding_refuse_no_group(const char *id, struct err *e);
int binding_refuse_viable(
	uint32_t group, const char *id, const char *driver, const char *why, struct err *e);

/* GRP-SPLIT: `companions` as binding_name_companion() adds them, one after the other. */
int binding_refuse_split(int64_t group, const char *id, const char *companions, struct err *e);
void binding_name_companion(char *text, size_t size, const char *id, const char *driver);
