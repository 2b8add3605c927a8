/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside lib/iommu: a device, shared by the files vfio_*.c. */
#pragma once

#include "lib/iommu/iommu_priv.h"

#define VFIO_HEADER_BYTES 64 /* of config space: ids, command, BARs */

struct vfio_device {
	struct list_node node; /* in space->devices; alone without a space */
	const struct sysroot *root;
	struct pci_addr addr;
	char id[PCI_ADDR_MAX];
	struct vfio_nodes nodes;
	struct iommu_space *space; /* NULL: adopted */
	int fd;
	bool can_reset;
	bool is_vf;
	struct vfio_region_facts regions[VFIO_REGION_COUNT];
	uint64_t offsets[VFIO_REGION_COUNT]; /* of the regions, in fd */
	unsigned int vectors[VFIO_IRQ_COUNT];
	uint8_t header[VFIO_HEADER_BYTES]; /* as the hardware had it when it was opened */
};

/* The header as the hardware has it, past what VFIO keeps up for guests. 0 or -errno. */
int vfio_read_header(const struct vfio_device *d, uint8_t header[static VFIO_HEADER_BYTES]);

/*
 * Judges a header after a reset against the one of before; pure. A VF's header has neither ids nor
 * BARs. 0, or -1 with e set, code DEV-RESET.
 */
int vfio_check_header(const uint8_t before[static VFIO_HEADER_BYTES],
	const uint8_t now[static VFIO_HEADER_BYTES], bool is_vf, struct err *e);
