/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces of devices: what a device's DMA reaches is what is mapped in the space that the
 * device is in, and nothing else. A space is made empty, and as long as nothing is mapped in it
 * its devices are *blocked*: their DMA goes nowhere. Two kernel interfaces do this, VFIO's type1
 * containers and iommufd; which one serves a device is found out by trying (iommu_probe()).
 *
 * A space is used by one thread at a time. Devices enter by vfio_device_open() (vfio_device.h),
 * buffers by dma_map.h; what is below is for those who choose the addresses themselves.
 */
#pragma once

#include "lib/err.h"
#include "lib/iommu/iova.h"
#include "lib/pci.h"
#include "lib/sysfs.h"

enum iommu_api { IOMMU_TYPE1, IOMMU_IOMMUFD, IOMMU_API_COUNT };

/* "type1", "iommufd". */
extern const char *const iommu_api_names[IOMMU_API_COUNT];

/*
 * The interface by which `addr`, bound to its VFIO driver, can be had here: iommufd if /dev/iommu
 * makes address spaces and the function has a character device of its own, else type1 if
 * /dev/vfio/vfio has version 2 of it. Opens both, and no device. -1 with e set:
 * ERR_REFUSED with GRP-NONE (in no group; or in one of the no-IOMMU mode, which isolates nothing),
 * DEV-NOT-VFIO (no VFIO driver has it); ERR_FAILED, code IOMMU-NONE: neither interface works.
 */
int iommu_probe(const struct sysroot *root, const struct pci_addr *addr, enum iommu_api *api,
	struct err *e);

#define IOMMU_MAX_RANGES 64 /* the kernel shows a handful */

/* What can be mapped. Of an empty space with no device yet: nothing. */
struct iommu_limits {
	struct iova_range
		ranges[IOMMU_MAX_RANGES]; /* by address; reserved regions are not in them */
	size_t range_count;
	uint64_t granule_bytes; /* smallest page: addresses and lengths are multiples of it */
	uint64_t page_sizes;    /* a bit for each size known to be possible; the granule's always */
	uint64_t maps_left; /* iommu_map() calls that the kernel allows yet; UINT64_MAX: no limit */
};

/* May the device read, write? */
enum iommu_access { IOMMU_READ = 1, IOMMU_WRITE = 2, IOMMU_READ_WRITE = 3 };

struct iommu_space;

/* A space with nothing mapped and no device in it. */
int iommu_space_new(enum iommu_api api, struct iommu_space **out, struct err *e);

/*
 * No device may be in it any more; what was mapped is so no longer (with type1 from the moment on
 * that the last device left). NULL is allowed.
 */
void iommu_space_free(struct iommu_space *space);

static inline void iommu_space_free_p(struct iommu_space **space)
{
	iommu_space_free(*space);
}
#define auto_space __attribute__((cleanup(iommu_space_free_p)))

enum iommu_api iommu_space_api(const struct iommu_space *space);

/* Stays valid; its content is renewed when a device enters, and by iommu_space_refresh(). */
const struct iommu_limits *iommu_space_limits(const struct iommu_space *space);
int iommu_space_refresh(struct iommu_space *space, struct err *e);

/* The addresses that are free in the space, for dma_map.h. NULL before the first device. */
struct iova_alloc *iommu_space_iova(struct iommu_space *space);

/* By iommu_map(), in effect. */
uint64_t iommu_space_mapped_bytes(const struct iommu_space *space);

/*
 * Makes `len_bytes` of this process's memory at `memory` visible to the space's devices at `iova`;
 * the kernel pins it (memlock.h). All three are multiples of the granule. The addresses need not
 * come from iommu_space_iova(), but then must be taken there first if it is used as well.
 * -1 with e set, nothing mapped: IOVA-RANGE (not, or not wholly, in one valid range), IOVA-BUSY
 * (something is mapped there), IOVA-LIMIT (the kernel's number of mappings is reached), MEMLOCK.
 */
int iommu_map(struct iommu_space *space, uint64_t iova, void *memory, uint64_t len_bytes,
	enum iommu_access access, struct err *e);

/* The reverse, of one or several whole iommu_map() calls. When it returns, no DMA arrives there. */
int iommu_unmap(struct iommu_space *space, uint64_t iova, uint64_t len_bytes, struct err *e);
