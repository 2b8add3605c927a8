/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * May a PCI function be passed through, with what else, and what has to be done for it? Decided
 * before anything is touched, from what /sys shows and what the host and other VMs use.
 */
#pragma once

#include "lib/device.h"
#include "proto/json.h"

struct attach_wish;
struct attachment_spec;
struct daemon;
struct inventory;

/*
 * Fills in the wish's companions, type of group and the like, or refuses: GRP-NONE, GRP-VIABLE,
 * GRP-SPLIT (unless allowed), GRP-TYPE, HOST-USE, DEV-TAKEN, PF-IN-USE, DEV-NO-RESET (unless
 * allowed).
 */
int passthrough_choose(const struct device *device, struct attach_wish *w, struct err *e);

/*
 * The gap (daemon/attach_passthrough.c) is closed by the group's default domain, in which nothing
 * may be mapped. 0: it is so, or will be so once the type is changed, which spec->...group_type then
 * says; -1: GRP-TYPE.
 */
int passthrough_check_type(
	struct daemon *d, uint32_t group, struct attachment_spec *spec, struct err *e);

/* The lines of --dry-run: functions, reset, group, node, locked memory. */
void passthrough_put_plan(const struct attach_wish *w, struct json_out *o);

/*
 * DEV-NO-RESET: it was given although it cannot be reset, and the host has not been rebooted since.
 */
int passthrough_check_boot(struct daemon *d, const struct attachment_spec *spec, struct err *e);

/* passthrough_reset_way() of a function that is given with `given`, itself among them. */
void passthrough_find_reset(const struct inventory *inv, const struct device *device,
	const char *const *given, size_t given_count, char way[static 16]);

/* --- pure ------------------------------------------------------------------------------------- */

/*
 * How a function will be reset: "flr" and the like (the first of sysfs `reset_method`), "bus" when
 * it has none of its own, and the functions on its bus, all of which are among `given`, lie below a
 * bridge; "" if not at all. `methods` is reset_method's text; `on_bus`: ids, NULL: on a root bus.
 */
const char *passthrough_reset_way(const char *methods, const char *const *on_bus, size_t bus_count,
	const char *const *given, size_t given_count, char way[static 16]);

/* Whether it is known what the IOMMU does with a group of this type while nobody has it open. */
bool passthrough_type_is_known(const char *type);

/* Refusals: -1 with e set to DEV-NO-RESET / GRP-TYPE. */
int passthrough_refuse_no_reset(const char *id, struct err *e);
int passthrough_refuse_type(uint32_t group, const char *type, struct err *e);
