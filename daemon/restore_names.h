/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the words of a restore mean: other names for what is in the state, and what is allowed. */
#pragma once

#include "daemon/registry.h"
#include "lib/migrate/iostate.h"
#include "proto/json.h"

/* What the map (or NULL) says of the device, by any of its recorded names; else its own. */
const char *restore_mapped_name(const struct json *map, const struct iostate_identity *id);

/* The same of spares; one that is mapped to "" goes. */
void restore_map_spares(const struct json *map, struct attachment_rescue *rescue);

/* All that is mapped is in the state. 0 or -1. */
int restore_check_map(const struct json *map, const struct iostate *s, struct err *e);

#define RESTORE_ALLOW_FENCE "STATE-FENCE"

/*
 * Codes with commas between (or NULL): what spares need not show (enum recover_allow), and whether the
 * state's command may be run. Both are added to. 0, or -1: there is no such code.
 */
int restore_read_allow(const char *codes, unsigned int *of_spares, bool *fence, struct err *e);
