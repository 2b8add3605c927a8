/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/iommu/fault*.c, aer.c: the kernel's lines of several versions. Those of the lab are as its
 * hosts printed them; the others are typed from public reports of real hosts, shortened.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/iommu/aer.h"
#include "lib/iommu/fault.h"
#include "tests/unit/unit.h"

#define NONE UINT64_MAX

/* A log, of lines parted by \n, whose last one completes the fault. */
static const struct sample {
	const char *log;
	enum fault_source source;
	enum fault_kind kind;
	const char *device; /* as pci_addr_format(); NULL: none */
	bool has_segment;
	uint64_t stream, iova, pasid; /* NONE: it has none */
	enum fault_access access;
	const char *reason; /* a part of it */
	unsigned int raw_count;
	uint64_t raw; /* the first word */
} samples[] = {
	/* VT-d: the lab, 6.12 */
	{"DMAR: [DMA Write NO_PASID] Request device [05:00.0] fault addr 0x2000000 [fault reason "
	 "0x05] PTE Write access is not set",
		FAULT_FROM_VTD, FAULT_UNMAPPED, "0000:05:00.0", false, NONE, 0x2000000, NONE,
		FAULT_WRITE, "(PTE Write access is not set)", 1, 5},
	/* 7.3 */
	{"DMAR: [DMA Read NO_PASID] Request device [0000:05:00.0] fault addr 0xffff0000 [fault "
	 "reason 0x06] PTE Read access is not set",
		FAULT_FROM_VTD, FAULT_UNMAPPED, "0000:05:00.0", true, NONE, 0xffff0000, NONE,
		FAULT_READ, "not mapped", 1, 6},
	/* another segment, scalable mode */
	{"DMAR: [DMA Read PASID 0x1f] Request device [10000:e1:00.0] fault addr "
	 "0xfffffffffffff000 [fault reason 0x71] SM: Present bit in first-level paging entry is "
	 "clear",
		FAULT_FROM_VTD, FAULT_UNMAPPED, "10000:e1:00.0", true, NONE, 0xfffffffffffff000,
		0x1f, FAULT_READ, "not mapped", 1, 0x71},
	/* 5.4: decimal reason, address without 0x, a PASID that is none */
	{"DMAR: [DMA Read] Request device [03:00.0] PASID ffffffff fault addr 7f6d8000 [fault "
	 "reason 06] PTE Read access is not set",
		FAULT_FROM_VTD, FAULT_UNMAPPED, "0000:03:00.0", false, NONE, 0x7f6d8000, NONE,
		FAULT_READ, "PTE Read", 1, 6},
	{"DMAR: [DMA Write] Request device [00:02.0] fault addr 0 [fault reason 02] Present bit in "
	 "context entry is clear",
		FAULT_FROM_VTD, FAULT_STREAM, "0000:00:02.0", false, NONE, 0, NONE, FAULT_WRITE,
		"no valid entry", 1, 2},
	{"DMAR: [DMA Write] Request device [02:00.1] fault addr 1000 [fault reason 12] non-zero "
	 "reserved fields in PTE",
		FAULT_FROM_VTD, FAULT_IOMMU, "0000:02:00.1", false, NONE, 0x1000, NONE, FAULT_WRITE,
		"damaged", 1, 12},
	{"DMAR: [INTR-REMAP] Request device [f0:1f.7] fault index 0x1a [fault reason 0x26] Blocked "
	 "an interrupt request due to source-id verification failure",
		FAULT_FROM_VTD, FAULT_INTERRUPT, "0000:f0:1f.7", false, NONE, NONE, NONE,
		FAULT_ACCESS_UNKNOWN, "may raise", 2, 0x26},
	/* AMD-Vi: the lab, whose QEMU writes a poor record */
	{"vfio-pci 0000:00:10.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0000 address=0x0 "
	 "flags=0x000a]",
		FAULT_FROM_AMDVI, FAULT_INTERRUPT, "0000:00:10.0", true, NONE, 0, NONE, FAULT_READ,
		"(IO_PAGE_FAULT)", 1, 0xa},
	/* real hosts */
	{"nvme 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000c "
	 "address=0xb8024000 flags=0x0020]",
		FAULT_FROM_AMDVI, FAULT_UNMAPPED, "0000:01:00.0", true, NONE, 0xb8024000, NONE,
		FAULT_WRITE, "not mapped (IO_PAGE_FAULT)", 1, 0x20},
	{"amdgpu 0000:0b:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0013 "
	 "address=0x110e4000 flags=0x0070]",
		FAULT_FROM_AMDVI, FAULT_ACCESS, "0000:0b:00.0", true, NONE, 0x110e4000, NONE,
		FAULT_WRITE, "not for that", 1, 0x70},
	{"AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:26:00.0 pasid=0x00003 address=0xfe3c0 "
	 "flags=0x0000]",
		FAULT_FROM_AMDVI, FAULT_UNMAPPED, "0000:26:00.0", true, NONE, 0xfe3c0, 3,
		FAULT_READ, "not mapped", 1, 0},
	{"AMD-Vi: Event logged [IO_PAGE_FAULT device=03:00.0 domain=0x000d "
	 "address=0x00000000fdf80000 flags=0x0070]",
		FAULT_FROM_AMDVI, FAULT_ACCESS, "0000:03:00.0", false, NONE, 0xfdf80000, NONE,
		FAULT_WRITE, "not for that", 1, 0x70},
	{"iommu ivhd0: AMD-Vi: Event logged [IOTLB_INV_TIMEOUT device=0000:0c:00.0 "
	 "address=0x100038a30]",
		FAULT_FROM_AMDVI, FAULT_DEAD, "0000:0c:00.0", true, NONE, 0x100038a30, NONE,
		FAULT_ACCESS_UNKNOWN, "does not answer", 0, 0},
	{"iommu ivhd0: AMD-Vi: Event logged [ILLEGAL_DEV_TABLE_ENTRY device=0000:00:00.0 "
	 "pasid=0x00000 address=0xfffffffdf8000000 flags=0x0a00]",
		FAULT_FROM_AMDVI, FAULT_STREAM, "0000:00:00.0", true, NONE, 0xfffffffdf8000000,
		NONE, FAULT_ACCESS_UNKNOWN, "entry", 1, 0xa00},
	{"AMD-Vi: Event logged [UNKNOWN event[0]=0x12345678", FAULT_FROM_AMDVI, FAULT_ODD, NULL,
		false, NONE, NONE, NONE, FAULT_ACCESS_UNKNOWN, "not known", 0, 0},
	/* SMMUv3: the lab, 6.12 */
	{"arm-smmu-v3 9050000.smmuv3: event 0x10 received:\n"
	 "arm-smmu-v3 9050000.smmuv3: \t0x0000040000000010\n"
	 "arm-smmu-v3 9050000.smmuv3: \t0x0000000000000000\n"
	 "arm-smmu-v3 9050000.smmuv3: \t0x0000000002000000\n"
	 "arm-smmu-v3 9050000.smmuv3: \t0x0000000000000000",
		FAULT_FROM_SMMUV3, FAULT_UNMAPPED, NULL, false, 0x400, 0x2000000, NONE, FAULT_WRITE,
		"(F_TRANSLATION)", 4, 0x40000000010},
	/* two units at once, and the first event of this one cut off */
	{"arm-smmu-v3 arm-smmu-v3.1.auto: event 0x02 received:\n"
	 "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0000000000000002\n"
	 "arm-smmu-v3 arm-smmu-v3.1.auto: event 0x13 received:\n"
	 "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0001000000007813\n"
	 "arm-smmu-v3 arm-smmu-v3.0.auto: \t0x1111111111111111\n"
	 "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0000000800000000\n"
	 "usb 1-1: new device\n"
	 "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0000007fffff0000\n"
	 "arm-smmu-v3 arm-smmu-v3.1.auto: \t0x0000000000000000",
		FAULT_FROM_SMMUV3, FAULT_ACCESS, NULL, false, 0x10000, 0x7fffff0000, 7, FAULT_READ,
		"(F_PERMISSION)", 4, 0x1000000007813},
	/* virtio-iommu: the lab */
	{"virtio_iommu virtio0: page fault from EP 1280 at 0x2000000 []", FAULT_FROM_VIRTIO,
		FAULT_UNMAPPED, "0000:05:00.0", true, 1280, 0x2000000, NONE, FAULT_ACCESS_UNKNOWN,
		"not mapped", 1, 1280},
	{"virtio_iommu virtio3: page fault from EP 131313 at 0x1000 [W]", FAULT_FROM_VIRTIO,
		FAULT_UNMAPPED, "0002:00:1e.1", true, 131313, 0x1000, NONE, FAULT_WRITE,
		"not mapped", 1, 131313},
	{"virtio_iommu virtio0: domain fault from EP 8 flags 0", FAULT_FROM_VIRTIO, FAULT_STREAM,
		"0000:00:01.0", true, 8, NONE, NONE, FAULT_ACCESS_UNKNOWN, "nothing for the device",
		1, 8},
	/* PCI Express, VFIO */
	{"pcieport 0000:00:1c.4: pciehp: Slot(16): Link Down", FAULT_FROM_PCI, FAULT_LINK,
		"0000:00:1c.4", true, NONE, NONE, NONE, FAULT_ACCESS_UNKNOWN, "down", 0, 0},
	{"pcieport 0000:00:1c.4: pciehp: Slot(16): Card not present", FAULT_FROM_PCI, FAULT_LINK,
		"0000:00:1c.4", true, NONE, NONE, NONE, FAULT_ACCESS_UNKNOWN, "pulled", 0, 0},
	{"vfio-pci 0000:05:00.0: Relaying device request to user (#0)", FAULT_FROM_VFIO,
		FAULT_REQUEST, "0000:05:00.0", true, NONE, NONE, NONE, FAULT_ACCESS_UNKNOWN,
		"wants it back", 0, 0},
	{"vfio-pci 0000:01:00.0: not ready 65535ms after FLR; giving up", FAULT_FROM_PCI,
		FAULT_DEAD, "0000:01:00.0", true, NONE, NONE, NONE, FAULT_ACCESS_UNKNOWN, "reset",
		0, 0},
	{"vfio-pci 0000:0a:00.0: Unable to change power state from D3cold to D0, device "
	 "inaccessible",
		FAULT_FROM_PCI, FAULT_DEAD, "0000:0a:00.0", true, NONE, NONE, NONE,
		FAULT_ACCESS_UNKNOWN, "wake", 0, 0},
	{"pcieport 0000:00:1b.4: AER: Correctable error message received from 0000:01:00.0",
		FAULT_FROM_AER, FAULT_ERROR, "0000:01:00.0", true, NONE, NONE, NONE,
		FAULT_ACCESS_UNKNOWN, "error", 0, 0},
	{"pcieport 0000:00:1c.0: AER: Multiple Corrected error received: 0000:02:00.0",
		FAULT_FROM_AER, FAULT_ERROR, "0000:02:00.0", true, NONE, NONE, NONE,
		FAULT_ACCESS_UNKNOWN, "error", 0, 0},
	{"nvme 0000:6c:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver "
	 "ID)",
		FAULT_FROM_AER, FAULT_ERROR, "0000:6c:00.0", true, NONE, NONE, NONE,
		FAULT_ACCESS_UNKNOWN, "error", 0, 0},
	/* the lab: QEMU's SDN, of which no counter knows */
	{"vfio-pci 0000:0c:00.0: AER: PCIe Bus Error: severity=Uncorrectable (Fatal), "
	 "type=Inaccessible, (Unregistered Agent ID)",
		FAULT_FROM_AER, FAULT_FATAL, "0000:0c:00.0", true, NONE, NONE, NONE,
		FAULT_ACCESS_UNKNOWN, "fatal", 0, 0},
};

/* Feeds it line by line: what the last one said. */
static enum fault_line feed(struct fault_reader *r, const char *log, struct fault *f)
{
	enum fault_line said = FAULT_LINE_NONE;
	char line[512];

	while (*log) {
		size_t len = strcspn(log, "\n");

		ck_assert_uint_lt(len, sizeof(line));
		memcpy(line, log, len);
		line[len] = '\0';
		log += len + (log[len] == '\n');
		said = fault_read_line(r, line, f);
		ck_assert_int_eq(said == FAULT_LINE_FAULT && *log, 0);
	}
	return said;
}

static void check_device(const struct sample *s, const struct fault *f)
{
	char id[PCI_ADDR_MAX] = "";

	ck_assert_int_eq(f->has_device, s->device != NULL);
	if (!s->device)
		return;
	pci_addr_format(&f->device, id);
	ck_assert_str_eq(id, s->device);
	ck_assert_int_eq(f->device.domain_given, s->has_segment);
}

static void check_number(const char *what, bool has, uint64_t value, uint64_t wanted)
{
	ck_assert_msg(has == (wanted != NONE), "%s: is %sthere", what, has ? "" : "not ");
	if (has)
		ck_assert_msg(value == wanted, "%s: 0x%" PRIx64 ", wanted 0x%" PRIx64, what, value,
			wanted);
}

START_TEST(lines_of_all_sources)
{
	struct fault_reader r = {.is_open = false};
	struct fault f;

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *s = &samples[i];

		ck_assert_msg(feed(&r, s->log, &f) == FAULT_LINE_FAULT, "%s", s->log);
		ck_assert_msg(f.source == s->source && f.kind == s->kind && f.access == s->access &&
				      f.raw_count == s->raw_count,
			"%s: %s %s %s, %u words", s->log, fault_source_names[f.source],
			fault_kind_codes[f.kind], fault_access_names[f.access], f.raw_count);
		check_device(s, &f);
		check_number("stream", f.has_stream, f.stream, s->stream);
		check_number("iova", f.has_iova, f.iova, s->iova);
		check_number("pasid", f.has_pasid, f.pasid, s->pasid);
		ck_assert_msg(strstr(f.reason, s->reason) != NULL, "%s: %s", s->log, f.reason);
		if (s->raw_count)
			ck_assert_uint_eq(f.raw[0], s->raw);
	}
}
END_TEST

START_TEST(units_and_pasids_are_told)
{
	struct fault_reader r = {.is_open = false};
	struct fault f;

	ck_assert_int_eq(feed(&r,
				 "arm-smmu-v3 9050000.smmuv3: event 0x10 received:\n"
				 "arm-smmu-v3 9050000.smmuv3: \t0x0000040000005810\n"
				 "arm-smmu-v3 9050000.smmuv3: \t0x0000000400000000\n"
				 "arm-smmu-v3 9050000.smmuv3: \t0x0000000002000000\n"
				 "arm-smmu-v3 9050000.smmuv3: \t0x0000000000000000",
				 &f),
		FAULT_LINE_FAULT);
	ck_assert_str_eq(f.unit, "9050000.smmuv3");
	ck_assert(f.has_pasid);
	ck_assert_uint_eq(f.pasid, 5);
	ck_assert_int_eq(f.access, FAULT_EXECUTE);
	ck_assert_int_eq(feed(&r, "virtio_iommu virtio7: page fault from EP 8 at 0x0 [R]", &f),
		FAULT_LINE_FAULT);
	ck_assert_str_eq(f.unit, "virtio7");
}
END_TEST

START_TEST(what_was_left_out_is_counted)
{
	static const struct {
		const char *line;
		enum fault_source source;
		uint64_t count;
	} lines[] = {
		{"dmar_fault: 12345 callbacks suppressed", FAULT_FROM_VTD, 12345},
		{"amd_iommu_report_page_fault: 7 callbacks suppressed", FAULT_FROM_AMDVI, 7},
		{"arm_smmu_evtq_thread: 1014 callbacks suppressed", FAULT_FROM_SMMUV3, 1014},
		{"viommu_event_handler: 90 callbacks suppressed", FAULT_FROM_VIRTIO, 90},
	};
	struct fault_reader r = {.is_open = false};
	struct fault f;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		ck_assert_int_eq(fault_read_line(&r, lines[i].line, &f), FAULT_LINE_SUPPRESSED);
		ck_assert_int_eq(f.source, lines[i].source);
		ck_assert_uint_eq(f.raw[0], lines[i].count);
	}
	ck_assert_int_eq(
		fault_read_line(&r, "net_ratelimit: 5 callbacks suppressed", &f), FAULT_LINE_NONE);
}
END_TEST

START_TEST(other_lines_are_none)
{
	static const char *const lines[] = {
		"",
		"DMAR: [",
		"DMAR: [Firmware Bug]: No firmware reserved region can cover this RMRR",
		"DMAR: [DMA Read] Request device [] fault addr 0",
		"DMAR: [DMA Read] Request device [zz:00.0] fault addr 0",
		"DMAR: DRHD: handling fault status reg 2",
		"DMAR: Intel(R) Virtualization Technology for Directed I/O",
		"virtio_iommu virtio0: page fault from EP x at 0x0",
		"virtio_iommu virtio0: page fault from EP 4294967296 at 0x0",
		"somebody writes from EP 5",
		"arm-smmu-v3 9050000.smmuv3: \t0x0000040000000010",
		"a line: \t0x0000040000000010",
		"pcieport 0000:00:1c.4: pciehp: Slot(16): Link Up",
		"e1000e eth0: Link Down",
		"Link Down",
		": AER: enabled with IRQ 122",
		"callbacks suppressed",
	};
	struct fault_reader r = {.is_open = false};
	struct fault f;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		ck_assert_msg(
			fault_read_line(&r, lines[i], &f) == FAULT_LINE_NONE, "'%s'", lines[i]);
}
END_TEST

START_TEST(error_counters)
{
	struct aer_counters before, now;

	aer_parse("Undefined 0\nDLP 0\nSDES 0\nTLP 3\nCmpltTO 1\nTOTAL_ERR_FATAL 4\n", &before);
	ck_assert_uint_eq(before.count, 5);
	ck_assert_str_eq(before.at[3].name, "TLP");
	ck_assert_uint_eq(before.at[3].count, 3);
	aer_parse("TLP 5\nCmpltTO 1\nNewOne 2\nno number\n 3\nlong name 4\nTLP", &now);
	ck_assert_uint_eq(now.count, 3);
	ck_assert_uint_eq(aer_more(&before, &now.at[0]), 2);
	ck_assert_uint_eq(aer_more(&before, &now.at[1]), 0);
	ck_assert_uint_eq(aer_more(&before, &now.at[2]), 2);
	ck_assert_str_eq(aer_words("CmpltTO"), "an answer did not come in time");
	ck_assert_str_eq(aer_words("NewOne"), "NewOne");
}
END_TEST

START_TEST(errors_without_a_name_are_counted)
{
	struct aer_counters before, now;

	aer_parse("DLP 1\nSDES 0\nTOTAL_ERR_FATAL 1\n", &before);
	ck_assert_uint_eq(before.total, 1);
	ck_assert_uint_eq(before.count, 2);
	aer_parse("DLP 1\nSDES 0\nTOTAL_ERR_FATAL 3\n", &now);
	ck_assert_uint_eq(aer_nameless(&before, &now), 2);
	ck_assert_uint_eq(aer_nameless(&now, &now), 0);
	ck_assert_uint_eq(aer_nameless(&now, &before), 0);
	/* one report, two names: nothing is missing */
	aer_parse("DLP 2\nSDES 1\nTOTAL_ERR_FATAL 2\n", &now);
	ck_assert_uint_eq(aer_nameless(&before, &now), 0);
}
END_TEST

UNIT_MAIN(lines_of_all_sources, units_and_pasids_are_told, what_was_left_out_is_counted,
	other_lines_are_none, error_counters, errors_without_a_name_are_counted)
