/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A user-space driver of QEMU's `edu`, the device that does DMA and interrupts on command. It has
 * a buffer of EDU_BUFFER_BYTES of its own, which only DMA reaches.
 */
#pragma once

#include "lib/iommu/vfio_device.h"

#define EDU_BUFFER_BYTES 4096

struct edu {
	struct vfio_device *dev; /* the edu's */
	struct vfio_bar bar;
	int event; /* of its interrupt */
	enum vfio_irq irq;
};

/* Opens the function into the space, and has a look whether it is one. */
int edu_open(const struct sysroot *root, struct iommu_space *space, const struct pci_addr *addr,
	struct edu *edu, struct err *e);

/* The same around a device that is open, taken over also on failure. */
int edu_wrap(struct vfio_device *dev, struct edu *edu, struct err *e);
void edu_close(struct edu *edu);

/* It answers as an edu does. */
int edu_check(struct edu *edu, struct err *e);

/*
 * One DMA of at most EDU_BUFFER_BYTES, from memory into its buffer or back, and waits for its end.
 * Where the IOMMU stops it, it ends just so.
 */
int edu_fetch(struct edu *edu, uint64_t iova, uint32_t len_bytes, struct err *e);
int edu_store(struct edu *edu, uint64_t iova, uint32_t len_bytes, struct err *e);

/* Switches an interrupt on; raises it; waits for it, acknowledges and unmasks it. */
int edu_irq_on(struct edu *edu, enum vfio_irq irq, struct err *e);
void edu_irq_raise(struct edu *edu);
int edu_irq_wait(struct edu *edu, int timeout_ms, struct err *e);
