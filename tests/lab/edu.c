/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lab/edu.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define ID        0x010000edu
#define AT_ID     0x00
#define AT_LIVE   0x04
#define AT_RAISED 0x24
#define AT_RAISE  0x60
#define AT_ACK    0x64
#define AT_SOURCE 0x80
#define AT_TARGET 0x88
#define AT_COUNT  0x90
#define AT_RUN    0x98

#define RUN       1u
#define TO_MEMORY 2u
#define BUFFER    0x40000u

#define DMA_TIMEOUT_MS 20000 /* it takes a tenth of a second, and the machine may be busy */

static uint32_t get32(const struct edu *edu, size_t at)
{
	return *(volatile uint32_t *)((volatile char *)edu->bar.base + at);
}

static void put32(struct edu *edu, size_t at, uint32_t value)
{
	*(volatile uint32_t *)((volatile char *)edu->bar.base + at) = value;
}

static uint64_t get64(const struct edu *edu, size_t at)
{
	return *(volatile uint64_t *)((volatile char *)edu->bar.base + at);
}

static void put64(struct edu *edu, size_t at, uint64_t value)
{
	*(volatile uint64_t *)((volatile char *)edu->bar.base + at) = value;
}

/* --- open and close --------------------------------------------------------------------------- */

int edu_wrap(struct vfio_device *dev, struct edu *edu, struct err *e)
{
	*edu = (struct edu){.dev = dev, .event = eventfd(0, EFD_CLOEXEC), .irq = VFIO_IRQ_COUNT};
	if (edu->event < 0 || vfio_bar_map(dev, 0, &edu->bar, e) < 0 || edu_check(edu, e) < 0) {
		edu_close(edu);
		return -1;
	}
	return 0;
}

int edu_open(const struct sysroot *root, struct iommu_space *space, const struct pci_addr *addr,
	struct edu *edu, struct err *e)
{
	struct vfio_device *dev;

	if (vfio_device_open(root, space, addr, &dev, e) < 0)
		return -1;
	return edu_wrap(dev, edu, e);
}

void edu_close(struct edu *edu)
{
	vfio_bar_unmap(&edu->bar);
	vfio_device_close(edu->dev);
	close_fd(&edu->event);
	edu->dev = NULL;
}

int edu_check(struct edu *edu, struct err *e)
{
	const uint32_t asked = 0x12345678;
	uint32_t id = get32(edu, AT_ID), answered;

	put32(edu, AT_LIVE, asked);
	answered = get32(edu, AT_LIVE);
	if (id == ID && answered == ~asked)
		return 0;
	return err_set(e, ERR_FAILED, "DEV-RESET", "%s is no edu: id 0x%08x, answers 0x%08x",
		vfio_device_id(edu->dev), id, answered);
}

/* --- DMA -------------------------------------------------------------------------------------- */

static int dma(struct edu *edu, uint64_t source, uint64_t target, uint32_t len, uint32_t command,
	struct err *e)
{
	uint64_t deadline = now_ms() + DMA_TIMEOUT_MS;

	assert(len > 0 && len <= EDU_BUFFER_BYTES);
	put64(edu, AT_SOURCE, source);
	put64(edu, AT_TARGET, target);
	put64(edu, AT_COUNT, len);
	put64(edu, AT_RUN, command | RUN);
	while (get64(edu, AT_RUN) & RUN) {
		if (now_ms() > deadline)
			return err_set(e, ERR_TIMED_OUT, "DEV-WEDGED", "the DMA of %s does not end",
				vfio_device_id(edu->dev));
		poll(NULL, 0, 1); /* there is nothing to wait on but the register */
	}
	return 0;
}

int edu_fetch(struct edu *edu, uint64_t iova, uint32_t len_bytes, struct err *e)
{
	return dma(edu, iova, BUFFER, len_bytes, 0, e);
}

int edu_store(struct edu *edu, uint64_t iova, uint32_t len_bytes, struct err *e)
{
	return dma(edu, BUFFER, iova, len_bytes, TO_MEMORY, e);
}

/* --- interrupts ------------------------------------------------------------------------------- */

int edu_irq_on(struct edu *edu, enum vfio_irq irq, struct err *e)
{
	if (edu->irq != VFIO_IRQ_COUNT && vfio_irq_off(edu->dev, edu->irq, e) < 0)
		return -1;
	edu->irq = VFIO_IRQ_COUNT;
	if (vfio_irq_on(edu->dev, irq, &edu->event, 1, e) < 0)
		return -1;
	edu->irq = irq;
	return 0;
}

void edu_irq_raise(struct edu *edu)
{
	put32(edu, AT_RAISE, 1);
}

int edu_irq_wait(struct edu *edu, int timeout_ms, struct err *e)
{
	struct pollfd event = {.fd = edu->event, .events = POLLIN};
	uint64_t times;

	if (poll(&event, 1, timeout_ms) != 1 ||
		read(edu->event, &times, sizeof(times)) != sizeof(times))
		return err_set(e, ERR_TIMED_OUT, "IRQ-NONE", "no interrupt of %s in %d ms",
			vfio_device_id(edu->dev), timeout_ms);
	put32(edu, AT_ACK, get32(edu, AT_RAISED));
	return edu->irq == VFIO_IRQ_INTX ? vfio_irq_unmask(edu->dev, edu->irq, e) : 0;
}
