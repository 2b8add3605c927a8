/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What devices and firmware say of themselves: configuration spaces, and tables of StreamIDs.
 *
 *	byte 0		which parser, as below
 *	configurations: for each function of two ways up, two bytes of length, then its space
 *	tables:		two bytes of requester ID, then the table
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/iommu/acs.h"
#include "lib/iommu/iort.h"
#include "tests/fuzz/fuzz.h"

static void require(bool good)
{
	if (!good)
		abort();
}

/* A copy of the next `len` bytes that ends where they end, for the sanitizers. */
static uint8_t *take(const uint8_t **data, size_t *left, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	require(copy);
	memcpy(copy, *data, len);
	*data += len;
	*left -= len;
	return copy;
}

static void check_config(const struct pci_config *c, size_t len)
{
	require(c->express_at == 0 || c->express_at + 10u <= len);
	require(c->acs_at == 0 || (c->acs_at >= 256 && c->acs_at + 8u <= len));
	require(c->phantom_bits <= 3);
	require(!(pci_config_acs_lacks(c) & ~PCI_ACS_ISOLATION));
}

static void fill_function(
	struct pci_function *f, unsigned int bus, const uint8_t **data, size_t *left)
{
	size_t len = MIN((size_t)((*data)[0] | (*data)[1] << 8), *left - 2);
	uint8_t *space;

	*data += 2;
	*left -= 2;
	space = take(data, left, len);
	f->addr = (struct pci_addr){.bus = (uint8_t)bus, .domain_given = true};
	f->group = bus & 1;
	pci_addr_format(&f->addr, f->id);
	if (pci_config_decode(space, len, &f->config))
		check_config(&f->config, len);
	free(space);
}

static void explain(const uint8_t *data, size_t left)
{
	static struct pci_path paths[2];
	struct acs_finding found[3];
	size_t count;

	for (size_t i = 0; i < 2; i++) {
		paths[i].count = 0;
		while (left >= 2 && paths[i].count < 4) {
			fill_function(&paths[i].at[paths[i].count],
				(unsigned int)(4 * i + paths[i].count), &data, &left);
			paths[i].count++;
		}
		require(acs_alias_point(&paths[i]) <= paths[i].count);
	}
	count = acs_explain(1, paths, 2, found, ARRAY_SIZE(found));
	require(count <= ARRAY_SIZE(found));
	require(count || !paths[0].count);
	for (size_t i = 0; i < count; i++) {
		require(found[i].kind < ACS_KIND_COUNT && found[i].device[0]);
		require(strnlen(found[i].what, sizeof(found[i].what)) < sizeof(found[i].what));
	}
}

static void map_by_table(const uint8_t *data, size_t left)
{
	struct stream_map map;
	uint16_t id = (uint16_t)(data[0] | data[1] << 8);
	size_t len = left - 2;
	uint8_t *table;
	int rc;

	data += 2;
	left -= 2;
	table = take(&data, &left, len);
	rc = iort_map(table, len, 0, id, &map);
	require(rc == 0 || rc == -ENOENT || rc == -EINVAL);
	rc = iommu_map_map(table, len, UINT32_MAX, id, &map);
	require(rc == 0 || rc == -ENOENT || rc == -EINVAL);
	free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	if (data[0] & 1)
		map_by_table(data + 1, size - 1);
	else
		explain(data + 1, size - 1);
	return 0;
}
