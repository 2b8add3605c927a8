/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Attach is given: its parameters, and what they make of an attachment's spec. */
#pragma once

#include "daemon/attach.h"
#include "proto/json.h"

#define ATTACH_IO_TIMEOUT_MS     30000      /* under `hold`, if nothing else is said */
#define ATTACH_IO_TIMEOUT_ABSENT UINT64_MAX /* nothing is said */
#define ATTACH_IO_TIMEOUT_MAX_MS 86400000

struct attach_args {
	const char *device, *vm, *path, *as, *cache, *owner, *allow, *on_error, *on_fault, *fence,
		*set, *standby;
	const struct json *spare;
	uint64_t queues, io_timeout_ms;
	bool readonly, dry_run, fix;
};

/* Everything of the request that needs no look at a device; spares are names yet. 0, or -1. */
int attach_options_read(const struct attach_args *a, struct attach_wish *w, struct err *e);

/* `path` was chosen: does it have all that was asked for? */
int attach_options_check_path(const struct attachment_spec *spec, struct err *e);

/* Options that were given must be those that `there` has; others are whatever it has. 0, or -1. */
int attach_options_check_same(const struct attachment *there, const struct attachment_spec *wanted,
	const struct attach_args *a, struct err *e);

/* A name of a VM or an attachment ("what"), as people may give it. */
int attach_check_name(const char *what, const char *name, struct err *e);
