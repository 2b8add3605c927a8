/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec: which StreamID an Arm SMMU sees for a PCI function, as the firmware tells it: in ACPI's
 * table IORT, or in the device tree's property iommu-map. Both come from outside: every offset and
 * count is checked against the bytes there are.
 */
#pragma once

#include "lib/util.h"

/* What an ID becomes. */
struct stream_map {
	uint32_t stream_id;
	uint64_t smmu; /* IORT: base address of the SMMU; device tree: its phandle */
};

/* 0: mapped; -ENOENT: the table says nothing of it; -EINVAL: the table makes no sense. */
int iort_map(const uint8_t *table, size_t len, uint32_t segment, uint16_t requester,
	struct stream_map *map);

/* `mask`: of iommu-map-mask, UINT32_MAX where there is none. The same results. */
int iommu_map_map(const uint8_t *cells, size_t len, uint32_t mask, uint16_t requester,
	struct stream_map *map);
