/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/iommu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/iommu/group.h"
#include "lib/iommu/iommu_priv.h"
#include "lib/iommu/memlock.h"

const char *const iommu_api_names[IOMMU_API_COUNT] = {
	[IOMMU_TYPE1] = "type1",
	[IOMMU_IOMMUFD] = "iommufd",
};

static const struct iommu_ops *const api_ops[IOMMU_API_COUNT] = {
	[IOMMU_TYPE1] = &iommu_type1_ops,
	[IOMMU_IOMMUFD] = &iommu_iommufd_ops,
};

/* --- a space ---------------------------------------------------------------------------------- */

int iommu_space_new_with(
	enum iommu_api api, const struct iommu_ops *ops, struct iommu_space **out, struct err *e)
{
	auto_free struct iommu_space *s = calloc(1, sizeof(*s));

	if (!s)
		return err_sys(e, ENOMEM, "make an address space");
	s->api = api;
	s->ops = ops;
	s->fd = -1;
	list_init(&s->groups);
	list_init(&s->devices);
	if (ops->open(s, e) < 0)
		return -1;
	*out = steal_ptr(&s);
	return 0;
}

int iommu_space_new(enum iommu_api api, struct iommu_space **out, struct err *e)
{
	assert(api < IOMMU_API_COUNT);
	return iommu_space_new_with(api, api_ops[api], out, e);
}

void iommu_space_free(struct iommu_space *space)
{
	if (!space)
		return;
	assert(list_is_empty(&space->devices));
	space->ops->close(space);
	iova_alloc_free(space->iova);
	free(space);
}

enum iommu_api iommu_space_api(const struct iommu_space *space)
{
	return space->api;
}

const struct iommu_limits *iommu_space_limits(const struct iommu_space *space)
{
	return &space->limits;
}

struct iova_alloc *iommu_space_iova(struct iommu_space *space)
{
	return space->iova;
}

uint64_t iommu_space_mapped_bytes(const struct iommu_space *space)
{
	return space->mapped_bytes;
}

/* --- limits ----------------------------------------------------------------------------------- */

/* The processor's pages are pinned: so nothing smaller than those, whatever the IOMMU could. */
void iommu_limits_set_granule(struct iommu_limits *limits, uint64_t page_sizes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), smallest = page_sizes & -page_sizes;

	limits->granule_bytes = MAX(page, smallest);
	limits->page_sizes = (page_sizes & -limits->granule_bytes) | limits->granule_bytes;
}

/* The free addresses follow the limits. */
static int follow_limits(struct iommu_space *s, const struct iommu_limits *now)
{
	if (s->iova)
		return iova_set_valid(s->iova, now->ranges, now->range_count);
	s->iova = iova_alloc_new(now->ranges, now->range_count, now->granule_bytes);
	return s->iova ? 0 : -ENOMEM;
}

int iommu_space_refresh(struct iommu_space *space, struct err *e)
{
	struct iommu_limits now = {0};

	if (space->ops->limits(space, &now, e) < 0)
		return -1;
	if (follow_limits(space, &now) < 0)
		return err_sys(e, ENOMEM, "note the valid I/O virtual addresses");
	space->limits = now;
	return 0;
}

/* --- devices come and go ---------------------------------------------------------------------- */

int iommu_space_enter(
	struct iommu_space *s, const struct iommu_entrant *who, int *fd, struct err *e)
{
	if (s->ops->enter(s, who, fd, e) < 0)
		return -1;
	if (iommu_space_refresh(s, e) < 0) {
		close_fd(fd);
		s->ops->leave(s, who->nodes);
		return -1;
	}
	return 0;
}

void iommu_space_leave(struct iommu_space *s, const struct vfio_nodes *nodes)
{
	s->ops->leave(s, nodes);
}

#define ANY_ERRNO 0

/* What the kernel means by an errno at a step. The first row that matches counts. */
static const struct entry_rule {
	const char *step;
	int sys;
	const char *code, *what, *fix;
} entry_rules[] = {
	{"open", EBUSY, "DEV-TAKEN", "another process has it open",
		"end the virtual machine or program that uses it"},
	{"open", ENOENT, "DEV-NOT-VFIO", "it has no VFIO node (any more)", "bind it to vfio-pci"},
	{"VFIO_GROUP_GET_DEVICE_FD", ENODEV, "DEV-NOT-VFIO", "no VFIO driver has it",
		"bind it to vfio-pci"},
	{"VFIO_DEVICE_BIND_IOMMUFD", EINVAL, "DEV-TAKEN", "another process has it open",
		"end the virtual machine or program that uses it"},
	{"VFIO_DEVICE_BIND_IOMMUFD", EBUSY, "DEV-TAKEN",
		"another process has a member of its group open",
		"end the virtual machine or program that uses it"},
	{"VFIO_DEVICE_BIND_IOMMUFD", EPERM, "IRQ-UNSAFE", "the host does not remap interrupts",
		"switch interrupt remapping on in the firmware"},
	{"VFIO_DEVICE_ATTACH_IOMMUFD_PT", EADDRINUSE, "IOVA-RANGE",
		"what is mapped lies where the device has reserved addresses", "unmap it first"},
	{"VFIO_GROUP_GET_STATUS", EPERM, "GRP-VIABLE", "the kernel says that it is not viable",
		"bind all its devices to vfio-pci or to no driver"},
	{"VFIO_SET_IOMMU", EPERM, "IRQ-UNSAFE", "the host does not remap interrupts",
		"switch interrupt remapping on in the firmware"},
	{"VFIO_GROUP_SET_CONTAINER", EPERM, "IRQ-UNSAFE", "the host does not remap interrupts",
		"switch interrupt remapping on in the firmware"},
	{"VFIO_DEVICE_ATTACH_IOMMUFD_PT", ANY_ERRNO, "GRP-IOMMU",
		"its IOMMU does not take this address space", "give it one of its own"},
	{"VFIO_GROUP_SET_CONTAINER", ANY_ERRNO, "GRP-IOMMU",
		"its IOMMU does not take this address space", "give it one of its own"},
	{"VFIO_SET_IOMMU", ANY_ERRNO, "GRP-IOMMU", "its IOMMU does not take this address space",
		"see the kernel's log"},
};

/* Another member that VFIO has, so that somebody may hold it. */
static bool has_vfio_companion(const struct iommu_group *group, const char *id)
{
	for (size_t i = 0; i < group->member_count; i++)
		if (strstr(group->members[i].driver, "vfio") &&
			strcmp(group->members[i].id, id) != 0)
			return true;
	return false;
}

/*
 * What the group tells better than errno does: a driver at work for the host (then e is set), and
 * that the EPERM of iommufd may mean a companion in another's hands.
 */
static bool explain_by_group(
	const struct iommu_entrant *who, const char *step, int *sys, struct err *e)
{
	struct iommu_group group;
	bool found;

	if (iommu_group_read(who->root, who->nodes->group, &group, NULL) < 0)
		return false;
	found = iommu_group_check_viable(&group, e) < 0;
	if (*sys == EPERM && strcmp(step, "VFIO_DEVICE_BIND_IOMMUFD") == 0 &&
		has_vfio_companion(&group, who->id))
		*sys = EBUSY;
	iommu_group_release(&group);
	return found;
}

int iommu_explain_entry(const struct iommu_entrant *who, int sys, const char *step, struct err *e)
{
	bool by_open = strcmp(step, "open") == 0;

	if (!by_open && explain_by_group(who, step, &sys, e))
		return err_wrap(e, "open %s", who->id);
	for (size_t i = 0; i < ARRAY_SIZE(entry_rules); i++) {
		const struct entry_rule *r = &entry_rules[i];

		if (strcmp(r->step, step) != 0 || (r->sys != sys && r->sys != ANY_ERRNO))
			continue;
		err_set(e, ERR_REFUSED, r->code, "open %s: %s", who->id, r->what);
		err_evidence(e, "group %s, %s: %s", who->nodes->group, step, strerror(sys));
		return err_fix(e, "%s", r->fix);
	}
	return err_sys(e, sys, "open %s (group %s): %s", who->id, who->nodes->group, step);
}

/* --- mapping ---------------------------------------------------------------------------------- */

static int check_place(
	const struct iommu_space *s, uint64_t iova, uint64_t memory, uint64_t len, struct err *e)
{
	const struct iommu_limits *l = &s->limits;

	if (iova_in_ranges(l->ranges, l->range_count, iova, len) &&
		((iova | memory | len) & (l->granule_bytes - 1)) == 0)
		return 0;
	err_set(e, ERR_REFUSED, "IOVA-RANGE",
		"map 0x%llx bytes at I/O virtual address 0x%llx: not whole pages of one valid "
		"range",
		(unsigned long long)len, (unsigned long long)iova);
	return err_evidence(e, "%zu valid ranges, pages of %llu bytes", l->range_count,
		(unsigned long long)l->granule_bytes);
}

static int explain_map(
	const struct iommu_space *s, uint64_t iova, uint64_t len, int sys, struct err *e)
{
	struct memlock m;

	switch (sys) {
	case EEXIST:
	case EADDRINUSE:
		return err_set(e, ERR_REFUSED, "IOVA-BUSY",
			"map 0x%llx bytes at I/O virtual address 0x%llx: something is mapped there",
			(unsigned long long)len, (unsigned long long)iova);
	case ENOSPC:
		return err_set(e, ERR_REFUSED, "IOVA-LIMIT",
			"map 0x%llx bytes: the kernel allows no more mappings",
			(unsigned long long)len);
	case ENOMEM:
		if (memlock_read(s->api, s, len, &m, e) < 0)
			return -1;
		return memlock_refused(&m, e);
	default:
		return err_sys(e, sys, "map 0x%llx bytes at I/O virtual address 0x%llx",
			(unsigned long long)len, (unsigned long long)iova);
	}
}

int iommu_map(struct iommu_space *space, uint64_t iova, void *memory, uint64_t len_bytes,
	enum iommu_access access, struct err *e)
{
	struct memlock m;
	int rc;

	if (check_place(space, iova, (uintptr_t)memory, len_bytes, e) < 0 ||
		memlock_read(space->api, space, len_bytes, &m, e) < 0 || memlock_check(&m, e) < 0)
		return -1;
	rc = space->ops->map(space, iova, memory, len_bytes, access);
	if (rc < 0)
		return explain_map(space, iova, len_bytes, -rc, e);
	space->mapped_bytes += len_bytes;
	return 0;
}

int iommu_unmap(struct iommu_space *space, uint64_t iova, uint64_t len_bytes, struct err *e)
{
	int rc = space->ops->unmap(space, iova, len_bytes);

	if (rc < 0)
		return err_sys(e, -rc, "unmap 0x%llx bytes at I/O virtual address 0x%llx",
			(unsigned long long)len_bytes, (unsigned long long)iova);
	space->mapped_bytes -= MIN(len_bytes, space->mapped_bytes);
	return 0;
}
