/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/vf_settings.h"

#include <stdio.h>
#include <string.h>

#define VLAN_MAX 4094
#define QOS_MAX  7

/* The values that are words; NULL at the end. */
static const char *const off_on[] = {"off", "on", NULL};
static const char *const states[] = {[VF_STATE_AUTO] = "auto",
	[VF_STATE_ENABLE] = "enable",
	[VF_STATE_DISABLE] = "disable",
	NULL};

static const struct {
	const char *const *words; /* NULL: a number up to `max`, or the MAC */
	uint32_t max;
	const char *form; /* for people */
} rows[VF_SETTING_COUNT] = {
	[VF_MAC] =
		{.form = "six bytes such as 52:54:00:12:34:56, not of a group; all zero for none"},
	[VF_VLAN] = {.max = VLAN_MAX, .form = "0 (none) to 4094"},
	[VF_QOS] = {.max = QOS_MAX, .form = "0 to 7"},
	[VF_SPOOFCHK] = {.words = off_on, .form = "on or off"},
	[VF_TRUST] = {.words = off_on, .form = "on or off"},
	[VF_MIN_TX_RATE] = {.max = UINT32_MAX, .form = "Mbit/s, 0 for no promise"},
	[VF_MAX_TX_RATE] = {.max = UINT32_MAX, .form = "Mbit/s, 0 for no limit"},
	[VF_STATE] = {.words = states, .form = "auto, enable or disable"},
};

const char *const vf_setting_names[VF_SETTING_COUNT] = {
	[VF_MAC] = "mac",
	[VF_VLAN] = "vlan",
	[VF_QOS] = "qos",
	[VF_SPOOFCHK] = "spoofchk",
	[VF_TRUST] = "trust",
	[VF_MIN_TX_RATE] = "min_tx_rate",
	[VF_MAX_TX_RATE] = "max_tx_rate",
	[VF_STATE] = "state",
};

/* --- one value -------------------------------------------------------------------------------- */

static bool read_mac(const char *text, uint8_t mac[6])
{
	unsigned int b[6];
	int len = 0;

	if (strspn(text, "0123456789abcdefABCDEF:") != strlen(text) ||
		sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
			&len) != 6 ||
		text[len])
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return !(mac[0] & 1);
}

static bool read_number(enum vf_setting key, const char *text, uint32_t *number)
{
	const char *const *words = rows[key].words;
	uint64_t value;

	for (uint32_t i = 0; words && words[i]; i++) {
		if (strcmp(words[i], text) == 0) {
			*number = i;
			return true;
		}
	}
	if (words || parse_u64(text, rows[key].max, &value) < 0)
		return false;
	*number = (uint32_t)value;
	return true;
}

bool vf_setting_is_number(enum vf_setting key)
{
	return rows[key].max != 0;
}

int vf_settings_add(struct vf_settings *s, const char *key, const char *value, struct err *e)
{
	enum vf_setting k = 0;

	while (k < VF_SETTING_COUNT && strcmp(vf_setting_names[k], key) != 0)
		k++;
	if (k == VF_SETTING_COUNT) {
		err_set(e, ERR_USAGE, "VF-KEY", "a VF has no setting %.32s", key);
		return err_fix(
			e, "mac, vlan, qos, spoofchk, trust, min_tx_rate, max_tx_rate, state");
	}
	if (k == VF_MAC ? read_mac(value, s->mac) : read_number(k, value, &s->number[k])) {
		s->has |= 1u << k;
		return 0;
	}
	err_set(e, ERR_USAGE, "VF-VALUE", "%s cannot be '%.64s'", key, value);
	return err_fix(e, "%s", rows[k].form);
}

bool vf_settings_value(const struct vf_settings *s, enum vf_setting key, char *text, size_t size)
{
	if (!(s->has & 1u << key))
		return false;
	if (key == VF_MAC)
		snprintf(text, size, "%02x:%02x:%02x:%02x:%02x:%02x", s->mac[0], s->mac[1],
			s->mac[2], s->mac[3], s->mac[4], s->mac[5]);
	else if (rows[key].words)
		snprintf(text, size, "%s", rows[key].words[s->number[key]]);
	else
		snprintf(text, size, "%u", s->number[key]);
	return true;
}

/* --- all as text ------------------------------------------------------------------------------ */

void vf_settings_write(const struct vf_settings *s, char text[static VF_SETTINGS_TEXT])
{
	size_t len = 0;
	char value[32];

	text[0] = '\0';
	for (enum vf_setting k = 0; k < VF_SETTING_COUNT; k++)
		if (vf_settings_value(s, k, value, sizeof(value)))
			len += (size_t)snprintf(text + len, VF_SETTINGS_TEXT - len, "%s%s=%s",
				len ? "," : "", vf_setting_names[k], value);
}

int vf_settings_read(const char *text, struct vf_settings *s, struct err *e)
{
	char copy[VF_SETTINGS_TEXT], *rest = copy, *word;

	*s = (struct vf_settings){0};
	if (!str_copy(copy, sizeof(copy), text))
		return err_set(e, ERR_USAGE, "VF-VALUE", "too many settings");
	while ((word = strsep(&rest, ",")) && *word) {
		char *value = strchr(word, '=');

		if (!value)
			return err_set(e, ERR_USAGE, "VF-VALUE", "%s is no key=value", word);
		*value++ = '\0';
		if (vf_settings_add(s, word, value, e) < 0)
			return -1;
	}
	return 0;
}

/* --- sets of them ----------------------------------------------------------------------------- */

struct vf_settings vf_settings_of(const struct vf_settings *from, const struct vf_settings *which)
{
	struct vf_settings s = *from;

	s.has &= which->has;
	return s;
}

struct vf_settings vf_settings_differing(
	const struct vf_settings *wanted, const struct vf_settings *now)
{
	struct vf_settings s = *wanted;

	for (enum vf_setting k = 0; k < VF_SETTING_COUNT; k++) {
		bool same = k == VF_MAC ? memcmp(s.mac, now->mac, sizeof(s.mac)) == 0
					: s.number[k] == now->number[k];

		if (same && now->has & 1u << k)
			s.has &= ~(1u << k);
	}
	return s;
}

void vf_settings_merge(struct vf_settings *s, const struct vf_settings *more)
{
	if (more->has & 1u << VF_MAC)
		memcpy(s->mac, more->mac, sizeof(s->mac));
	for (enum vf_setting k = 0; k < VF_SETTING_COUNT; k++)
		if (more->has & 1u << k)
			s->number[k] = more->number[k];
	s->has |= more->has;
}
