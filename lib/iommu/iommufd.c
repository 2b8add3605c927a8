/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces as iommufd's IOAS objects, one per open of /dev/iommu.
 *
 * Theory of operation
 *
 * A device's character device is opened, bound to the iommufd (from then on its group belongs to
 * that and its DMA goes nowhere) and attached to the address space. The descriptor of the device
 * holds the iommufd, and that all that is in it: closing the latter does not set the device free.
 * Memory that is mapped is counted for the user.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/iommu/iommu_priv.h"
#include "lib/iommu/vfio_uapi.h"

#define IOMMUFD_NODE "/dev/iommu"

static int iommufd_open(struct iommu_space *s, struct err *e)
{
	struct iommu_ioas_alloc alloc = {.size = sizeof(alloc)};
	auto_close int fd = open(IOMMUFD_NODE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "open " IOMMUFD_NODE);
	if (ioctl(fd, IOMMU_IOAS_ALLOC, &alloc) < 0)
		return err_sys(e, errno, "make an address space with " IOMMUFD_NODE);
	s->ioas = alloc.out_ioas_id;
	s->fd = steal_fd(&fd);
	return 0;
}

static void iommufd_close(struct iommu_space *s)
{
	struct iommu_destroy destroy = {.size = sizeof(destroy), .id = s->ioas};

	/* Fails while a released descriptor of a device lives: then that keeps the space. */
	ioctl(s->fd, IOMMU_DESTROY, &destroy);
	close_fd(&s->fd);
}

static int iommufd_enter(
	struct iommu_space *s, const struct iommu_entrant *who, int *out, struct err *e)
{
	struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = s->fd};
	struct vfio_device_attach_iommufd_pt attach = {.argsz = sizeof(attach), .pt_id = s->ioas};
	auto_close int fd = open(who->nodes->cdev_node, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return iommu_explain_entry(who, errno, "open", e);
	if (ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) < 0)
		return iommu_explain_entry(who, errno, "VFIO_DEVICE_BIND_IOMMUFD", e);
	if (ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) < 0)
		return iommu_explain_entry(who, errno, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", e);
	*out = steal_fd(&fd);
	return 0;
}

static void iommufd_leave(struct iommu_space *s, const struct vfio_nodes *nodes)
{
	(void)s;
	(void)nodes;
}

static int iommufd_limits(struct iommu_space *s, struct iommu_limits *limits, struct err *e)
{
	struct iommu_iova_range ranges[IOMMU_MAX_RANGES];
	struct iommu_ioas_iova_ranges ask = {
		.size = sizeof(ask),
		.ioas_id = s->ioas,
		.num_iovas = IOMMU_MAX_RANGES,
		.allowed_iovas = (uintptr_t)ranges,
	};

	if (ioctl(s->fd, IOMMU_IOAS_IOVA_RANGES, &ask) < 0)
		return err_sys(e, errno, "ask for the valid I/O virtual addresses (%u ranges)",
			ask.num_iovas);
	limits->range_count = MIN(ask.num_iovas, IOMMU_MAX_RANGES);
	for (size_t i = 0; i < limits->range_count; i++)
		limits->ranges[i] = (struct iova_range){ranges[i].start, ranges[i].last};
	iommu_limits_set_granule(limits, ask.out_iova_alignment);
	limits->maps_left = UINT64_MAX;
	return 0;
}

static int iommufd_map(struct iommu_space *s, uint64_t iova, void *memory, uint64_t len_bytes,
	enum iommu_access access)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA |
			 (access & IOMMU_READ ? IOMMU_IOAS_MAP_READABLE : 0) |
			 (access & IOMMU_WRITE ? IOMMU_IOAS_MAP_WRITEABLE : 0),
		.ioas_id = s->ioas,
		.user_va = (uintptr_t)memory,
		.length = len_bytes,
		.iova = iova,
	};

	return ioctl(s->fd, IOMMU_IOAS_MAP, &map) < 0 ? -errno : 0;
}

static int iommufd_unmap(struct iommu_space *s, uint64_t iova, uint64_t len_bytes)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = s->ioas,
		.iova = iova,
		.length = len_bytes,
	};

	if (ioctl(s->fd, IOMMU_IOAS_UNMAP, &unmap) < 0)
		return -errno;
	return unmap.length == len_bytes ? 0 : -ENOENT;
}

/* A device that is bound to our iommufd is proof by itself. */
static size_t iommufd_proofs(struct iommu_space *s, int32_t *fds, size_t max)
{
	(void)s;
	(void)fds;
	(void)max;
	return 0;
}

/* An id that the kernel gave out, or 0: all of that group's are ours, or nobody's. */
static bool iommufd_has_companion(struct iommu_space *s, uint32_t devid)
{
	(void)s;
	return devid != (uint32_t)VFIO_PCI_DEVID_NOT_OWNED;
}

const struct iommu_ops iommu_iommufd_ops = {
	.name = "iommufd",
	.open = iommufd_open,
	.close = iommufd_close,
	.enter = iommufd_enter,
	.leave = iommufd_leave,
	.limits = iommufd_limits,
	.map = iommufd_map,
	.unmap = iommufd_unmap,
	.proofs = iommufd_proofs,
	.has_companion = iommufd_has_companion,
};
