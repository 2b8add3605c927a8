/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's log, of which some is what devices and guests made it say; and error counters.
 *
 *	byte 0		odd: counters, as one text; even: records of /dev/kmsg, a line each
 *	then		the text
 */
#include <stdlib.h>
#include <string.h>

#include "lib/iommu/aer.h"
#include "lib/iommu/fault.h"
#include "lib/kmsg.h"
#include "tests/fuzz/fuzz.h"

static void require(bool good)
{
	if (!good)
		abort();
}

static void require_text(const char *text, size_t size)
{
	require(strnlen(text, size) < size);
}

static void check_fault(const struct fault *f)
{
	require(f->source < FAULT_SOURCES && f->kind < FAULT_KINDS && f->access < FAULT_ACCESSES);
	require(f->raw_count <= FAULT_RAW_MAX);
	require_text(f->unit, sizeof(f->unit));
	require_text(f->reason, sizeof(f->reason));
	require(f->reason[0]);
	require(f->has_device || f->device.domain == 0);
	require(f->device.slot < 32 && f->device.function < 8);
}

static void read_log(const char *text, size_t len)
{
	struct fault_reader reader = {.is_open = false};
	struct kmsg_record record;
	struct fault f;

	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;

		if (kmsg_parse(text, line, &record)) {
			require_text(record.text, sizeof(record.text));
			if (fault_read_line(&reader, record.text, &f) == FAULT_LINE_FAULT)
				check_fault(&f);
		}
		line += end != NULL;
		text += line;
		len -= line;
	}
}

static void read_counters(const char *text)
{
	struct aer_counters c;

	aer_parse(text, &c);
	require(c.count <= ARRAY_SIZE(c.at));
	for (size_t i = 0; i < c.count; i++) {
		require_text(c.at[i].name, sizeof(c.at[i].name));
		require(aer_words(c.at[i].name) && aer_more(&c, &c.at[i]) <= c.at[i].count);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size == 0)
		return 0;
	if (data[0] % 2 == 0) {
		read_log((const char *)data + 1, size - 1);
		return 0;
	}
	text = strndup((const char *)data + 1, size - 1);
	require(text);
	read_counters(text);
	free(text);
	return 0;
}
