/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/migrate/lease.h"

#include <stdio.h>
#include <string.h>

#define HEX  "0123456789abcdef"
#define NAME "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

const char *const lease_state_names[] = {
	[LEASE_HELD] = "held",
	[LEASE_PASSED] = "passed",
};
static_assert(ARRAY_SIZE(lease_state_names) == LEASE_STATES, "a name for each");

void lease_set_name(struct lease *l, const char *name)
{
	snprintf(l->name, sizeof(l->name), "%s", name[0] ? name : "-");
	for (char *c = l->name; *c; c++)
		if (!strchr(NAME, *c))
			*c = '-';
}

void lease_to_text(const struct lease *l, char text[LEASE_TEXT_SIZE])
{
	snprintf(text, LEASE_TEXT_SIZE, "iovd-lease/1 %llu %s %s %s %s",
		(unsigned long long)l->epoch, lease_state_names[l->state], l->host, l->vm, l->name);
}

static bool is_all(const char *text, size_t len, const char *of)
{
	return strlen(text) == len && strspn(text, of) == len;
}

static bool read_words(const char *text, struct lease *l)
{
	unsigned long long epoch;
	char state[16];

	if (sscanf(text, "iovd-lease/1 %llu %15s %32s %36s %64s", &epoch, state, l->host, l->vm,
		    l->name) != 5)
		return false;
	l->epoch = epoch;
	for (unsigned int i = 0; i < LEASE_STATES; i++)
		if (strcmp(state, lease_state_names[i]) == 0) {
			l->state = (enum lease_state)i;
			return epoch > 0 && epoch < UINT64_MAX;
		}
	return false;
}

/* There is one way of writing each: what is written otherwise is not ours. */
int lease_of_text(const char *text, size_t len, struct lease *l, struct err *e)
{
	char copy[LEASE_TEXT_SIZE], again[LEASE_TEXT_SIZE];

	*l = (struct lease){0};
	if (len < sizeof(copy)) {
		memcpy(copy, text, len);
		copy[len] = '\0';
		if (strlen(copy) == len && read_words(copy, l) &&
			is_all(l->host, LEASE_HOST_SIZE - 1, HEX) &&
			is_all(l->vm, sizeof(l->vm) - 1, HEX "-") &&
			strspn(l->name, NAME) == strlen(l->name)) {
			lease_to_text(l, again);
			if (strcmp(copy, again) == 0)
				return 0;
		}
	}
	return err_set(e, ERR_REFUSED, "LEASE-BAD", "what is written on the volume is no lease");
}
