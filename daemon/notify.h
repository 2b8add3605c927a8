/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager: readiness and sockets it opened for us. Built without libsystemd, or started
 * by hand, there is nobody to tell and nothing passed in.
 */
#pragma once

#include "lib/err.h"

/* "READY=1", "STOPPING=1", "STATUS=..." */
void notify_state(const char *state);

/*
 * The listening socket that was passed in, to us or (has_keeper) to the keeper that started us and
 * will start the next one: an fd >= 0, -1: none, -2 with e set: unusable.
 */
int notify_listen_fd(bool has_keeper, struct err *e);
