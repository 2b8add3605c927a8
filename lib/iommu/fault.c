/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/iommu/fault_priv.h"

const char *const fault_source_names[] = {
	[FAULT_FROM_VTD] = "vtd",
	[FAULT_FROM_AMDVI] = "amdvi",
	[FAULT_FROM_SMMUV3] = "smmuv3",
	[FAULT_FROM_VIRTIO] = "virtio",
	[FAULT_FROM_PCI] = "pci",
	[FAULT_FROM_AER] = "aer",
	[FAULT_FROM_VFIO] = "vfio",
};
static_assert(ARRAY_SIZE(fault_source_names) == FAULT_SOURCES, "a name for each source");

const char *const fault_kind_codes[] = {
	[FAULT_UNMAPPED] = "FAULT-UNMAPPED",
	[FAULT_ACCESS] = "FAULT-ACCESS",
	[FAULT_STREAM] = "FAULT-STREAM",
	[FAULT_INTERRUPT] = "FAULT-INTERRUPT",
	[FAULT_IOMMU] = "FAULT-IOMMU",
	[FAULT_ODD] = "FAULT-ODD",
	[FAULT_REQUEST] = "FAULT-REQUEST",
	[FAULT_LINK] = "FAULT-LINK",
	[FAULT_DEAD] = "FAULT-DEAD",
	[FAULT_ERROR] = "FAULT-ERROR",
	[FAULT_FATAL] = "FAULT-ERROR",
};
static_assert(ARRAY_SIZE(fault_kind_codes) == FAULT_KINDS, "a code for each kind");

const char *const fault_access_names[] = {
	[FAULT_ACCESS_UNKNOWN] = "unknown",
	[FAULT_READ] = "read",
	[FAULT_WRITE] = "write",
	[FAULT_EXECUTE] = "execute",
};
static_assert(ARRAY_SIZE(fault_access_names) == FAULT_ACCESSES, "a name for each access");

/* --- words ------------------------------------------------------------------------------------ */

const char *fault_after(const char *text, const char *word)
{
	const char *at = strstr(text, word);

	return at ? at + strlen(word) : NULL;
}

const char *fault_number(const char *text, int base, uint64_t *value)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	char *end;

	if (base == 16 && text[0] == '0' && text[1] == 'x')
		text += 2;
	/* strtoull() takes blanks and signs as well. */
	if (!*text || !memchr(digits, *text, base == 16 ? 22 : 10))
		return NULL;
	errno = 0;
	*value = strtoull(text, &end, base);
	return errno == 0 ? end : NULL;
}

bool fault_key(const char *text, const char *key, int base, uint64_t *value)
{
	const char *at = fault_after(text, key);

	return at && fault_number(at, base, value);
}

bool fault_device(const char *text, struct fault *f)
{
	size_t len = strspn(text, "0123456789abcdefABCDEF:.");
	char word[PCI_ADDR_MAX];

	while (len && (text[len - 1] == ':' || text[len - 1] == '.'))
		len--;
	if (len == 0 || len >= sizeof(word))
		return false;
	memcpy(word, text, len);
	word[len] = '\0';
	f->has_device = pci_addr_parse(word, &f->device);
	return f->has_device;
}

bool fault_device_of_line(const char *line, struct fault *f)
{
	const char *colon = strstr(line, ": ");
	const char *at = line;

	/* The last word before the first colon that ends one. */
	for (const char *p = line; colon && p < colon; p++)
		if (*p == ' ')
			at = p + 1;
	return colon && fault_device(at, f) && f->device.domain_given;
}

void fault_unit_before(const char *line, const char *end, struct fault *f)
{
	const char *begin = end;
	size_t len;

	while (begin > line && begin[-1] != ' ')
		begin--;
	len = MIN((size_t)(end - begin), sizeof(f->unit) - 1);
	memcpy(f->unit, begin, len);
	f->unit[len] = '\0';
}

/* --- whose is it ------------------------------------------------------------------------------ */

/* Functions of the kernel that hold back what comes too fast, and whose faults those are. */
static enum fault_line suppressed_read(struct fault_reader *r, const char *line, struct fault *f)
{
	static const struct {
		const char *function;
		enum fault_source source;
	} limits[] = {
		{"dmar_fault", FAULT_FROM_VTD},
		{"amd_iommu_report_page_fault", FAULT_FROM_AMDVI},
		{"amd_iommu_report_rmp_fault", FAULT_FROM_AMDVI},
		{"amd_iommu_report_rmp_hw_error", FAULT_FROM_AMDVI},
		{"arm_smmu_evtq_thread", FAULT_FROM_SMMUV3},
		{"viommu_fault_handler", FAULT_FROM_VIRTIO},
		{"viommu_event_handler", FAULT_FROM_VIRTIO},
		{"aer_print_error", FAULT_FROM_AER},
		{"aer_isr", FAULT_FROM_AER},
	};

	(void)r;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const char *at = fault_after(line, limits[i].function);

		if (!at || strncmp(at, ": ", 2) != 0 || !fault_number(at + 2, 10, &f->raw[0]))
			continue;
		f->source = limits[i].source;
		f->raw_count = 1;
		return FAULT_LINE_SUPPRESSED;
	}
	return FAULT_LINE_NONE;
}

enum fault_line fault_read_line(struct fault_reader *r, const char *line, struct fault *f)
{
	static const struct {
		const char *mark;
		fault_read_fn *read;
	} sources[] = {
		{"DMAR: [", fault_vtd_read},
		{"AMD-Vi: Event logged [", fault_amdvi_read},
		{" from EP ", fault_virtio_read},
		{"callbacks suppressed", suppressed_read},
		{": event 0x", fault_smmuv3_read},
	};
	enum fault_line said = FAULT_LINE_NONE;

	*f = (struct fault){.kind = FAULT_ODD};
	if (r->is_open) {
		said = fault_smmuv3_read(r, line, f);
		if (said != FAULT_LINE_NONE)
			return said;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		if (strstr(line, sources[i].mark))
			return sources[i].read(r, line, f);
	return fault_pci_read(r, line, f);
}
