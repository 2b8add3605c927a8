/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel VT-d. One line for each fault record, in the form of the kernel's version:
 *
 *	DMAR: [DMA Write NO_PASID] Request device [05:00.0] fault addr 0x2000000 [fault reason 0x05]
 *	PTE Write access is not set					(all on one line)
 *	DMAR: [DMA Read PASID 0x5] Request device [0000:05:00.0] fault addr 0x1000 [fault reason 0x71] ...
 *	DMAR: [DMA Read] Request device [03:00.0] PASID ffffffff fault addr 0 [fault reason 06] ...
 *	DMAR: [INTR-REMAP] Request device [f0:1f.7] fault index 0x0 [fault reason 0x22] ...
 *
 * Without 0x, the reason is decimal and the address hexadecimal. Which unit says it is not there,
 * and the segment only of late.
 */
#include <stdio.h>
#include <string.h>

#include "lib/iommu/fault_priv.h"

#define NO_PASID 0xffffffff

/* Reasons by range: the first that reaches as far. Words of the specification, chapter 7. */
static const struct {
	uint64_t last;
	enum fault_kind kind;
	const char *words;
} reasons[] = {
	{0x00, FAULT_ODD, "no reason is given"},
	{0x03, FAULT_STREAM, "the IOMMU has no valid entry for the device"},
	{0x04, FAULT_UNMAPPED, "the address is beyond what the IOMMU can translate"},
	{0x06, FAULT_UNMAPPED, "the address is not mapped, or not for that"},
	{0x09, FAULT_IOMMU, "the IOMMU could not read its tables"},
	{0x0c, FAULT_IOMMU, "a table of the IOMMU is damaged"},
	{0x0f, FAULT_STREAM, "the device may not ask so"},
	{0x1f, FAULT_ODD, "the reason is not known"},
	{0x2f, FAULT_INTERRUPT, "the interrupt is not one that the device may raise"},
	{0x6f, FAULT_STREAM, "the IOMMU has no valid entry for the device or its PASID"},
	{0x70, FAULT_IOMMU, "the IOMMU could not read its tables"},
	{0x71, FAULT_UNMAPPED, "the address is not mapped"},
	{0x77, FAULT_IOMMU, "a table of the IOMMU is damaged"},
	{0x78, FAULT_IOMMU, "the IOMMU could not read its tables"},
	{0x79, FAULT_UNMAPPED, "the address is not mapped, or not for that"},
	{0x7f, FAULT_IOMMU, "a table of the IOMMU is damaged"},
	{0x8f, FAULT_ACCESS, "the address may not be used so"},
	{UINT64_MAX, FAULT_ODD, "the reason is not known"},
};

static void read_reason(const char *line, struct fault *f)
{
	const char *at = fault_after(line, "[fault reason "), *text;
	uint64_t reason;
	size_t i = 0;

	if (!at || !(text = fault_number(at, at[0] == '0' && at[1] == 'x' ? 16 : 10, &reason)) ||
		strncmp(text, "] ", 2) != 0) {
		snprintf(f->reason, sizeof(f->reason), "%s", reasons[0].words);
		return;
	}
	while (reason > reasons[i].last)
		i++;
	f->kind = reasons[i].kind;
	f->raw[f->raw_count++] = reason;
	snprintf(f->reason, sizeof(f->reason), "%s (%.80s)", reasons[i].words, text + 2);
}

static void read_pasid(const char *line, struct fault *f)
{
	uint64_t pasid;

	if (!fault_key(line, " PASID ", 16, &pasid) || pasid >= NO_PASID)
		return;
	f->has_pasid = true;
	f->pasid = (uint32_t)pasid;
}

enum fault_line fault_vtd_read(struct fault_reader *r, const char *line, struct fault *f)
{
	const char *what = fault_after(line, "DMAR: ["), *device;

	(void)r;
	device = fault_after(what, "] Request device [");
	if (!device || !fault_device(device, f))
		return FAULT_LINE_NONE;
	f->source = FAULT_FROM_VTD;
	if (strncmp(what, "DMA Write", 9) == 0)
		f->access = FAULT_WRITE;
	else if (strncmp(what, "DMA Read", 8) == 0)
		f->access = FAULT_READ;
	f->has_iova = fault_key(device, "fault addr ", 16, &f->iova);
	read_reason(device, f);
	read_pasid(line, f);
	if (fault_key(device, "fault index ", 16, &f->raw[f->raw_count]))
		f->raw_count++;
	return FAULT_LINE_FAULT;
}
