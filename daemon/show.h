/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One row per kind of thing that `iovctl show NAME` can show. A new kind is a row in
 * daemon/do_show.c and a function.
 */
#pragma once

#include "proto/json.h"

struct daemon;

/*
 * Adds the thing of that name to `o` as member `key`. 1 if there is one, 0 if not (e may then say
 * more), -1 with e set if that could not be found out, or the name is ambiguous.
 */
typedef int show_fn(
	struct daemon *d, const char *name, struct json_out *o, const char *key, struct err *e);

show_fn show_device;     /* daemon/do_inventory.c */
show_fn show_group;      /* daemon/do_group.c */
show_fn show_attachment; /* daemon/do_attachment.c */
show_fn show_vm;
show_fn show_job; /* daemon/do_job.c */
