/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lib/device.c and its one reader per class (lib/device_CLASS.c) share. Not for others. */
#pragma once

#include "lib/device.h"

/*
 * What a device's identity is made of, in order; the digest is FNV-1a of 128 bits: it tells
 * devices apart, it does not withstand somebody who builds two that agree.
 */
struct fingerprint {
	unsigned __int128 hash;
};

void fingerprint_init(struct fingerprint *f, const char *what);
void fingerprint_add(struct fingerprint *f, const char *text);
void fingerprint_text(const struct fingerprint *f, char text[static 33]);

/* Empty but for its names; syspath may be NULL. NULL without memory. */
struct device *device_new(enum device_class class, const char *id, const char *syspath);

/* Adds an edge, once. False without memory, or past DEVICE_MAX_LOWER. */
bool device_add_lower(struct device *d, enum device_class class, const char *id);

/* The PCI function nearest above `syspath` ("" if none), itself not counted. */
void syspath_pci_parent(const char *syspath, char pci[static PCI_ADDR_MAX]);

/* Takes parent, NUMA node and the edge from the PCI function that carries d, if one does. */
bool device_take_pci_parent(struct device *d, const struct sysroot *root);

/* A copy of formatted text in d->name. */
bool device_set_name(struct device *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Each fills its part of d, whose class, id and syspath are set. 0 or -1 with e set. */
int device_read_pci(
	struct device *d, const struct sysfs_dir *dir, struct pci_names *names, struct err *e);
int device_read_net(struct device *d, const struct sysfs_dir *dir, struct err *e);
int device_read_block(struct device *d, const struct sysfs_dir *dir, struct err *e);
