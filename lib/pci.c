/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/pci.h"

#include <pci/pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

/* One hexadecimal number of min to max digits at *text, which moves behind it. */
static bool take_hex(const char **text, size_t min, size_t max, uint32_t *value)
{
	size_t len = strspn(*text, "0123456789abcdefABCDEF");

	if (len < min || len > max)
		return false;
	*value = (uint32_t)strtoul(*text, NULL, 16);
	*text += len;
	return true;
}

static bool take_char(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* "<bus> sep1 <slot> sep2 <function>" to the end of the text. */
static bool take_bus_slot_function(const char *s, char sep1, char sep2, struct pci_addr *addr)
{
	uint32_t bus, slot, function;

	if (!take_hex(&s, 2, 2, &bus) || !take_char(&s, sep1) || !take_hex(&s, 2, 2, &slot) ||
		!take_char(&s, sep2) || !take_hex(&s, 1, 1, &function) || *s)
		return false;
	if (slot > 0x1f || function > 7)
		return false;
	addr->bus = (uint8_t)bus;
	addr->slot = (uint8_t)slot;
	addr->function = (uint8_t)function;
	return true;
}

bool pci_addr_parse(const char *text, struct pci_addr *addr)
{
	const char *s = text;

	*addr = (struct pci_addr){0};
	if (strncmp(s, "pci_", 4) == 0) {
		s += 4;
		addr->domain_given = true;
		return take_hex(&s, 4, 8, &addr->domain) && take_char(&s, '_') &&
		       take_bus_slot_function(s, '_', '_', addr);
	}
	if (take_bus_slot_function(s, ':', '.', addr))
		return true;
	addr->domain_given = true;
	return take_hex(&s, 4, 8, &addr->domain) && take_char(&s, ':') &&
	       take_bus_slot_function(s, ':', '.', addr);
}

void pci_addr_format(const struct pci_addr *addr, char text[static PCI_ADDR_MAX])
{
	snprintf(text, PCI_ADDR_MAX, "%04x:%02x:%02x.%x", addr->domain, addr->bus, addr->slot,
		addr->function);
}

struct pci_names {
	struct pci_access *access;
};

/* libpci prints by itself otherwise. */
static void pci_say(char *fmt, ...)
{
	log_debug("inv", "libpci: %s", fmt);
}

struct pci_names *pci_names_open(void)
{
	struct pci_names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->access = pci_alloc();
	/*
	 * No pci_init(): it looks for a way to reach the hardware, and ends the process where
	 * there is none. Names need only the file.
	 */
	names->access->id_lookup_mode = 0; /* nor its cache of answers from the network */
	names->access->warning = pci_say;
	names->access->debug = pci_say;
	return names;
}

void pci_names_close(struct pci_names *names)
{
	if (!names)
		return;
	pci_free_name_list(names->access);
	pci_cleanup(names->access);
	free(names);
}

bool pci_names_lookup(
	struct pci_names *names, uint16_t vendor, uint16_t device, char *name, size_t size)
{
	const int file_only = PCI_LOOKUP_NO_NUMBERS | PCI_LOOKUP_NO_HWDB;
	const int both = PCI_LOOKUP_VENDOR | PCI_LOOKUP_DEVICE | file_only;
	char text[512];
	char *found = NULL;

	name[0] = '\0';
	if (!names)
		return false;
	found = pci_lookup_name(names->access, text, sizeof(text), both, vendor, device);
	if (!found) /* a device newer than the file: its vendor at least */
		found = pci_lookup_name(
			names->access, text, sizeof(text), PCI_LOOKUP_VENDOR | file_only, vendor);
	if (!found || found[0] == '<') /* "<pci_lookup_name: buffer too small>" */
		return false;
	str_copy(name, size, found);
	return true;
}
