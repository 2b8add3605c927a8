/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads the configuration spaces of the host's PCI functions for the inventory, by hands: the kernel
 * lets a reader wait while a device is being reset, for ever if that hangs.
 */
#pragma once

#include "lib/iommu/pci_config.h"

struct config_reader;
struct daemon;
struct err;

/* How long a hand may take for a batch, for one function; how long the start waits for the first
 * round. */
struct config_reader_limits {
	uint64_t batch_ms, single_ms, patience_ms;
};

extern const struct config_reader_limits config_reader_default_limits;

struct config_reader *config_reader_new(
	struct daemon *d, const struct config_reader_limits *limits, struct err *e);
void config_reader_free(struct config_reader *r);

/*
 * Begins; done(arg) is called, once, from the loop, when all is read or takes longer than clients
 * should wait (it goes on then). 0 or -1.
 */
int config_reader_begin(struct config_reader *r, void (*done)(void *arg), void *arg, struct err *e);

/* There may be more to read. Nothing happens before config_reader_begin(). NULL is allowed. */
void config_reader_look(struct config_reader *r);

/* What one hand reads. */
#define CONFIG_BATCH 24
struct config_batch {
	struct pci_config configs[CONFIG_BATCH]; /* in the order of the ids */
};

/* The work of such a hand: sysroot, ids with commas between them. */
int config_work_read(char **words, void *result, int *fd, struct err *e);
