/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's event loop, done by ours. For lib/virt.c. */
#pragma once

#include "lib/watch.h"

/*
 * From now on, and for the life of the process, libvirt waits by this loop: its callbacks run on
 * the loop's thread. Before any other call of libvirt. The loop may end before libvirt does.
 */
int virt_events_begin(struct watch_loop *loop, struct err *e);

/* The loop ends: nothing of libvirt's runs any more. */
void virt_events_end(void);
