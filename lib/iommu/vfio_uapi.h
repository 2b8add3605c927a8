/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's VFIO and iommufd interfaces, also where the headers that we are built with are older
 * than the kernel we run on: iommufd came with Linux 6.2, VFIO's character devices with 6.6.
 */
#pragma once

#include <linux/vfio.h>
#include <sys/ioctl.h>

#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#else

#define IOMMU_DESTROY          _IO(';', 0x80)
#define IOMMU_IOAS_ALLOC       _IO(';', 0x81)
#define IOMMU_IOAS_IOVA_RANGES _IO(';', 0x84)
#define IOMMU_IOAS_MAP         _IO(';', 0x85)
#define IOMMU_IOAS_UNMAP       _IO(';', 0x86)

/* Each begins with its own size. */
struct iommu_destroy {
	uint32_t size;
	uint32_t id;
};

struct iommu_ioas_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_ioas_id;
};

struct iommu_iova_range {
	uint64_t start __attribute__((aligned(8)));
	uint64_t last __attribute__((aligned(8))); /* inside */
};

struct iommu_ioas_iova_ranges {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t num_iovas; /* in: room; out: how many there are */
	uint32_t __reserved;
	uint64_t allowed_iovas __attribute__((aligned(8))); /* address of iommu_iova_range[] */
	uint64_t out_iova_alignment __attribute__((aligned(8)));
};

#define IOMMU_IOAS_MAP_FIXED_IOVA 1
#define IOMMU_IOAS_MAP_WRITEABLE  2
#define IOMMU_IOAS_MAP_READABLE   4

struct iommu_ioas_map {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	uint32_t __reserved;
	uint64_t user_va __attribute__((aligned(8)));
	uint64_t length __attribute__((aligned(8)));
	uint64_t iova __attribute__((aligned(8)));
};

struct iommu_ioas_unmap {
	uint32_t size;
	uint32_t ioas_id;
	uint64_t iova __attribute__((aligned(8)));
	uint64_t length __attribute__((aligned(8))); /* out: what was unmapped */
};

#endif

#ifndef VFIO_DEVICE_BIND_IOMMUFD

#define VFIO_DEVICE_BIND_IOMMUFD      _IO(VFIO_TYPE, VFIO_BASE + 18)
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)

struct vfio_device_bind_iommufd {
	uint32_t argsz;
	uint32_t flags;
	int32_t iommufd;
	uint32_t out_devid;
};

struct vfio_device_attach_iommufd_pt {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pt_id; /* of an address space or a page table */
};

#endif

/*
 * A bus reset's companion is named by group or, for a device that was opened by its character
 * device, by what iommufd knows of it; older headers have only the group in these 32 bits.
 */
#ifndef VFIO_PCI_HOT_RESET_FLAG_DEV_ID
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID       (1 << 0)
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED (1 << 1)
#define VFIO_PCI_DEVID_NOT_OWNED             (-1)
#endif

/* The sizes are the kernel's. */
static_assert(sizeof(struct iommu_ioas_alloc) == 12, "as the kernel has it");
static_assert(sizeof(struct iommu_ioas_iova_ranges) == 32, "as the kernel has it");
static_assert(sizeof(struct iommu_ioas_map) == 40, "as the kernel has it");
static_assert(sizeof(struct iommu_ioas_unmap) == 24, "as the kernel has it");
static_assert(sizeof(struct vfio_device_bind_iommufd) == 16, "as the kernel has it");
static_assert(sizeof(struct vfio_device_attach_iommufd_pt) >= 12, "later ones have more");
