/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which driver a PCI function has, and giving it another one, by /sys. Every call here may block for
 * ever in the kernel (a driver that hangs in its probe holds the device's lock; one that lets go
 * waits for its users), so all but the pure ones are for hands (daemon/hands.h), never for the
 * daemon's own thread.
 *
 * Each step looks first and does nothing when it is done already, so that it may be repeated after
 * a crash; and looks again afterwards, so that success is what /sys says, not what write() said.
 */
#pragma once

#include "lib/sysfs.h"

#define BIND_DRIVER_MAX 32     /* a driver's or module's name; the kernel's own limit is less */
#define BIND_VFIO       "vfio" /* instead of a driver's name: the best VFIO driver for the device */
#define BIND_KERNELS    "*"    /* the same: whichever the kernel itself gives it, or none */

/* What /sys says now; "" for none. */
struct bind_state {
	char driver[BIND_DRIVER_MAX];
	char override[BIND_DRIVER_MAX]; /* driver_override: the only driver that may have it */
};

/* 0, or -1: ERR_NOT_FOUND (code DEV-GONE) when there is no such function. */
int bind_look(const struct sysroot *root, const char *id, struct bind_state *now, struct err *e);

/*
 * Makes it as `wanted` says: override first (so that nobody else takes the device in between), then
 * the old driver lets go, then the wanted one is given it, its module loaded if it is not there.
 * For BIND_KERNELS a VFIO driver lets go, and whatever else it has or gets then is right.
 * -1: code BIND-OVERRIDE, BIND-UNBIND, BIND-DRIVER (there is no such driver) or BIND-PROBE (it does
 * not take the device), with the file that was written and what is there instead.
 */
int bind_make(
	const struct sysroot *root, const char *id, const struct bind_state *wanted, struct err *e);

/*
 * The driver that `wanted` names for this device: itself, or for BIND_VFIO the variant whose alias
 * fits the device best, else "vfio-pci". Loads no module. -1 when the name is none.
 */
int bind_choose(const struct sysroot *root, const char *id, const char *wanted,
	char driver[static BIND_DRIVER_MAX], struct err *e);

/* --- pure ------------------------------------------------------------------------------------- */

/* Whether that is a VFIO driver's name: such a device is nobody's but a VMM's. */
bool bind_is_vfio(const char *driver);

/* A name that may stand in driver_override and in a path. */
bool bind_name_is_valid(const char *driver);

/*
 * How well a module's alias fits a device's modalias ("pci:v00008086d..."): the count of its
 * wildcards, less is better; -1 if it does not fit. `alias` begins with "vfio_pci:".
 */
int bind_alias_fits(const char *alias, const char *modalias);
