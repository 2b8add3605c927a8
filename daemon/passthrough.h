/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions that are given as they are (path `passthrough`), apart from the stages of giving
 * and taking them (daemon/attach_passthrough.c): whose their nodes are, who opens them, and what a
 * hand does to them between two owners.
 */
#pragma once

#include "daemon/registry.h"
#include "lib/openers.h"

struct daemon;
struct passthrough;

/* --- the gate: who may open it ---------------------------------------------------------------- */

/*
 * Gives the nodes of all its functions, and that of their group, to `owner` and nobody else. A
 * function that no VFIO driver has, has none: that is an error, or with `owner` NULL (root's
 * again, because it is being taken back) nothing to do.
 */
int passthrough_set_owner(
	struct daemon *d, const struct attachment *a, const char *owner, struct err *e);

/* Whether a VFIO driver has any of its functions. */
bool passthrough_is_bound(struct daemon *d, const struct attachment *a);

/* What the IOMMU does with a group by default, now; "" if it cannot be read. */
void passthrough_read_type(struct daemon *d, uint32_t group, char *type, size_t size);

/* A process besides ours that has one of its nodes open; false if there is none. */
bool passthrough_find_opener(struct daemon *d, const struct attachment *a, struct opener *found,
	char *node, size_t size);

/* ERR_BUSY, with the process as evidence, while a VMM has it open. */
int passthrough_check_idle(struct daemon *d, const struct attachment *a, struct err *e);

/* --- looking after it ------------------------------------------------------------------------- */

struct passthrough *passthrough_new(struct daemon *d, struct err *e);
void passthrough_free(struct passthrough *p);

/*
 * Opens and closes of its nodes count from here on: to be called just before the gate opens. A
 * VMM that opens it makes it active, and when the last one has closed it, or ended, attach_renew()
 * is called; while an operation is at it, both wait for passthrough_look().
 */
void passthrough_listen(struct passthrough *p, struct attachment *a);

/* They do not: to be called when the gate is shut. */
void passthrough_deafen(struct passthrough *p, const struct attachment *a);

/*
 * Looks who has it open, when an operation is over or the daemon has started. True: a VMM has it,
 * and it is active; or had it, and attach_renew() was called. False: nobody.
 */
bool passthrough_look(struct passthrough *p, struct attachment *a);

void passthrough_unwatch(struct passthrough *p, const struct attachment *a);

/* A device was plugged in or pulled out, or is another one: those that have it look. NULL is allowed. */
void passthrough_news(struct passthrough *p, const char *id);

/* attach_renew() is due in a while: the last one did not work out. */
void passthrough_try_again(struct passthrough *p, const struct attachment *a);

/* --- by a hand -------------------------------------------------------------------------------- */

/*
 * The work "vfio-reset FUNCTIONS HOW MS SERIAL", FUNCTIONS being ids with commas between: opens them all
 * in an address space with nothing mapped (as soon as nobody else has them open, for up to MS
 * milliseconds), resets each, alone or by its bus, and checks that it came back as it should:
 * config space readable, bus master off, BARs sane. HOW is "reset", or "keep": one that has no
 * reset is only checked. SERIAL is the serial number that the first one must have, and has told before
 * ("": none is known); the result is the one it has. ERR_HOST_CHANGED (DEV-GONE): it is another
 * device, and nothing was done to it. ERR_BUSY (DEV-TAKEN): it is open; ERR_REFUSED (DEV-NO-RESET); ERR_FAILED
 * (DEV-RESET).
 */
struct passthrough_identity {
	char serial[PASSTHROUGH_SERIAL_SIZE]; /* "0x..."; "": it has none */
};
int passthrough_work_reset(char **words, void *result, int *fd, struct err *e);
