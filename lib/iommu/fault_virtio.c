/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-iommu. One line for each fault; of the flags, as far as the device says it:
 *
 *	virtio_iommu virtio0: page fault from EP 1280 at 0x2000000 [W]
 *	virtio_iommu virtio0: domain fault from EP 8 flags 0
 *
 * Endpoints of PCI devices are segment<<16 | requester, unless the firmware's table (VIOT) says
 * otherwise, which nothing that makes one does.
 */
#include <stdio.h>
#include <string.h>

#include "lib/iommu/fault_priv.h"

static const struct {
	const char *name;
	enum fault_kind kind;
	const char *words;
} reasons[] = {
	{": page fault", FAULT_UNMAPPED, "the address is not mapped, or not for that"},
	{": domain fault", FAULT_STREAM, "the IOMMU has nothing for the device"},
	{": unknown fault", FAULT_ODD, "the reason is not known"},
};

static void read_access(const char *flags, struct fault *f)
{
	if (strchr(flags, 'X'))
		f->access = FAULT_EXECUTE;
	else if (strchr(flags, 'W'))
		f->access = FAULT_WRITE;
	else if (strchr(flags, 'R'))
		f->access = FAULT_READ;
}

static void name_device(struct fault *f)
{
	f->has_stream = f->has_device = true;
	f->device = (struct pci_addr){.domain = f->stream >> 16,
		.bus = (uint8_t)(f->stream >> 8),
		.slot = (uint8_t)(f->stream >> 3 & 0x1f),
		.function = (uint8_t)(f->stream & 7),
		.domain_given = true};
}

enum fault_line fault_virtio_read(struct fault_reader *r, const char *line, struct fault *f)
{
	const char *endpoint = fault_after(line, " from EP ");
	const char *mark = NULL, *rest;
	uint64_t number;
	size_t i;

	(void)r;
	for (i = 0; i < ARRAY_SIZE(reasons) && !mark; i++)
		mark = strstr(line, reasons[i].name);
	rest = fault_number(endpoint, 10, &number);
	if (!mark || !rest || number > UINT32_MAX)
		return FAULT_LINE_NONE;
	f->source = FAULT_FROM_VIRTIO;
	f->kind = reasons[i - 1].kind;
	f->stream = (uint32_t)number;
	name_device(f);
	fault_unit_before(line, mark, f);
	f->has_iova = fault_key(rest, " at ", 16, &f->iova);
	if (strchr(rest, '['))
		read_access(strchr(rest, '['), f);
	f->raw[f->raw_count++] = number;
	snprintf(f->reason, sizeof(f->reason), "%s", reasons[i - 1].words);
	return FAULT_LINE_FAULT;
}
