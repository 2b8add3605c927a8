/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the registry share. */
#pragma once

#include "daemon/registry.h"

struct registry {
	struct store *store;
	struct events *events;
	const char *runtime_dir;
	uint64_t next_number; /* of the next id */
	struct list_node attachments;
};

/* Tells the event bus. */
void registry_say(struct registry *r, const struct attachment *a, const char *event);
