/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tap of a worker: where its queues come from. */
#pragma once

#include "daemon/worker_args.h"
#include "lib/backends/net_tap.h"
#include "lib/backends/vault.h"

/* Those of --tap or --tap-fd, before the sandbox is entered; `vault` (NULL: alone) has them if kept. */
int worker_net_tap(const struct worker_args *args, const struct vault *vault, struct net_tap *tap,
	struct err *e);
