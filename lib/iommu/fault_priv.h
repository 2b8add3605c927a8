/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of lib/iommu/fault*.c: whose a line is, and how its words are read. */
#pragma once

#include "lib/iommu/fault.h"

typedef enum fault_line fault_read_fn(struct fault_reader *r, const char *line, struct fault *f);

fault_read_fn fault_vtd_read, fault_amdvi_read, fault_smmuv3_read, fault_virtio_read,
	fault_pci_read;

/* What follows the first `word` in the text; NULL if it is not there. */
const char *fault_after(const char *text, const char *word);

/* The number right here, in base 10 or 16 (with or without 0x); what follows it, or NULL. */
const char *fault_number(const char *text, int base, uint64_t *value);

/* The number behind `key`; false if there is none. */
bool fault_key(const char *text, const char *key, int base, uint64_t *value);

/* The PCI address right here, with or without its segment; false if there is none. */
bool fault_device(const char *text, struct fault *f);

/* The same of the device that the kernel says the line for: "vfio-pci 0000:00:10.0: ...". */
bool fault_device_of_line(const char *line, struct fault *f);

/* The word before `end`, which is in the line, or follows it: "virtio0" of "... virtio0: page". */
void fault_unit_before(const char *line, const char *end, struct fault *f);
