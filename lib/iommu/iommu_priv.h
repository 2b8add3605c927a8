/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside lib/iommu: an address space, and the table that each kernel interface fills. The table
 * does system calls and says what failed in a sentence; what is common (valid ranges, granule,
 * locked memory, counts) is iommu.c's.
 */
#pragma once

#include "lib/iommu/iommu.h"
#include "lib/iommu/vfio_device.h"
#include "lib/list.h"

/* A function about to enter a space. */
struct iommu_entrant {
	const struct sysroot *root;
	const char *id;
	const struct vfio_nodes *nodes;
};

struct iommu_ops {
	const char *name;
	int (*open)(struct iommu_space *s, struct err *e);
	void (*close)(struct iommu_space *s);

	/* The function's descriptor, with the function in the space. */
	int (*enter)(
		struct iommu_space *s, const struct iommu_entrant *who, int *fd, struct err *e);
	/* Its descriptor is closed, or somebody else's. */
	void (*leave)(struct iommu_space *s, const struct vfio_nodes *nodes);
	/* Fills all of it; there is a function in the space. */
	int (*limits)(struct iommu_space *s, struct iommu_limits *limits, struct err *e);

	/* 0 or -errno. */
	int (*map)(struct iommu_space *s, uint64_t iova, void *memory, uint64_t len_bytes,
		enum iommu_access access);
	int (*unmap)(struct iommu_space *s, uint64_t iova, uint64_t len_bytes);

	/* The descriptors that prove to the kernel that the devices on a bus are ours: how many. */
	size_t (*proofs)(struct iommu_space *s, int32_t *fds, size_t max);
	/* Whether a companion, as the kernel names it, is in the space. */
	bool (*has_companion)(struct iommu_space *s, uint32_t group_or_devid);
};

extern const struct iommu_ops iommu_type1_ops, iommu_iommufd_ops;

struct iommu_space {
	enum iommu_api api;
	const struct iommu_ops *ops;
	int fd;                   /* the container, or the iommufd */
	uint32_t ioas;            /* iommufd: the address space in it */
	struct list_node groups;  /* type1: those in the container */
	struct list_node devices; /* vfio_device.c's, all that are in the space */
	struct iommu_limits limits;
	struct iova_alloc *iova;
	uint64_t mapped_bytes;
};

/* A space that is driven by another table: for tests without an IOMMU. */
int iommu_space_new_with(
	enum iommu_api api, const struct iommu_ops *ops, struct iommu_space **out, struct err *e);

/* By vfio_device.c: the function enters, and the space learns its limits; the function has left. */
int iommu_space_enter(
	struct iommu_space *s, const struct iommu_entrant *who, int *fd, struct err *e);
void iommu_space_leave(struct iommu_space *s, const struct vfio_nodes *nodes);

/* Why the kernel did not let a function in, told from errno and the state of its group. */
int iommu_explain_entry(const struct iommu_entrant *who, int sys, const char *step, struct err *e);

/* The numbers of limits->page_sizes and granule from the smallest size that the IOMMU has. */
void iommu_limits_set_granule(struct iommu_limits *limits, uint64_t page_sizes);
