/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces as VFIO type1 containers.
 *
 * Theory of operation
 *
 * What enters a container is a group as a whole: its node is opened (by one process at a time), its
 * viability asked, it is put into the container, the first group makes the container an IOMMU's,
 * and only then devices can be had from it. From SET_CONTAINER on no device of the group reaches
 * anything that is not mapped. A group leaves with its last device; with the last group the
 * container forgets its IOMMU and everything that was mapped.
 *
 * A device's descriptor holds its group, and that its container, in the kernel: our descriptors of
 * group and container may be closed before it.
 *
 * The container's facts come as a chain of capabilities behind a fixed part. They are from the
 * kernel, but lengths and offsets are looked at as if they were not: a slip would be ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/iommu/iommu_priv.h"
#include "lib/iommu/vfio_uapi.h"

#define CONTAINER_NODE "/dev/vfio/vfio"
#define INFO_MAX       65536

struct type1_group {
	struct list_node node;
	char name[16];
	int fd;
	unsigned int devices;
};

static int type1_open(struct iommu_space *s, struct err *e)
{
	auto_close int fd = open(CONTAINER_NODE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "open " CONTAINER_NODE);
	if (ioctl(fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
		ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1)
		return err_set(e, ERR_FAILED, "IOMMU-NONE",
			CONTAINER_NODE " has no type1 IOMMU of version 2");
	s->fd = steal_fd(&fd);
	return 0;
}

static void type1_close(struct iommu_space *s)
{
	assert(list_is_empty(&s->groups));
	close_fd(&s->fd);
}

/* --- groups ----------------------------------------------------------------------------------- */

static struct type1_group *find_group(struct iommu_space *s, const char *name)
{
	list_for_each (node, &s->groups) {
		struct type1_group *g = list_entry(node, struct type1_group, node);

		if (strcmp(g->name, name) == 0)
			return g;
	}
	return NULL;
}

static int check_viable(const struct iommu_entrant *who, int fd, struct err *e)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};

	if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return err_sys(e, errno, "ask %s for its status", who->nodes->group_node);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return iommu_explain_entry(who, EPERM, "VFIO_GROUP_GET_STATUS", e);
	return 0;
}

/* Puts the open group into the container, and makes that the IOMMU's if it is the first. */
static int join(struct iommu_space *s, const struct iommu_entrant *who, int fd, struct err *e)
{
	int sys;

	if (ioctl(fd, VFIO_GROUP_SET_CONTAINER, &s->fd) < 0)
		return iommu_explain_entry(who, errno, "VFIO_GROUP_SET_CONTAINER", e);
	if (!list_is_empty(&s->groups) || ioctl(s->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0)
		return 0;
	sys = errno;
	ioctl(fd, VFIO_GROUP_UNSET_CONTAINER);
	return iommu_explain_entry(who, sys, "VFIO_SET_IOMMU", e);
}

/* NULL with e set if it could not be put into the container. */
static struct type1_group *open_group(
	struct iommu_space *s, const struct iommu_entrant *who, struct err *e)
{
	auto_close int fd = open(who->nodes->group_node, O_RDWR | O_CLOEXEC);
	auto_free struct type1_group *g = calloc(1, sizeof(*g));

	if (fd < 0) {
		iommu_explain_entry(who, errno, "open", e);
		return NULL;
	}
	if (!g) {
		err_sys(e, ENOMEM, "open %s", who->nodes->group_node);
		return NULL;
	}
	str_copy(g->name, sizeof(g->name), who->nodes->group);
	if (check_viable(who, fd, e) < 0 || join(s, who, fd, e) < 0)
		return NULL;
	g->fd = steal_fd(&fd);
	list_append(&s->groups, &g->node);
	return steal_ptr(&g);
}

static void close_group(struct type1_group *g)
{
	/* Fails while a released descriptor of a device lives: then that keeps the group here. */
	ioctl(g->fd, VFIO_GROUP_UNSET_CONTAINER);
	close_fd(&g->fd);
	list_remove(&g->node);
	free(g);
}

static int type1_enter(
	struct iommu_space *s, const struct iommu_entrant *who, int *fd, struct err *e)
{
	struct type1_group *g = find_group(s, who->nodes->group);

	if (!g)
		g = open_group(s, who, e);
	if (!g)
		return -1;
	*fd = ioctl(g->fd, VFIO_GROUP_GET_DEVICE_FD, who->id);
	if (*fd < 0) {
		iommu_explain_entry(who, errno, "VFIO_GROUP_GET_DEVICE_FD", e);
		if (g->devices == 0)
			close_group(g);
		return -1;
	}
	fcntl(*fd, F_SETFD, FD_CLOEXEC);
	g->devices++;
	return 0;
}

static void type1_leave(struct iommu_space *s, const struct vfio_nodes *nodes)
{
	struct type1_group *g = find_group(s, nodes->group);

	assert(g && g->devices);
	if (--g->devices == 0)
		close_group(g);
	if (list_is_empty(&s->groups))
		s->mapped_bytes = 0;
}

/* --- limits ----------------------------------------------------------------------------------- */

/* The container's facts in as many bytes as they need; to be freed. */
static struct vfio_iommu_type1_info *read_info(int fd, struct err *e)
{
	uint32_t size = sizeof(struct vfio_iommu_type1_info);

	for (int i = 0; i < 2; i++) {
		auto_free struct vfio_iommu_type1_info *info = calloc(1, size);

		if (!info) {
			err_sys(e, ENOMEM, "ask the container for its limits");
			return NULL;
		}
		info->argsz = size;
		if (ioctl(fd, VFIO_IOMMU_GET_INFO, info) < 0) {
			err_sys(e, errno, "ask the container for its limits");
			return NULL;
		}
		if (info->argsz <= size)
			return steal_ptr(&info);
		size = MIN(info->argsz, INFO_MAX);
	}
	err_set(e, ERR_FAILED, "INTERNAL", "the container's limits do not end");
	return NULL;
}

/* The capability with this id and at least `size` bytes, or NULL; `room`: bytes until the end. */
static const void *find_cap(
	const struct vfio_iommu_type1_info *info, unsigned int id, size_t size, size_t *room)
{
	const char *base = (const char *)info;
	uint32_t at = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0;
	uint32_t before = 0;

	while (at > before && at <= info->argsz - sizeof(struct vfio_info_cap_header)) {
		const struct vfio_info_cap_header *header = (const void *)(base + at);

		*room = info->argsz - at;
		if (header->id == id && *room >= size)
			return header;
		before = at;
		at = header->next;
	}
	return NULL;
}

static int read_ranges(
	const struct vfio_iommu_type1_info *info, struct iommu_limits *limits, struct err *e)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	size_t room;

	cap = find_cap(info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, sizeof(*cap), &room);
	if (!cap || cap->nr_iovas > IOMMU_MAX_RANGES ||
		cap->nr_iovas > (room - sizeof(*cap)) / sizeof(cap->iova_ranges[0])) {
		err_set(e, ERR_FAILED, "IOMMU-NONE",
			"this kernel does not say which I/O virtual addresses are valid");
		return err_fix(e, "use Linux 5.4 or later");
	}
	for (uint32_t i = 0; i < cap->nr_iovas; i++)
		limits->ranges[i] =
			(struct iova_range){cap->iova_ranges[i].start, cap->iova_ranges[i].end};
	limits->range_count = cap->nr_iovas;
	return 0;
}

/* What ends with the last byte of all can be mapped, but never unmapped: its end is 0 to type1. */
static void leave_out_the_end(struct iommu_limits *limits)
{
	struct iova_range *last;

	if (limits->range_count == 0)
		return;
	last = &limits->ranges[limits->range_count - 1];
	if (last->last == UINT64_MAX)
		last->last -= limits->granule_bytes;
}

static int type1_limits(struct iommu_space *s, struct iommu_limits *limits, struct err *e)
{
	auto_free struct vfio_iommu_type1_info *info = read_info(s->fd, e);
	const struct vfio_iommu_type1_info_dma_avail *avail;
	size_t room;

	if (!info || read_ranges(info, limits, e) < 0)
		return -1;
	iommu_limits_set_granule(
		limits, info->flags & VFIO_IOMMU_INFO_PGSIZES ? info->iova_pgsizes : 0);
	leave_out_the_end(limits);
	avail = find_cap(info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, sizeof(*avail), &room);
	limits->maps_left = avail ? avail->avail : UINT64_MAX;
	return 0;
}

/* --- mapping ---------------------------------------------------------------------------------- */

static int type1_map(struct iommu_space *s, uint64_t iova, void *memory, uint64_t len_bytes,
	enum iommu_access access)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = (access & IOMMU_READ ? VFIO_DMA_MAP_FLAG_READ : 0) |
			 (access & IOMMU_WRITE ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = len_bytes,
	};

	return ioctl(s->fd, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

static int type1_unmap(struct iommu_space *s, uint64_t iova, uint64_t len_bytes)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = len_bytes,
	};

	if (list_is_empty(&s->groups)) /* it forgot them */
		return 0;
	if (ioctl(s->fd, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0)
		return -errno;
	return unmap.size == len_bytes ? 0 : -ENOENT;
}

/* --- bus reset -------------------------------------------------------------------------------- */

static size_t type1_proofs(struct iommu_space *s, int32_t *fds, size_t max)
{
	size_t count = 0;

	list_for_each (node, &s->groups) {
		if (count < max)
			fds[count++] = list_entry(node, struct type1_group, node)->fd;
	}
	return count;
}

static bool type1_has_companion(struct iommu_space *s, uint32_t group)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", group);
	return find_group(s, name) != NULL;
}

const struct iommu_ops iommu_type1_ops = {
	.name = "type1",
	.open = type1_open,
	.close = type1_close,
	.enter = type1_enter,
	.leave = type1_leave,
	.limits = type1_limits,
	.map = type1_map,
	.unmap = type1_unmap,
	.proofs = type1_proofs,
	.has_companion = type1_has_companion,
};
