/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The layout (PCI Express Base Specification, chapter 7):
 *
 *	0x06	status: bit 4, there is a list of capabilities
 *	0x0e	header type: bits 6..0, 1 for a bridge; bit 7, several functions
 *	0x19	a bridge's secondary, then its subordinate bus
 *	0x34	first capability: a byte of id, a byte that leads to the next one
 *	0x100	first extended capability: 16 bits of id, 4 of version, 12 that lead to the next one
 *
 * A list that runs in a circle ends after as many steps as there can be capabilities.
 */
#include "lib/iommu/pci_config.h"

#include <string.h>

#define STATUS_AT          0x06
#define STATUS_HAS_LIST    (1u << 4)
#define HEADER_TYPE_AT     0x0e
#define SECONDARY_AT       0x19
#define SUBORDINATE_AT     0x1a
#define LIST_AT            0x34
#define CAPABILITY_EXPRESS 0x10
#define EXTENDED_AT        0x100
#define EXTENDED_SERIAL    0x0003
#define EXTENDED_ACS       0x000d
#define EXTENDED_SRIOV     0x0010

/* Within the PCI Express capability. */
#define EXPRESS_FLAGS  0x02
#define EXPRESS_DEVCAP 0x04
#define EXPRESS_DEVCTL 0x08
#define EXPRESS_SIZE   0x0a /* what is read of it */
#define DEVCTL_PHANTOM (1u << 9)
#define ACS_CAPABILITY 0x04
#define ACS_CONTROL    0x06
#define ACS_SIZE       0x08
#define SERIAL_LOW     0x04
#define SERIAL_HIGH    0x08
#define SERIAL_SIZE    0x0c
#define SRIOV_TOTAL    0x0e
#define SRIOV_OFFSET   0x14
#define SRIOV_STRIDE   0x16
#define SRIOV_SIZE     0x40
#define LIST_STEPS     48  /* capabilities that fit behind a header */
#define EXTENDED_STEPS 480 /* of at least 8 bytes each */

static uint16_t get_u16(const uint8_t *bytes, size_t at)
{
	return (uint16_t)(bytes[at] | bytes[at + 1] << 8);
}

static uint32_t get_u32(const uint8_t *bytes, size_t at)
{
	return get_u16(bytes, at) | (uint32_t)get_u16(bytes, at + 2) << 16;
}

/* Where a capability is of which `size` bytes can be seen; 0: nowhere. *seen: all of the list. */
static size_t find_capability(const uint8_t *bytes, size_t len, uint8_t id, size_t size, bool *seen)
{
	size_t at = bytes[LIST_AT] & 0xfcu;

	*seen = true;
	if (!(get_u16(bytes, STATUS_AT) & STATUS_HAS_LIST))
		return 0;
	for (unsigned int i = 0; i < LIST_STEPS && at >= PCI_CONFIG_HEADER_SIZE; i++) {
		if (at + 2 > len || (bytes[at] == id && at + size > len)) {
			*seen = false;
			return 0;
		}
		if (bytes[at] == id)
			return at;
		if (bytes[at] == 0xff)
			return 0;
		at = bytes[at + 1] & 0xfcu;
	}
	return 0;
}

static size_t find_extended(const uint8_t *bytes, size_t len, uint16_t id, size_t size)
{
	size_t at = EXTENDED_AT;

	for (unsigned int i = 0; i < EXTENDED_STEPS && at >= EXTENDED_AT && at + 4 <= len; i++) {
		uint32_t header = get_u32(bytes, at);

		if (header == 0 || header == UINT32_MAX)
			return 0;
		if ((header & 0xffff) == id)
			return at + size <= len ? at : 0;
		at = header >> 20 & 0xffcu;
	}
	return 0;
}

static enum pci_port port_of(unsigned int type)
{
	switch (type) {
	case PCI_PORT_ENDPOINT:
	case PCI_PORT_LEGACY_ENDPOINT:
	case PCI_PORT_ROOT:
	case PCI_PORT_UPSTREAM:
	case PCI_PORT_DOWNSTREAM:
	case PCI_PORT_TO_PCI:
	case PCI_PORT_FROM_PCI:
	case PCI_PORT_INTEGRATED:
	case PCI_PORT_EVENTS:
		return (enum pci_port)type;
	default: /* a number from outside; none of those that isolate */
		return PCI_PORT_UNKNOWN;
	}
}

static void decode_express(const uint8_t *bytes, size_t len, struct pci_config *c)
{
	bool seen;
	size_t at = find_capability(bytes, len, CAPABILITY_EXPRESS, EXPRESS_SIZE, &seen);

	if (!at) {
		c->port = seen ? PCI_PORT_CONVENTIONAL : PCI_PORT_UNKNOWN;
		return;
	}
	c->express_at = (uint16_t)at;
	c->port = port_of(get_u16(bytes, at + EXPRESS_FLAGS) >> 4 & 0xfu);
	if (get_u16(bytes, at + EXPRESS_DEVCTL) & DEVCTL_PHANTOM)
		c->phantom_bits = get_u32(bytes, at + EXPRESS_DEVCAP) >> 3 & 3u;
}

static void decode_acs(const uint8_t *bytes, size_t len, struct pci_config *c)
{
	size_t at;

	/* More than the header, and no more than 256 bytes: there is no extended space. */
	c->acs_known = c->port == PCI_PORT_CONVENTIONAL || len > PCI_CONFIG_HEADER_SIZE;
	at = c->express_at ? find_extended(bytes, len, EXTENDED_ACS, ACS_SIZE) : 0;
	if (!at)
		return;
	c->acs_at = (uint16_t)at;
	c->acs_capability = get_u16(bytes, at + ACS_CAPABILITY);
	c->acs_control = get_u16(bytes, at + ACS_CONTROL);
}

static void decode_serial(const uint8_t *bytes, size_t len, struct pci_config *c)
{
	size_t at = c->express_at ? find_extended(bytes, len, EXTENDED_SERIAL, SERIAL_SIZE) : 0;

	if (at)
		c->serial = (uint64_t)get_u32(bytes, at + SERIAL_HIGH) << 32 |
			    get_u32(bytes, at + SERIAL_LOW);
	c->has_serial = c->serial != 0 && c->serial != UINT64_MAX;
}

static void decode_sriov(const uint8_t *bytes, size_t len, struct pci_config *c)
{
	size_t at = c->express_at ? find_extended(bytes, len, EXTENDED_SRIOV, SRIOV_SIZE) : 0;

	if (!at)
		return;
	c->sriov_at = (uint16_t)at;
	c->sriov_total = get_u16(bytes, at + SRIOV_TOTAL);
	c->sriov_offset = get_u16(bytes, at + SRIOV_OFFSET);
	c->sriov_stride = get_u16(bytes, at + SRIOV_STRIDE);
}

static bool is_header(const uint8_t *bytes, size_t len)
{
	if (len < PCI_CONFIG_HEADER_SIZE)
		return false;
	for (size_t i = 0; i < PCI_CONFIG_HEADER_SIZE; i++)
		if (bytes[i] != 0xff)
			return true;
	return false;
}

bool pci_config_decode(const uint8_t *bytes, size_t len, struct pci_config *c)
{
	*c = (struct pci_config){.port = PCI_PORT_UNKNOWN};
	if (!is_header(bytes, len)) {
		c->is_dead = len >= PCI_CONFIG_HEADER_SIZE;
		return false;
	}
	c->has_header = true;
	len = MIN(len, PCI_CONFIG_MAX);
	c->is_bridge = (bytes[HEADER_TYPE_AT] & 0x7f) == 1;
	c->multifunction = bytes[HEADER_TYPE_AT] & 0x80;
	if (c->is_bridge) {
		c->secondary = bytes[SECONDARY_AT];
		c->subordinate = bytes[SUBORDINATE_AT];
	}
	decode_express(bytes, len, c);
	decode_acs(bytes, len, c);
	decode_serial(bytes, len, c);
	decode_sriov(bytes, len, c);
	return true;
}

uint16_t pci_config_acs_lacks(const struct pci_config *c)
{
	if (!c->acs_at)
		return PCI_ACS_ISOLATION;
	return PCI_ACS_ISOLATION & c->acs_capability & (uint16_t)~c->acs_control;
}
