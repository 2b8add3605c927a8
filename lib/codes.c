/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/codes.h"

#include <string.h>

extern const struct code_area codes_host, codes_groups, codes_devices, codes_drivers, codes_vms,
	codes_libvirt, codes_nbd, codes_states, codes_moves, codes_network, codes_vhost,
	codes_faults, codes_service;

const struct code_area *const code_areas[] = {
	&codes_host,
	&codes_groups,
	&codes_devices,
	&codes_drivers,
	&codes_vms,
	&codes_libvirt,
	&codes_nbd,
	&codes_states,
	&codes_moves,
	&codes_network,
	&codes_vhost,
	&codes_faults,
	&codes_service,
};
const size_t code_area_count = ARRAY_SIZE(code_areas);

const struct code_page *code_find(const char *code)
{
	for (size_t i = 0; i < code_area_count; i++)
		for (size_t n = 0; n < code_areas[i]->count; n++)
			if (strcmp(code_areas[i]->pages[n].code, code) == 0)
				return &code_areas[i]->pages[n];
	return NULL;
}

bool code_is_word(const char *text)
{
	size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");

	return len > 1 && !text[len] && text[0] >= 'A' && text[0] <= 'Z' && text[len - 1] != '-';
}
