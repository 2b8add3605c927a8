/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way that a PCI function's transactions take: the function and the bridges above it, up to the
 * root bus, each with what its configuration space says.
 */
#pragma once

#include "lib/iommu/pci_config.h"
#include "lib/pci.h"
#include "lib/sysfs.h"

#define PCI_PATH_MAX 32 /* functions; there are 256 buses, and nobody builds towers */

struct pci_function {
	char id[PCI_ADDR_MAX]; /* 0000:41:00.0 */
	struct pci_addr addr;
	struct pci_config config; /* port PCI_PORT_UNKNOWN if it cannot be read */
	int64_t group;            /* its IOMMU group; -1: none */
};

struct pci_path {
	struct pci_function at[PCI_PATH_MAX]; /* [0]: the function itself; then upwards */
	size_t count;
};

/* What the configuration space of a function says; has_header is false if that is not known. */
typedef void pci_config_fn(void *arg, const char *id, struct pci_config *c);

/*
 * Reads it from sysfs, waking the device if it sleeps. The kernel lets this wait while the device is
 * being reset, for ever if that hangs: on a live host it is for hands. False if it cannot be read.
 */
bool pci_config_read(const struct sysroot *root, const char *id, struct pci_config *c);

/*
 * The way up, by the links of sysfs, which waits for nothing; `config` is asked for each function.
 * 0, or -1 with e set (ERR_NOT_FOUND, code DEV-GONE, if there is no such function).
 */
int pci_path_read(const struct sysroot *root, const char *id, pci_config_fn *config, void *arg,
	struct pci_path *path, struct err *e);

/* A pci_config_fn that reads at once; `arg` is the sysroot: for recorded trees. */
void pci_config_at_once(void *arg, const char *id, struct pci_config *c);

/* bus<<8 | slot<<3 | function: the requester ID of its transactions. */
uint16_t pci_requester_id(const struct pci_addr *addr);
