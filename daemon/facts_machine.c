/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the rules want to know of a libvirt domain (daemon/facts.h), from its XML. A port is a controller
 * of its own, by index; what is plugged into it names that index as its bus.
 */
#include <string.h>

#include "daemon/domain_xml.h"
#include "daemon/facts.h"
#include "lib/xml.h"

#define PORTS_MAX 256 /* a bus has 8 bits */

/* Controllers by index, and which of them have something plugged in. */
struct ports {
	bool is_there[PORTS_MAX], is_taken[PORTS_MAX];
};

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

static void read_controller(const struct xml *x, struct ports *p)
{
	static const char *const models[] = {"pcie-root-port", "pcie-switch-downstream-port"};
	char model[40], text[16];
	uint64_t index;

	if (xml_attribute(x, "model", model, sizeof(model)) &&
		is_one_of(model, models, ARRAY_SIZE(models)) &&
		xml_attribute(x, "index", text, sizeof(text)) &&
		parse_u64(text, PORTS_MAX - 1, &index) == 0)
		p->is_there[index] = true;
}

static void read_address(const struct xml *x, struct ports *p)
{
	char type[16], text[16];
	uint64_t bus;

	if (xml_attribute(x, "type", type, sizeof(type)) && strcmp(type, "pci") == 0 &&
		xml_attribute(x, "bus", text, sizeof(text)) &&
		parse_u64(text, PORTS_MAX - 1, &bus) == 0)
		p->is_taken[bus] = true;
}

/* "domain/devices/disk/address", of any device; but of a hostdev's source it is the host's. */
static bool is_address(const char *path)
{
	static const char devices[] = "domain/devices/", address[] = "/address";
	size_t len = strlen(path);

	return strncmp(path, devices, sizeof(devices) - 1) == 0 && len > sizeof(address) &&
	       strcmp(path + len - (sizeof(address) - 1), address) == 0 &&
	       !strstr(path, "/source/");
}

/* libvirt prints amounts in KiB. The text of the element; 0: it is none. */
static uint64_t read_kib(const struct xml *x)
{
	const char *at = xml_content(x);
	uint64_t value = 0;

	for (; *at >= '0' && *at <= '9' && value < UINT64_MAX / 20; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

static void read_type(const struct xml *x, struct machine_facts *m)
{
	if (!xml_attribute(x, "machine", m->type, sizeof(m->type)))
		return;
	m->bus = strstr(m->type, "q35") || strncmp(m->type, "virt", 4) == 0 ? MACHINE_PCIE
		 : strncmp(m->type, "pc", 2) == 0                           ? MACHINE_PCI
		 : strcmp(m->type, "microvm") == 0 || strcmp(m->type, "isapc") == 0
			 ? MACHINE_NO_PCI
			 : MACHINE_BUS_UNKNOWN;
}

static void read_balloon(const struct xml *x, struct machine_facts *m)
{
	char model[24];

	m->has_balloon =
		xml_attribute(x, "model", model, sizeof(model)) && strcmp(model, "none") != 0;
}

void facts_read_machine(const char *xml, bool is_live, struct machine_facts *m)
{
	struct ports ports = {.is_there = {false}};
	struct xml x;

	*m = (struct machine_facts){
		.is_live = is_live, .shares_memory = domain_xml_shares_memory(xml)};
	xml_begin(&x, xml);
	while (xml_next(&x)) {
		if (xml_is(&x, "domain/os/type"))
			read_type(&x, m);
		else if (xml_is(&x, "domain/memory"))
			m->memory_kib = read_kib(&x);
		else if (xml_is(&x, "domain/memtune/hard_limit"))
			m->limit_kib = read_kib(&x);
		else if (xml_is(&x, "domain/devices/memballoon"))
			read_balloon(&x, m);
		else if (xml_is(&x, "domain/devices/controller"))
			read_controller(&x, &ports);
		if (is_address(x.path))
			read_address(&x, &ports);
	}
	for (size_t i = 0; i < PORTS_MAX; i++) {
		m->ports += ports.is_there[i];
		m->free_ports += ports.is_there[i] && !ports.is_taken[i];
	}
}
