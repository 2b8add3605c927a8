/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PCI function that the VFIO driver has, in the hands of this process. It is opened into an
 * address space (iommu.h); while that is empty, the function is blocked. Opening a VFIO node,
 * closing one and resetting can hang in the kernel with the device: the daemon does them by hands
 * (daemon/hands.h). One thread at a time per device and its space.
 *
 * The kernel resets a function, where it can, when its first descriptor is opened and when its
 * last is closed, and switches its bus mastering off at both.
 */
#pragma once

#include "lib/iommu/iommu.h"

#define VFIO_NODE_MAX 64

/* Where a function can be opened; "" for what is not there. */
struct vfio_nodes {
	char driver[32];
	char group[16];                 /* "12" */
	char group_node[VFIO_NODE_MAX]; /* "/dev/vfio/12" */
	char cdev_node[VFIO_NODE_MAX];  /* "/dev/vfio/devices/vfio0" */
};

/*
 * Of `addr` (its domain given). -1 with e set: ERR_NOT_FOUND (DEV-GONE); ERR_REFUSED GRP-NONE,
 * DEV-NOT-VFIO as iommu_probe(). Reads sysfs only.
 */
int vfio_nodes_find(const struct sysroot *root, const struct pci_addr *addr,
	struct vfio_nodes *nodes, struct err *e);

/* --- open and close --------------------------------------------------------------------------- */

struct vfio_device;

/*
 * Opens the function into `space`, which must outlive it. With type1 the whole group enters.
 * -1 with e set (nothing is open): those of vfio_nodes_find(); ERR_REFUSED with GRP-VIABLE (a
 * member works for the host), DEV-TAKEN (somebody has it open), GRP-IOMMU (the group cannot be put
 * under this address space), IRQ-UNSAFE (no interrupt remapping).
 */
int vfio_device_open(const struct sysroot *root, struct iommu_space *space,
	const struct pci_addr *addr, struct vfio_device **out, struct err *e);

/* Bus master off, interrupts off, closed; and its group, when no other device of it is open. */
void vfio_device_close(struct vfio_device *d);

static inline void vfio_device_close_p(struct vfio_device **d)
{
	vfio_device_close(*d);
}
#define auto_vfio_device __attribute__((cleanup(vfio_device_close_p)))

/*
 * Closes all but the device's descriptor and returns it: it alone keeps the function (and its
 * group) in its address space, also when `space` is freed, until its last duplicate is closed.
 */
int vfio_device_release(struct vfio_device *d);

/* A device around such a descriptor (taken over also on failure): no space, all else works. */
int vfio_device_adopt(const struct sysroot *root, const struct pci_addr *addr, int fd,
	struct vfio_device **out, struct err *e);

int vfio_device_fd(const struct vfio_device *d);         /* stays the device's */
const char *vfio_device_id(const struct vfio_device *d); /* "0000:41:00.0" */

/* --- config space and regions ----------------------------------------------------------------- */

#define VFIO_BAR_COUNT 6

enum vfio_region {
	VFIO_REGION_BAR0 = 0,
	VFIO_REGION_ROM = 6,
	VFIO_REGION_CONFIG = 7,
	VFIO_REGION_COUNT = 8,
};

struct vfio_region_facts {
	uint64_t size_bytes; /* 0: the function has no such region */
	bool readable, writable, mappable;
};

/* Of one that cannot be asked: all zero. */
struct vfio_region_facts vfio_region(const struct vfio_device *d, enum vfio_region region);

/* size_bytes is 1, 2 or 4, offset a multiple of it; values are the CPU's. */
int vfio_region_read(struct vfio_device *d, enum vfio_region region, uint64_t offset,
	unsigned int size_bytes, uint32_t *value, struct err *e);
int vfio_region_write(struct vfio_device *d, enum vfio_region region, uint64_t offset,
	unsigned int size_bytes, uint32_t value, struct err *e);

/* Maps a whole BAR; vfio_bar_unmap() before the device is closed. */
struct vfio_bar {
	volatile void *base;
	uint64_t len_bytes;
};
int vfio_bar_map(struct vfio_device *d, unsigned int bar, struct vfio_bar *mapped, struct err *e);
void vfio_bar_unmap(struct vfio_bar *mapped);

/* May it do DMA at all? */
int vfio_set_bus_master(struct vfio_device *d, bool on, struct err *e);
int vfio_get_bus_master(struct vfio_device *d, bool *on, struct err *e);

/* --- interrupts ------------------------------------------------------------------------------- */

enum vfio_irq {
	VFIO_IRQ_INTX,
	VFIO_IRQ_MSI,
	VFIO_IRQ_MSIX,
	VFIO_IRQ_ERROR,   /* a PCIe error was reported for the function */
	VFIO_IRQ_REQUEST, /* the host wants it back: an unbind waits */
	VFIO_IRQ_COUNT,
};

/* Vectors of that kind; 0: none. */
unsigned int vfio_irq_count(const struct vfio_device *d, enum vfio_irq irq);

/*
 * Vector i of `count` signals eventfds[i] (the caller's; not below 0). Replaces what was set. Of
 * INTx, MSI and MSI-X one can be on. After each INTx the vector is masked: vfio_irq_unmask().
 */
int vfio_irq_on(struct vfio_device *d, enum vfio_irq irq, const int *eventfds, unsigned int count,
	struct err *e);
int vfio_irq_off(struct vfio_device *d, enum vfio_irq irq, struct err *e);
int vfio_irq_unmask(struct vfio_device *d, enum vfio_irq irq, struct err *e);

/* --- reset ------------------------------------------------------------------------------------ */

#define VFIO_MAX_COMPANIONS 64

struct vfio_companion {
	struct pci_addr addr;
	bool ours; /* in our hands, so that a bus reset is ours to do (iommufd says it; type1 by group) */
};

struct vfio_reset_info {
	bool function;    /* the function can be reset alone */
	char methods[64]; /* sysfs `reset_method`, as it is: "flr bus"; "" if it has none */
	bool bus;         /* its slot or bus can be reset, with all companions on it */
	struct vfio_companion companions[VFIO_MAX_COMPANIONS]; /* the function itself among them */
	size_t companion_count;
};

int vfio_reset_info(struct vfio_device *d, struct vfio_reset_info *info, struct err *e);

/*
 * Bus master off, then the reset of the function alone. ERR_REFUSED DEV-NO-RESET if none is
 * offered; DEV-RESET if it failed.
 */
int vfio_reset_function(struct vfio_device *d, struct err *e);

/*
 * The same by its bus, for all that sits there: refused (GRP-SPLIT) unless all of them are in
 * d's address space, DEV-NO-RESET if the bus has none. The others' bus masters are off, too.
 */
int vfio_reset_bus(struct vfio_device *d, struct err *e);

/*
 * After a reset: the function answers, is no bus master, and its BARs are where the kernel put
 * them. -1 with e set, code DEV-RESET, and what was read as evidence.
 */
int vfio_device_check(struct vfio_device *d, struct err *e);
