/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams: the IDs by which an IOMMU knows the transactions of a PCI function. There is one for the
 * function itself, and one for each bridge above it that puts an ID of its own on what passes. On
 * Arm, firmware says which StreamID a requester ID becomes.
 */
#pragma once

#include "lib/iommu/pci_path.h"

#define STREAM_MAX 8 /* of one function */

struct stream {
	uint16_t requester;     /* bus<<8 | slot<<3 | function */
	char via[PCI_ADDR_MAX]; /* the bridge whose ID it is; "": the function's own */
	bool has_stream_id;
	uint32_t stream_id;
	char source[16]; /* where the StreamID is from: "IORT", "iommu-map" */
};

struct streams {
	struct stream at[STREAM_MAX];
	size_t count;
	/* Function numbers that the function uses besides its own, as IDs of further requests; 0:
	 * none (phantom functions are off). */
	unsigned int phantoms;
};

/* Reads what firmware says; a host without it (x86) has no StreamIDs. */
void streams_read(const struct sysroot *root, const struct pci_path *path, struct streams *s);

/*
 * What the IOMMU does with a group's streams, from the type of its default domain as the kernel
 * shows it: "translate", "bypass" or "block"; NULL where the kernel does not tell.
 */
const char *stream_context(const char *type);
