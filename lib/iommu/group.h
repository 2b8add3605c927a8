/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IOMMU groups, as /sys/kernel/iommu_groups has them. Facts only; read anew each time. */
#pragma once

#include "lib/err.h"
#include "lib/sysfs.h"

#define IOMMU_MAX_REGIONS 64 /* of one group; the kernel shows a handful */

/* Bus addresses that cannot be mapped. */
struct iommu_region {
	uint64_t start, end; /* the last byte */
	char type[24];       /* "msi", "reserved", "direct", ... */
};

struct iommu_member {
	char id[40];     /* 0000:41:00.0 */
	char driver[32]; /* "" for none */
	/* Its driver uses the device for the host: as long as it does, the group is nobody else's.
	 */
	bool blocks;
};

struct iommu_group {
	uint32_t id;
	char type[24];  /* "DMA", "DMA-FQ", "identity", "blocked"; "" if it cannot be read */
	char iommu[40]; /* "dmar0"; "" if nobody says */
	struct iommu_member *members;
	size_t member_count;
	struct iommu_region *regions;
	size_t region_count;
};

/* The numbers of all groups, sorted, as names. -errno; -ENOENT where there is no IOMMU. */
int iommu_group_list(const struct sysroot *root, struct name_list *ids);

/* 0, or -1 with e set: ERR_NOT_FOUND (code "NO-SUCH") if there is no such group. */
int iommu_group_read(
	const struct sysroot *root, const char *id, struct iommu_group *group, struct err *e);
void iommu_group_release(struct iommu_group *group);

/*
 * The kernel's rule for handing a group to user space (since Linux 5.18): each member has no driver,
 * or one that leaves the device's DMA to others (VFIO's, pci-stub, and pcieport, so that ports and
 * bridges do not matter; shpchp on a bridge does).
 */
bool iommu_group_is_viable(const struct iommu_group *group);

/* 0, or -1 with ERR_REFUSED, code GRP-VIABLE: which member, which driver, what to do. */
int iommu_group_check_viable(const struct iommu_group *group, struct err *e);

/* That rule for one driver's name; "": no driver. */
bool iommu_driver_blocks(const char *driver);

/* NULL if it is none. */
const struct iommu_member *iommu_group_member(const struct iommu_group *group, const char *id);

/*
 * Codec for `reserved_regions`: lines of first address, last address and type. Lines that make no
 * sense are passed over, as is what does not fit. Writes terminators into the text; returns how
 * many were found.
 */
size_t iommu_parse_regions(char *text, struct iommu_region *regions, size_t max);
