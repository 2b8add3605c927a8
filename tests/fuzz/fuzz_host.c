/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The texts of a host, which in a recorded tree come from anybody: tables of /proc, the kernel's
 * messages, reserved regions, addresses. What a parser returns must lie in the text it was given.
 *
 *	byte 0		which parser, as below
 *	then		the text
 */
#include <stdlib.h>
#include <string.h>

#include "lib/iommu/group.h"
#include "lib/pci.h"
#include "lib/procfs.h"
#include "lib/uevent.h"
#include "tests/fuzz/fuzz.h"

struct text {
	char *start, *end; /* end: the terminator that was put behind the input */
};

static void require(bool good)
{
	if (!good)
		abort();
}

static void require_inside(const struct text *t, const char *s)
{
	require(s >= t->start && s <= t->end && s + strlen(s) <= t->end);
}

static void parse_mountinfo(const struct text *t)
{
	char *cursor = t->start;
	struct mountinfo_row row;

	while (mountinfo_next(&cursor, &row)) {
		require(cursor > t->start && cursor <= t->end);
		require_inside(t, row.root);
		require_inside(t, row.mount_point);
		require_inside(t, row.fstype);
		require_inside(t, row.source);
	}
}

static void parse_swaps(const struct text *t)
{
	char *cursor = t->start;
	struct swaps_row row;

	while (swaps_next(&cursor, &row)) {
		require(row.path[0] == '/');
		require_inside(t, row.path);
	}
}

static void parse_routes(const struct text *t)
{
	char *cursor = t->start;
	struct route_row row;

	while (route_next(&cursor, &row))
		require_inside(t, row.interface);
}

static void parse_ipv6_routes(const struct text *t)
{
	char *cursor = t->start;
	struct route_row row;

	while (ipv6_route_next(&cursor, &row))
		require_inside(t, row.interface);
}

static void parse_uevent(const struct text *t)
{
	struct uevent event;

	if (!uevent_parse(t->start, (size_t)(t->end - t->start), &event))
		return;
	require_inside(t, event.devpath);
	require_inside(t, event.subsystem);
	require_inside(t, uevent_name(event.devpath));
	if (event.old_devpath)
		require_inside(t, event.old_devpath);
}

static void parse_regions(const struct text *t)
{
	struct iommu_region regions[4];
	size_t count = iommu_parse_regions(t->start, regions, ARRAY_SIZE(regions));

	require(count <= ARRAY_SIZE(regions));
	for (size_t i = 0; i < count; i++) {
		require(regions[i].start <= regions[i].end);
		require(strnlen(regions[i].type, sizeof(regions[i].type)) <
			sizeof(regions[i].type));
	}
}

/* What was read as an address reads the same when it is written. */
static void parse_address(const struct text *t)
{
	struct pci_addr addr, again;
	char text[PCI_ADDR_MAX];

	if (!pci_addr_parse(t->start, &addr))
		return;
	pci_addr_format(&addr, text);
	require(pci_addr_parse(text, &again));
	require(again.domain == addr.domain && again.bus == addr.bus && again.slot == addr.slot &&
		again.function == addr.function);
}

static void (*const parsers[])(const struct text *t) = {parse_mountinfo, parse_swaps, parse_routes,
	parse_ipv6_routes, parse_uevent, parse_regions, parse_address};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text t;

	if (size == 0)
		return 0;
	t.start = malloc(size);
	require(t.start);
	memcpy(t.start, data + 1, size - 1);
	t.end = t.start + size - 1;
	*t.end = '\0';
	parsers[data[0] % ARRAY_SIZE(parsers)](&t);
	free(t.start);
	return 0;
}
