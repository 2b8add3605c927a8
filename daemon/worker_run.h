/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A worker's whole life. */
#pragma once

#include "daemon/worker_args.h"

/*
 * Serves until it is told to end. Once per process: it enters the sandbox. On failure the keeper,
 * if there is one, has been told.
 */
int worker_run(const struct worker_args *args, struct err *e);
