/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec: the configuration space of a PCI function, as far as grouping and stream IDs depend on it.
 * The bytes are a device's, or a recorded tree's: hostile. Every offset is checked, every list
 * bounded; what makes no sense is as if it were not there.
 */
#pragma once

#include "lib/util.h"

#define PCI_CONFIG_HEADER_SIZE 64 /* what the kernel shows to those who are not root */
#define PCI_CONFIG_MAX         4096

/* The device/port type of the PCI Express capability; below them, the two that have none. */
enum pci_port {
	PCI_PORT_ENDPOINT = 0,
	PCI_PORT_LEGACY_ENDPOINT = 1,
	PCI_PORT_ROOT = 4,
	PCI_PORT_UPSTREAM = 5,
	PCI_PORT_DOWNSTREAM = 6,
	PCI_PORT_TO_PCI = 7,   /* a PCI Express to PCI or PCI-X bridge */
	PCI_PORT_FROM_PCI = 8, /* the reverse */
	PCI_PORT_INTEGRATED = 9,
	PCI_PORT_EVENTS = 10, /* a root complex event collector */
	PCI_PORT_CONVENTIONAL = 16,
	PCI_PORT_UNKNOWN = 17, /* not to be seen: too few bytes */
};

/* Bits of access control services: of both the capability and the control register. */
enum {
	PCI_ACS_SOURCE_VALIDATION = 1 << 0,
	PCI_ACS_REQUEST_REDIRECT = 1 << 2,
	PCI_ACS_COMPLETION_REDIRECT = 1 << 3,
	PCI_ACS_UPSTREAM_FORWARDING = 1 << 4,
	/* What the kernel asks for before it takes two functions for isolated. */
	PCI_ACS_ISOLATION = PCI_ACS_SOURCE_VALIDATION | PCI_ACS_REQUEST_REDIRECT |
			    PCI_ACS_COMPLETION_REDIRECT | PCI_ACS_UPSTREAM_FORWARDING,
};

struct pci_config {
	bool has_header; /* false: nothing of it can be read */
	enum pci_port port;
	bool is_bridge, multifunction;
	uint8_t secondary, subordinate; /* bus numbers of a bridge */
	uint16_t express_at;            /* where the PCI Express capability is; 0: none */
	uint16_t acs_at;                /* the same of ACS */
	uint16_t acs_capability, acs_control;
	bool acs_known; /* false: the extended space cannot be seen, there may be an ACS */
	unsigned int phantom_bits; /* of the function number that the function uses itself */
	bool is_dead;              /* all ones: there is nothing, or it answers nobody */
	uint16_t sriov_at;         /* where the SR-IOV capability is; 0: none */
	bool has_serial;           /* it has a serial number of its own, not 0 */
	uint64_t serial;
	uint16_t sriov_total, sriov_offset, sriov_stride; /* of its VFs: how many, where */
};

/* False if the bytes are no header: too few, or all ones, as of a function that is gone. */
bool pci_config_decode(const uint8_t *bytes, size_t len, struct pci_config *c);

/* The bits of PCI_ACS_ISOLATION that are not in force: what is not in the capability register is
 * hard-wired, as the kernel takes it. All of them where there is no ACS. */
uint16_t pci_config_acs_lacks(const struct pci_config *c);
