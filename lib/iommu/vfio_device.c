/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/iommu/vfio_device.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/cleanup.h"
#include "lib/iommu/vfio_device_priv.h"
#include "lib/iommu/vfio_uapi.h"

#define PCI_COMMAND        0x04
#define PCI_COMMAND_MASTER 0x0004u

static_assert((int)VFIO_REGION_BAR0 == (int)VFIO_PCI_BAR0_REGION_INDEX, "as the kernel counts");
static_assert((int)VFIO_REGION_ROM == (int)VFIO_PCI_ROM_REGION_INDEX, "as the kernel counts");
static_assert((int)VFIO_REGION_CONFIG == (int)VFIO_PCI_CONFIG_REGION_INDEX, "as the kernel counts");
static_assert((int)VFIO_IRQ_INTX == (int)VFIO_PCI_INTX_IRQ_INDEX, "as the kernel counts");
static_assert((int)VFIO_IRQ_REQUEST == (int)VFIO_PCI_REQ_IRQ_INDEX, "as the kernel counts");

/* --- open and close --------------------------------------------------------------------------- */

static void learn_region(struct vfio_device *d, uint32_t index)
{
	struct vfio_region_info info = {.argsz = sizeof(info), .index = index};

	if (ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
		return;
	d->offsets[index] = info.offset;
	d->regions[index] = (struct vfio_region_facts){
		.size_bytes = info.size,
		.readable = info.flags & VFIO_REGION_INFO_FLAG_READ,
		.writable = info.flags & VFIO_REGION_INFO_FLAG_WRITE,
		.mappable = info.flags & VFIO_REGION_INFO_FLAG_MMAP,
	};
}

static void learn_vectors(struct vfio_device *d, uint32_t index)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};

	if (ioctl(d->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) == 0 &&
		(info.flags & VFIO_IRQ_INFO_EVENTFD))
		d->vectors[index] = info.count;
}

/* All that does not change while the function is open. */
static int learn(struct vfio_device *d, struct err *e)
{
	struct vfio_device_info info = {.argsz = sizeof(info)};
	struct sysfs_dir dir;
	int rc;

	if (ioctl(d->fd, VFIO_DEVICE_GET_INFO, &info) < 0)
		return err_sys(e, errno, "ask %s what it is", d->id);
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI))
		return err_set(
			e, ERR_FAILED, "DEV-NOT-VFIO", "%s is no PCI function to VFIO", d->id);
	d->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	for (uint32_t i = 0; i < MIN(info.num_regions, VFIO_REGION_COUNT); i++)
		learn_region(d, i);
	for (uint32_t i = 0; i < MIN(info.num_irqs, VFIO_IRQ_COUNT); i++)
		learn_vectors(d, i);
	d->is_vf = sysfs_dir_init(&dir, d->root, "sys/bus/pci/devices/%s", d->id) &&
		   sysfs_exists(&dir, "physfn");
	rc = vfio_read_header(d, d->header);
	return rc < 0 ? err_sys(e, -rc, "read the config space of %s", d->id) : 0;
}

/* A device with no descriptor yet. */
static struct vfio_device *new_device(
	const struct sysroot *root, const struct pci_addr *addr, struct err *e)
{
	auto_free struct vfio_device *d = calloc(1, sizeof(*d));

	if (!d) {
		err_sys(e, ENOMEM, "open a VFIO device");
		return NULL;
	}
	d->root = root;
	d->addr = *addr;
	d->fd = -1;
	list_init(&d->node);
	pci_addr_format(addr, d->id);
	if (vfio_nodes_find(root, addr, &d->nodes, e) < 0)
		return NULL;
	return steal_ptr(&d);
}

int vfio_device_open(const struct sysroot *root, struct iommu_space *space,
	const struct pci_addr *addr, struct vfio_device **out, struct err *e)
{
	auto_vfio_device struct vfio_device *d = new_device(root, addr, e);
	struct iommu_entrant who;

	if (!d)
		return -1;
	who = (struct iommu_entrant){.root = root, .id = d->id, .nodes = &d->nodes};
	if (iommu_space_enter(space, &who, &d->fd, e) < 0)
		return -1;
	d->space = space;
	list_append(&space->devices, &d->node);
	if (learn(d, e) < 0)
		return -1;
	*out = steal_ptr(&d);
	return 0;
}

int vfio_device_adopt(const struct sysroot *root, const struct pci_addr *addr, int fd,
	struct vfio_device **out, struct err *e)
{
	auto_close int owned = fd;
	auto_vfio_device struct vfio_device *d = new_device(root, addr, e);

	if (!d)
		return -1;
	d->fd = steal_fd(&owned);
	if (learn(d, e) < 0)
		return -1;
	*out = steal_ptr(&d);
	return 0;
}

int vfio_device_release(struct vfio_device *d)
{
	int fd = steal_fd(&d->fd);

	list_remove(&d->node);
	if (d->space)
		iommu_space_leave(d->space, &d->nodes);
	free(d);
	return fd;
}

void vfio_device_close(struct vfio_device *d)
{
	if (!d)
		return;
	if (d->fd >= 0)
		vfio_set_bus_master(d, false, NULL);
	/* The kernel takes interrupts down with the descriptor; the group can leave after it. */
	close_fd(&d->fd);
	vfio_device_release(d);
}

int vfio_device_fd(const struct vfio_device *d)
{
	return d->fd;
}

const char *vfio_device_id(const struct vfio_device *d)
{
	return d->id;
}

/* --- regions ---------------------------------------------------------------------------------- */

struct vfio_region_facts vfio_region(const struct vfio_device *d, enum vfio_region region)
{
	assert(region < VFIO_REGION_COUNT);
	return d->regions[region];
}

static int check_access(const struct vfio_device *d, enum vfio_region region, uint64_t offset,
	unsigned int size, struct err *e)
{
	uint64_t room = d->regions[region].size_bytes;

	assert(size == 1 || size == 2 || size == 4);
	if (offset % size == 0 && room >= size && offset <= room - size)
		return 0;
	return err_set(e, ERR_FAILED, "INTERNAL",
		"%s: %u bytes at 0x%llx of region %d, which has 0x%llx", d->id, size,
		(unsigned long long)offset, (int)region, (unsigned long long)room);
}

int vfio_region_read(struct vfio_device *d, enum vfio_region region, uint64_t offset,
	unsigned int size_bytes, uint32_t *value, struct err *e)
{
	uint32_t little = 0;

	if (check_access(d, region, offset, size_bytes, e) < 0)
		return -1;
	if (pread(d->fd, &little, size_bytes, (off_t)(d->offsets[region] + offset)) != size_bytes)
		return err_sys(e, errno, "read region %d of %s at 0x%llx", (int)region, d->id,
			(unsigned long long)offset);
	*value = le32toh(little);
	return 0;
}

int vfio_region_write(struct vfio_device *d, enum vfio_region region, uint64_t offset,
	unsigned int size_bytes, uint32_t value, struct err *e)
{
	uint32_t little = htole32(value);

	if (check_access(d, region, offset, size_bytes, e) < 0)
		return -1;
	if (pwrite(d->fd, &little, size_bytes, (off_t)(d->offsets[region] + offset)) != size_bytes)
		return err_sys(e, errno, "write region %d of %s at 0x%llx", (int)region, d->id,
			(unsigned long long)offset);
	return 0;
}

int vfio_bar_map(struct vfio_device *d, unsigned int bar, struct vfio_bar *mapped, struct err *e)
{
	const struct vfio_region_facts *facts = &d->regions[bar];
	void *base;

	assert(bar < VFIO_BAR_COUNT);
	if (!facts->size_bytes || !facts->mappable)
		return err_set(
			e, ERR_FAILED, "DEV-BAR", "BAR %u of %s cannot be mapped", bar, d->id);
	base = mmap(NULL, facts->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd,
		(off_t)d->offsets[bar]);
	if (base == MAP_FAILED)
		return err_sys(e, errno, "map BAR %u of %s", bar, d->id);
	*mapped = (struct vfio_bar){.base = base, .len_bytes = facts->size_bytes};
	return 0;
}

void vfio_bar_unmap(struct vfio_bar *mapped)
{
	if (mapped->base)
		munmap((void *)mapped->base, mapped->len_bytes);
	*mapped = (struct vfio_bar){0};
}

int vfio_get_bus_master(struct vfio_device *d, bool *on, struct err *e)
{
	uint32_t command = 0;

	if (vfio_region_read(d, VFIO_REGION_CONFIG, PCI_COMMAND, 2, &command, e) < 0)
		return -1;
	*on = command & PCI_COMMAND_MASTER;
	return 0;
}

int vfio_set_bus_master(struct vfio_device *d, bool on, struct err *e)
{
	uint32_t command = 0, wanted;

	if (vfio_region_read(d, VFIO_REGION_CONFIG, PCI_COMMAND, 2, &command, e) < 0)
		return -1;
	wanted = on ? command | PCI_COMMAND_MASTER : command & ~PCI_COMMAND_MASTER;
	if (wanted == command)
		return 0;
	return vfio_region_write(d, VFIO_REGION_CONFIG, PCI_COMMAND, 2, wanted, e);
}
