/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AMD-Vi. One line for each event, the device in front where the kernel has it, else within:
 *
 *	vfio-pci 0000:00:10.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0012 address=0xfe000 flags=0x0020]
 *	AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:03:00.0 pasid=0x00000 address=0x1000 flags=0x0030]
 *	AMD-Vi: Event logged [IO_PAGE_FAULT device=03:00.0 domain=0x000d address=0x1000 flags=0x0070]
 *
 * Of the flags, those of a page fault: interrupt, present, write.
 */
#include <stdio.h>
#include <string.h>

#include "lib/iommu/fault_priv.h"

#define FLAG_INTERRUPT (1u << 3)
#define FLAG_PRESENT   (1u << 4)
#define FLAG_WRITE     (1u << 5)

static const struct event {
	const char *name;
	enum fault_kind kind;
	const char *words;
} events[] = {
	{"IO_PAGE_FAULT", FAULT_UNMAPPED, "the address is not mapped"},
	{"ILLEGAL_DEV_TABLE_ENTRY", FAULT_STREAM, "the device's entry in the IOMMU is damaged"},
	{"DEV_TAB_HARDWARE_ERROR", FAULT_IOMMU, "the IOMMU could not read the device's entry"},
	{"PAGE_TAB_HARDWARE_ERROR", FAULT_IOMMU, "the IOMMU could not read its tables"},
	{"ILLEGAL_COMMAND_ERROR", FAULT_IOMMU, "the IOMMU was given a command that is none"},
	{"COMMAND_HARDWARE_ERROR", FAULT_IOMMU, "the IOMMU could not read its commands"},
	{"IOTLB_INV_TIMEOUT", FAULT_DEAD, "the device does not answer the IOMMU"},
	{"INVALID_DEVICE_REQUEST", FAULT_STREAM, "the device may not ask so"},
	{"INVALID_PPR_REQUEST", FAULT_STREAM, "the device may not ask for pages so"},
	{"RMP_PAGE_FAULT", FAULT_ACCESS, "the page is another owner's"},
	{"RMP_HW_ERROR", FAULT_IOMMU, "the IOMMU could not read whose the page is"},
};

static const struct event *find_event(const char *what)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		size_t len = strlen(events[i].name);

		if (strncmp(what, events[i].name, len) == 0 && what[len] == ' ')
			return &events[i];
	}
	return NULL;
}

static void read_page_fault(uint64_t flags, struct fault *f, const char **words)
{
	f->access = flags & FLAG_WRITE ? FAULT_WRITE : FAULT_READ;
	if (flags & FLAG_INTERRUPT) {
		f->kind = FAULT_INTERRUPT;
		*words = "the interrupt is not one that the device may raise";
	} else if (flags & FLAG_PRESENT) {
		f->kind = FAULT_ACCESS;
		*words = "the address is mapped, and not for that";
	}
}

static void read_numbers(const char *what, struct fault *f)
{
	uint64_t pasid;

	f->has_iova = fault_key(what, "address=", 16, &f->iova);
	if (fault_key(what, "pasid=", 16, &pasid) && pasid > 0 && pasid <= UINT32_MAX) {
		f->has_pasid = true;
		f->pasid = (uint32_t)pasid;
	}
}

enum fault_line fault_amdvi_read(struct fault_reader *r, const char *line, struct fault *f)
{
	const char *what = fault_after(line, "Event logged [");
	const struct event *event = find_event(what);
	const char *words = event ? event->words : "the reason is not known", *device;
	uint64_t flags = 0;

	(void)r;
	f->source = FAULT_FROM_AMDVI;
	f->kind = event ? event->kind : FAULT_ODD;
	device = fault_after(what, "device=");
	if (!device || !fault_device(device, f))
		fault_device_of_line(line, f);
	read_numbers(what, f);
	if (fault_key(what, "flags=", 16, &flags))
		f->raw[f->raw_count++] = flags;
	if (event == &events[0])
		read_page_fault(flags, f, &words);
	snprintf(f->reason, sizeof(f->reason), "%s (%.*s)", words,
		(int)MIN(strcspn(what, " ]"), 40), what);
	return FAULT_LINE_FAULT;
}
