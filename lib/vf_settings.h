/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be set on a virtual function of a network interface, by its key and as text: "mac=
 * 52:54:00:00:00:01,vlan=10,trust=on". The same text goes to the store and to hands. No I/O.
 */
#pragma once

#include "lib/err.h"

#define VF_SETTINGS_TEXT 192 /* all of them as text */

enum vf_setting {
	VF_MAC,
	VF_VLAN,
	VF_QOS,
	VF_SPOOFCHK,
	VF_TRUST,
	VF_MIN_TX_RATE,
	VF_MAX_TX_RATE,
	VF_STATE,
	VF_SETTING_COUNT
};

enum vf_state { VF_STATE_AUTO, VF_STATE_ENABLE, VF_STATE_DISABLE, VF_STATES };

/* Some settings, or all: those whose bit (1u << enum vf_setting) is in `has`. */
struct vf_settings {
	unsigned int has;
	uint8_t mac[6];
	uint32_t
		number[VF_SETTING_COUNT]; /* of all others: 0/1 for off/on, Mbit/s, enum vf_state */
};

/* "mac", "vlan", ... */
extern const char *const vf_setting_names[VF_SETTING_COUNT];

/* Its value is a number, not a word. */
bool vf_setting_is_number(enum vf_setting key);

/* One of them; -1 with ERR_USAGE (VF-KEY, VF-VALUE). */
int vf_settings_add(struct vf_settings *s, const char *key, const char *value, struct err *e);

/* Its value as text; false if it is not set. */
bool vf_settings_value(const struct vf_settings *s, enum vf_setting key, char *text, size_t size);

/* All of them as one word, which vf_settings_read() reads. */
void vf_settings_write(const struct vf_settings *s, char text[static VF_SETTINGS_TEXT]);
int vf_settings_read(const char *text, struct vf_settings *s, struct err *e);

/* Those of `from` that `which` has, too. */
struct vf_settings vf_settings_of(const struct vf_settings *from, const struct vf_settings *which);

/* Those of `wanted` that `now` has otherwise, or not. */
struct vf_settings vf_settings_differing(
	const struct vf_settings *wanted, const struct vf_settings *now);

/* Puts all of `more` over those of `s`. */
void vf_settings_merge(struct vf_settings *s, const struct vf_settings *more);
