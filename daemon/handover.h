/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a hand does for `iovctl run` (daemon/do_run.c). */
#pragma once

#include "lib/err.h"

/* The work "vfio-open NODE": a descriptor. */
#define HANDOVER_WORK_OPEN "vfio-open"
int handover_work_open(char **words, void *result, int *fd, struct err *e);
