/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI Express and VFIO: lines that the kernel says for a function, which is in front of them.
 *
 *	pcieport 0000:00:10.0: pciehp: Slot(16): Link Down
 *	vfio-pci 0000:05:00.0: Relaying device request to user (#0)
 *	nvme 0000:01:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=...
 *	pcieport 0000:00:11.0: AER: Correctable error message received from 0000:02:00.0
 *
 * Of error reporting the line is only the hint to read the function's counters (lib/iommu/aer.h):
 * these are complete, have names, and are not limited in rate. But of a fatal error the kernel does not ask the
 * function, whose link may be down, and counts it nowhere:
 *
 *	vfio-pci 0000:0c:00.0: AER: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Inaccessible, ...
 */
#include <stdio.h>
#include <string.h>

#include "lib/iommu/aer.h"
#include "lib/iommu/fault_priv.h"

static const struct {
	const char *mark;
	enum fault_source source;
	enum fault_kind kind;
	const char *words;
} lines[] = {
	{", type=Inaccessible, ", FAULT_FROM_AER, FAULT_FATAL, AER_NAMELESS},
	{": PCIe Bus Error: ", FAULT_FROM_AER, FAULT_ERROR, "it reports an error"},
	{": AER: ", FAULT_FROM_AER, FAULT_ERROR, "an error was reported to it"},
	{": Link Down", FAULT_FROM_PCI, FAULT_LINK, "the link below is down"},
	{": Card not present", FAULT_FROM_PCI, FAULT_LINK, "what was in the slot was pulled out"},
	{": Surprise Removal", FAULT_FROM_PCI, FAULT_LINK, "what was in the slot was pulled out"},
	{": Relaying device request to user", FAULT_FROM_VFIO, FAULT_REQUEST,
		"the host wants it back: an unbind or a removal waits for its user"},
	{": No device request channel registered", FAULT_FROM_VFIO, FAULT_REQUEST,
		"the host wants it back, and its user cannot be asked"},
	{"device inaccessible", FAULT_FROM_PCI, FAULT_DEAD, "it does not wake up"},
	{"; giving up", FAULT_FROM_PCI, FAULT_DEAD, "it does not come back from its reset"},
};

/* Whom a root port's message is from: it is that function's counters that count. */
static void read_origin(const char *line, struct fault *f)
{
	const char *from = fault_after(line, " received from ");
	struct fault origin = {.has_device = false};

	if (!from)
		from = fault_after(line, " received: ");
	if (from && fault_device(from, &origin) && origin.device.domain_given)
		f->device = origin.device;
}

enum fault_line fault_pci_read(struct fault_reader *r, const char *line, struct fault *f)
{
	(void)r;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		if (!strstr(line, lines[i].mark) || !fault_device_of_line(line, f))
			continue;
		f->source = lines[i].source;
		f->kind = lines[i].kind;
		snprintf(f->reason, sizeof(f->reason), "%s", lines[i].words);
		if (f->kind == FAULT_ERROR)
			read_origin(line, f);
		return FAULT_LINE_FAULT;
	}
	*f = (struct fault){.kind = FAULT_ODD};
	return FAULT_LINE_NONE;
}
