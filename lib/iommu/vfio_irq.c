/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of a VFIO device as eventfds. */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/iommu/vfio_device_priv.h"
#include "lib/iommu/vfio_uapi.h"

static const char *const irq_names[VFIO_IRQ_COUNT] = {
	[VFIO_IRQ_INTX] = "INTx",
	[VFIO_IRQ_MSI] = "MSI",
	[VFIO_IRQ_MSIX] = "MSI-X",
	[VFIO_IRQ_ERROR] = "error",
	[VFIO_IRQ_REQUEST] = "request",
};

unsigned int vfio_irq_count(const struct vfio_device *d, enum vfio_irq irq)
{
	assert(irq < VFIO_IRQ_COUNT);
	return d->vectors[irq];
}

int vfio_irq_on(struct vfio_device *d, enum vfio_irq irq, const int *eventfds, unsigned int count,
	struct err *e)
{
	size_t bytes = sizeof(struct vfio_irq_set) + count * sizeof(int32_t);
	auto_free struct vfio_irq_set *set = NULL;

	if (count == 0 || count > vfio_irq_count(d, irq))
		return err_set(e, ERR_FAILED, "INTERNAL", "%s has %u %s interrupts, not %u", d->id,
			d->vectors[irq], irq_names[irq], count);
	set = calloc(1, bytes);
	if (!set)
		return err_sys(e, ENOMEM, "switch on %s interrupts of %s", irq_names[irq], d->id);
	set->argsz = (uint32_t)bytes;
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = irq;
	set->count = count;
	memcpy(set->data, eventfds, count * sizeof(int32_t));
	if (ioctl(d->fd, VFIO_DEVICE_SET_IRQS, set) < 0)
		return err_sys(e, errno, "switch on %s interrupts of %s", irq_names[irq], d->id);
	return 0;
}

/* What takes no data. */
static int act(struct vfio_device *d, enum vfio_irq irq, uint32_t action, uint32_t count)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | action,
		.index = irq,
		.count = count,
	};

	return ioctl(d->fd, VFIO_DEVICE_SET_IRQS, &set);
}

int vfio_irq_off(struct vfio_device *d, enum vfio_irq irq, struct err *e)
{
	if (act(d, irq, VFIO_IRQ_SET_ACTION_TRIGGER, 0) < 0)
		return err_sys(e, errno, "switch off %s interrupts of %s", irq_names[irq], d->id);
	return 0;
}

int vfio_irq_unmask(struct vfio_device *d, enum vfio_irq irq, struct err *e)
{
	if (act(d, irq, VFIO_IRQ_SET_ACTION_UNMASK, 1) < 0)
		return err_sys(e, errno, "unmask %s interrupts of %s", irq_names[irq], d->id);
	return 0;
}
