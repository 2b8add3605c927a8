/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI addresses in the forms that people paste, and names of PCI devices (the home of libpci). */
#pragma once

#include "lib/err.h"

struct pci_addr {
	uint32_t domain;
	uint8_t bus, slot, function;
	bool domain_given; /* false: "41:00.0", whose domain is for the caller to find */
};

#define PCI_ADDR_MAX 24 /* "10000:41:1f.7" and its terminator fit */

/* "0000:41:00.0", "41:00.0" or libvirt's "pci_0000_41_00_0". False if it is none of them. */
bool pci_addr_parse(const char *text, struct pci_addr *addr);

/* The canonical text, as sysfs has it. */
void pci_addr_format(const struct pci_addr *addr, char text[static PCI_ADDR_MAX]);

/* Names from pci.ids. Opened once; a host without the file has no names (not an error). */
struct pci_names;

struct pci_names *pci_names_open(void);
void pci_names_close(struct pci_names *names);

/* "Intel Corporation I350 Gigabit Network Connection"; false (and "") if nothing is known. */
bool pci_names_lookup(
	struct pci_names *names, uint16_t vendor, uint16_t device, char *name, size_t size);
