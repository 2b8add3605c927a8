/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual function (VF) by rule instead of by name: "vf:" and conditions with commas between, of
 * which there is one at least. All must hold:
 *
 *	PF		it is one of this function's, which goes by any of its names
 *	product=8086:10ca	it, or its PF, is such a product
 *	switch=ID	its PF is a port of this switch (phys_switch_id)
 *	vlan=10		`vf set` has put it into this VLAN
 */
#pragma once

#include "lib/device.h"

struct daemon;

/* Whether a name is such a rule. */
bool vf_pool_is(const char *name);

/*
 * The first function of the pool, by PF and number, that nobody has and nothing works on. NULL with e
 * set: ERR_USAGE (VF-RULE), or ERR_REFUSED (VF-POOL), counting what keeps each from being it. Valid
 * until the model changes.
 */
const struct device *vf_pool_choose(struct daemon *d, const char *rule, struct err *e);

/* The same of those whose PF has a link. */
const struct device *vf_pool_choose_linked(struct daemon *d, const char *rule, struct err *e);
