/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arm SMMUv3. An event is a line, and its record of four words a line each; what newer kernels say
 * of it after that is in the words:
 *
 *	arm-smmu-v3 9050000.smmuv3: event 0x10 received:
 *	arm-smmu-v3 9050000.smmuv3:	0x0000040000000010	StreamID<<32 | SSID<<12 | SSV<<11 | event
 *	arm-smmu-v3 9050000.smmuv3:	0x0000000000000000	bit 35: a read
 *	arm-smmu-v3 9050000.smmuv3:	0x0000000002000000	the address
 *	arm-smmu-v3 9050000.smmuv3:	0x0000000000000000
 *
 * Records are printed by one thread for each SMMU: the words of two may be mixed, and those of
 * another than that whose event is open are nobody's. One that is cut off is dropped by the next.
 */
#include <stdio.h>
#include <string.h>

#include "lib/iommu/fault_priv.h"

#define WORDS         4
#define HAS_SUBSTREAM (1ull << 11)
#define IS_READ       (1ull << 35)
#define IS_EXECUTE    (1ull << 34)

static const struct event {
	uint8_t id;
	enum fault_kind kind;
	bool has_address;
	const char *name, *words;
} events[] = {
	{0x01, FAULT_ODD, true, "F_UUT", "the transaction is of no kind that the SMMU knows"},
	{0x02, FAULT_STREAM, false, "C_BAD_STREAMID", "the SMMU has no entry for the device"},
	{0x03, FAULT_IOMMU, false, "F_STE_FETCH", "the SMMU could not read the device's entry"},
	{0x04, FAULT_STREAM, false, "C_BAD_STE", "the device's entry in the SMMU is not valid"},
	{0x05, FAULT_STREAM, true, "F_BAD_ATS_TREQ", "the device may not ask for translations"},
	{0x06, FAULT_STREAM, false, "F_STREAM_DISABLED", "the device is blocked"},
	{0x07, FAULT_STREAM, true, "F_TRANSL_FORBIDDEN", "the device may not translate by itself"},
	{0x08, FAULT_STREAM, false, "C_BAD_SUBSTREAMID", "the SMMU has no entry for the PASID"},
	{0x09, FAULT_IOMMU, false, "F_CD_FETCH", "the SMMU could not read a context"},
	{0x0a, FAULT_STREAM, false, "C_BAD_CD", "the device's context is not valid"},
	{0x0b, FAULT_IOMMU, true, "F_WALK_EABT", "the SMMU could not read its tables"},
	{0x10, FAULT_UNMAPPED, true, "F_TRANSLATION", "the address is not mapped"},
	{0x11, FAULT_UNMAPPED, true, "F_ADDR_SIZE", "the address is beyond what can be"},
	{0x12, FAULT_ACCESS, true, "F_ACCESS", "the page was not to be used"},
	{0x13, FAULT_ACCESS, true, "F_PERMISSION", "the address is mapped, and not for that"},
	{0x20, FAULT_IOMMU, true, "F_TLB_CONFLICT", "the SMMU's tables contradict each other"},
	{0x21, FAULT_IOMMU, false, "F_CFG_CONFLICT", "the SMMU's entries contradict each other"},
	{0x24, FAULT_ODD, true, "E_PAGE_REQUEST", "the device asks for a page"},
};

static const struct event *find_event(uint64_t id)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i].id == id)
			return &events[i];
	return NULL;
}

static void decode(struct fault *f)
{
	const struct event *event = find_event(f->raw[0] & 0xff);

	f->has_stream = true;
	f->stream = (uint32_t)(f->raw[0] >> 32);
	f->has_pasid = f->raw[0] & HAS_SUBSTREAM;
	f->pasid = f->has_pasid ? (uint32_t)(f->raw[0] >> 12 & 0xfffff) : 0;
	f->kind = event ? event->kind : FAULT_ODD;
	f->has_iova = event && event->has_address;
	f->iova = f->has_iova ? f->raw[2] : 0;
	if (f->has_iova)
		f->access = f->raw[1] & IS_EXECUTE ? FAULT_EXECUTE
			    : f->raw[1] & IS_READ  ? FAULT_READ
						   : FAULT_WRITE;
	if (event)
		snprintf(f->reason, sizeof(f->reason), "%s (%s)", event->words, event->name);
	else
		snprintf(f->reason, sizeof(f->reason), "the reason is not known (event 0x%02x)",
			(unsigned int)(f->raw[0] & 0xff));
}

static enum fault_line begin(struct fault_reader *r, const char *line, const char *mark)
{
	r->event = (struct fault){.source = FAULT_FROM_SMMUV3};
	fault_unit_before(line, mark, &r->event);
	r->words = 0;
	r->is_open = true;
	return FAULT_LINE_PART;
}

/* The next word, if the line is one of this unit. */
static bool find_word(const struct fault_reader *r, const char *line, uint64_t *word)
{
	const char *at = fault_after(line, r->event.unit);
	const char *end;

	if (!r->event.unit[0] || !at || *at++ != ':')
		return false;
	at += strspn(at, " \t");
	end = strncmp(at, "0x", 2) == 0 ? fault_number(at, 16, word) : NULL;
	return end && *end == '\0';
}

enum fault_line fault_smmuv3_read(struct fault_reader *r, const char *line, struct fault *f)
{
	const char *mark = strstr(line, ": event 0x");
	uint64_t word;

	if (mark && strstr(mark, " received:"))
		return begin(r, line, mark);
	if (!r->is_open || !find_word(r, line, &word))
		return FAULT_LINE_NONE;
	r->event.raw[r->words++] = word;
	if (r->words < WORDS)
		return FAULT_LINE_PART;
	r->is_open = false;
	*f = r->event;
	f->raw_count = WORDS;
	decode(f);
	return FAULT_LINE_FAULT;
}
